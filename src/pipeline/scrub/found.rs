//! Which flows a report has findings of.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Scope, Subject};
use crate::inspect::Protocol;
use crate::report::{Record, Sink, Summary};

/// Bytes of the memory limit that a flow with findings stands for: in a table that has just grown it takes a tenth.
const LIMIT_OF_A_FLOW: u64 = 512;

/// Remembers which flows a report has findings of, by their ids.
#[derive(Clone)]
pub struct Found(Arc<Mutex<Findings>>);

/// What was found. Flows are many and the rules that they break together are few.
#[derive(Default)]
struct Findings {
    flows: HashMap<u64, Subject>,
    flows_max: usize,
    /// Sets of rules; a finding names one by its place.
    sets: Vec<Vec<String>>,
    places: HashMap<Vec<String>, u32>,
    /// Flows without findings count as well.
    of_all: bool,
    is_limited: bool,
}

impl Found {
    /// Remembers as many flows of a scope as fit beside the rest of a run with a memory limit.
    pub fn new(scope: Scope, memory: u64) -> Self {
        let flows_max = usize::try_from(memory / LIMIT_OF_A_FLOW).unwrap_or(usize::MAX);
        let of_all = scope == Scope::Everything;
        Self(Arc::new(Mutex::new(Findings { flows_max, of_all, ..Findings::default() })))
    }

    /// Hands over what is known of each flow, by its id, and the sets of rules that these break: there is not room
    /// for two of them.
    pub(super) fn take(&self) -> (HashMap<u64, Subject>, Vec<Vec<String>>) {
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        findings.places.clear();
        (std::mem::take(&mut findings.flows), std::mem::take(&mut findings.sets))
    }

    /// Tells whether there were more flows with findings than are remembered.
    pub(super) fn is_limited(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_limited
    }
}

impl Findings {
    fn add(&mut self, id: u64, rule: Option<&str>, protocol: Option<Protocol>) {
        let known = self.flows.get(&id).copied();
        if known.is_none() && self.flows.len() >= self.flows_max {
            self.is_limited = true;
            return;
        }
        let mut set = known.and_then(|finding| finding.comments);
        if let Some(rule) = rule {
            let rules = set.map_or(&[][..], |set| &self.sets[set as usize]);
            if let Err(at) = rules.binary_search_by(|known| known.as_str().cmp(rule)) {
                let mut rules = rules.to_vec();
                rules.insert(at, rule.to_owned());
                set = Some(self.place(rules));
            }
        }
        // Flows may be gone when the report ends: their protocol is told with the finding.
        self.flows.insert(id, Subject { protocol, comments: set });
    }

    fn place(&mut self, rules: Vec<String>) -> u32 {
        if let Some(place) = self.places.get(&rules) {
            return *place;
        }
        let place = u32::try_from(self.sets.len()).expect("rules are broken together in few ways");
        self.sets.push(rules.clone());
        self.places.insert(rules, place);
        place
    }
}

impl Sink for Found {
    fn record(&mut self, record: Record<'_>) -> io::Result<()> {
        let (envelope, rule) = match &record {
            Record::Alert(alert) => (&alert.envelope, Some(alert.rule.id.as_str())),
            Record::Flow(flow) => (&flow.envelope, None),
            _ => return Ok(()),
        };
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let protocol = Protocol::from_name(envelope.app_proto);
        if rule.is_some() || findings.of_all && protocol.is_some() {
            findings.add(envelope.flow_id, rule, protocol);
        }
        Ok(())
    }

    fn wants_flows(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of_all
    }

    fn finish(&mut self, _summary: &Summary) -> io::Result<()> {
        Ok(())
    }
}
