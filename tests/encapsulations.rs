//! The encapsulations of real captures, by frames, against what tshark names in them.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{analyze, number, of_type, own, public_set};

/// tshark's names of what is compared, and the names here. (tshark's `ip-in-ip-any` is any second IP header,
/// that of every other tunnel too.)
const KINDS: [(&str, &str); 10] = [
    ("vlan", "vlan"),
    ("mpls", "mpls"),
    ("pppoes", "pppoe"),
    ("gre", "gre"),
    ("vxlan", "vxlan"),
    ("geneve", "geneve"),
    ("gtp", "gtp"),
    ("teredo", "teredo"),
    ("erspan", "erspan"),
    ("nsh", "nsh"),
];

const NO_FLOW: &str = "ICMP, ARP, STP or nothing at all inside: such frames have no inner flow";
const PRIORITY: &str = "a tag with VLAN id 0 is a priority, and no VLAN (IEEE 802.1Q §9.6)";

/// File, kind, frames here, frames by tshark, and why both are right. One that no longer occurs fails the test.
const ACCEPTED: &[(&str, &str, u64, u64, &str)] = &[
    ("arkime__arkime_synthetic.pcap", "erspan", 0, 1, NO_FLOW),
    ("arkime__arkime_synthetic.pcap", "geneve", 2, 4, NO_FLOW),
    ("arkime__arkime_synthetic.pcap", "gre", 0, 3, NO_FLOW),
    ("arkime__arkime_synthetic.pcap", "gtp", 0, 1, NO_FLOW),
    ("arkime__arkime_synthetic.pcap", "mpls", 0, 1, NO_FLOW),
    ("arkime__arkime_synthetic.pcap", "nsh", 0, 1, NO_FLOW),
    ("arkime__arkime_synthetic.pcap", "pppoe", 0, 1, NO_FLOW),
    ("arkime__arkime_synthetic.pcap", "vlan", 0, 2, NO_FLOW),
    // Its two frames of vxlan are VXLAN-GPE on port 4790 here, and two with ICMP inside for tshark.
    ("mercury__emix.pcap", "teredo", 0, 1, NO_FLOW),
    ("ndpi__teredo.pcap", "teredo", 0, 24, NO_FLOW),
    ("pcap-parser__wireshark_samples-test.pcapng", "teredo", 0, 13, NO_FLOW),
    ("tcpdump__various_gre.pcap", "gre", 0, 30, NO_FLOW),
    ("tcpdump__various_gre.pcap", "vlan", 0, 51, NO_FLOW),
    // 154 frames with TCP or UDP, and 39 later fragments of theirs.
    ("zeek__erspan.pcap", "gre", 193, 248, NO_FLOW),
    ("zeek__erspanIII.pcap", "erspan", 0, 2, NO_FLOW),
    ("zeek__erspanIII.pcap", "gre", 0, 2, NO_FLOW),
    ("zeek__geneve-truncated.pcapng", "geneve", 0, 1, NO_FLOW),
    ("zeek__gre-within-gre.pcap", "gre", 4, 628, NO_FLOW),
    (
        "zeek__gtp1_gn_normal_incl_fragmentation.pcap",
        "gtp",
        104,
        72,
        "each fragment counts in its flow, and for tshark the one that completes the datagram",
    ),
    ("zeek__http-qinq-0.pcap", "vlan", 0, 14, PRIORITY),
    ("zeek__mpls-in-vlan.pcap", "vlan", 2, 3, PRIORITY),
];

/// Returns the frames of a capture's flows by encapsulation.
fn frames_by_kind(records: &[Value]) -> BTreeMap<String, u64> {
    let mut frames = BTreeMap::new();
    for flow in of_type(records, "flow") {
        let count = number(&flow["flow"]["pkts_toserver"]) + number(&flow["flow"]["pkts_toclient"]);
        let tunnels = own(flow, "tunnel").as_array();
        let mut kinds: Vec<&str> =
            tunnels.into_iter().flatten().map(|tunnel| tunnel["kind"].as_str().unwrap()).collect();
        kinds.extend(flow["vlan"].as_array().map(|_| "vlan"));
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            *frames.entry(kind.to_owned()).or_default() += count;
        }
    }
    frames
}

#[test]
fn encapsulations_of_real_captures_are_those_of_tshark_but_for_what_has_a_reason() {
    let test = "encapsulations_of_real_captures_are_those_of_tshark_but_for_what_has_a_reason";
    let Some(set) = public_set(test) else { return };
    let truth = fs::read_to_string(set.join("GROUND_TRUTH.json")).unwrap();
    let truth: BTreeMap<String, Value> = serde_json::from_str(&truth).unwrap();
    let mut accepted: Vec<_> = ACCEPTED.iter().collect();
    let (mut faults, mut same) = (Vec::new(), 0);
    for (name, truth) in &truth {
        let (_, records) = analyze(&set.join("captures").join(name));
        let ours = frames_by_kind(&records);
        for (theirs, kind) in KINDS {
            let theirs = number(&truth["encap_frames"][theirs]);
            let ours = ours.get(kind).copied().unwrap_or(0);
            let found = |row: &(&str, &str, u64, u64, &str)| (row.0, row.1) == (name, kind);
            if let Some(at) = accepted.iter().position(|row| found(row)) {
                let row = accepted.swap_remove(at);
                if (row.2, row.3) == (ours, theirs) {
                    continue;
                }
            }
            if ours != theirs {
                faults.push(format!("{name}: {kind}: {ours} frames, not {theirs}"));
            }
            same += u64::from(theirs > 0);
        }
    }
    faults.extend(accepted.iter().map(|row| format!("gone: {row:?}")));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(same > 10, "{same} agree");
}
