//! Flows that the deployment needs and that were never seen to succeed: findings without a flow.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Join, Seen, Setting, end_of};
use crate::error::Result;
use crate::packet::{At, EncapId, FiveTuple, FlowKey};
use crate::pipeline::outputs::Outputs;
use crate::policy::baseline::Key;
use crate::policy::{Absence, Cover, EvidenceNote, Finding, FindingKind, Note};
use crate::report::community_id::flow_id;
use crate::report::record::{
    AlertRecord, BaselineState, Envelope, EvidenceRecord, Record, TagRecord,
};

impl Join<'_> {
    /// Writes what the site expects and the capture did not show. The envelope names the declared ends; an
    /// end that is a zone has no address of its own, and port 0 stands for a client's.
    pub(super) fn write_absences(&self, seen: &mut Seen, outputs: &mut Outputs) -> Result<()> {
        let absences = seen.across.matrices.absences(self.setting.ground());
        if absences.is_empty() {
            return Ok(());
        }
        let desk = self.desk();
        let Setting { policy, site, past, .. } = self.setting;
        let end = At { frame: 0, time: end_of(self.gathered) };
        for (number, absence) in absences.into_iter().enumerate() {
            let note = Note::once("absence", absence.detail.clone(), end);
            let finding = Finding {
                rule: absence.rule,
                kind: FindingKind::ExpectedFlowAbsent,
                severity: absence.severity,
                count: 1,
                first: end,
                last: end,
                evidence: vec![EvidenceNote::Note(note)],
            };
            let cover = policy.cover_of_absence(&absence, end.time, site);
            let key = || Key::of_absence(policy, &absence);
            if !matches!(cover, Cover::By(_)) {
                past.note(key);
            }
            let baseline = past.state(key, end.time);
            if baseline != Some(BaselineState::Unchanged) {
                seen.findings.add(&finding, cover);
            }
            let [initiator, responder] = ends(&absence);
            let (src, dst, transport) = (initiator, responder, absence.transport);
            let (key, _) = FlowKey::new(FiveTuple { src, dst, transport }, EncapId(0));
            let evidence = EvidenceRecord {
                detail: Some(&absence.detail),
                ..EvidenceRecord::once("absence", 0, end.time)
            };
            let record = AlertRecord {
                envelope: Envelope {
                    timestamp: end.time,
                    initiator,
                    responder,
                    transport,
                    app_proto: "none",
                    // No flow bears it; two rows may miss the same one.
                    flow_id: flow_id(&key, number as u64),
                    points: &[],
                    vlan: &[],
                    tunnel: &[],
                },
                tag: TagRecord::default(),
                rule: &desk.rules[absence.rule],
                severity: absence.severity,
                count: 1,
                update: false,
                first_frame: 0,
                first_seen: end.time,
                last_seen: end.time,
                evidence: vec![evidence],
                suppression: match cover {
                    Cover::By(index) => Some(&desk.accepted[index]),
                    Cover::None | Cover::Expired(_) => None,
                },
                baseline,
                row: Some(&absence.row),
            };
            outputs.record(Record::Alert(&record))?;
        }
        Ok(())
    }
}

fn ends(absence: &Absence) -> [SocketAddr; 2] {
    let unnamed = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    [
        SocketAddr::new(absence.initiator_address.unwrap_or(unnamed), 0),
        SocketAddr::new(absence.responder_address.unwrap_or(unnamed), absence.port),
    ]
}
