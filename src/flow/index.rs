//! Key hash → flow number: open addressing, linear probing, eight bytes an entry.
//!
//! One entry is one load, and the flow it names is the next: a caller that asks for a batch of hashes
//! first ([`Index::touch`]) lets the processor overlap the cache misses. Removal shifts entries back, so
//! there are no tombstones and a long run never degrades.

/// A flow's number in its table.
pub type FlowNumber = u32;

/// Marks an empty entry, and "no flow" elsewhere.
pub const NO_FLOW: FlowNumber = FlowNumber::MAX;

/// Entries that a new index has; a shard with fewer flows never grows.
const ENTRIES_MIN: usize = 64;

#[derive(Clone, Copy)]
struct Entry {
    tag: u32,
    flow: FlowNumber,
}

const EMPTY: Entry = Entry { tag: 0, flow: NO_FLOW };

/// Finds flow numbers by the low 32 bits of a key's hash.
pub struct Index {
    entries: Vec<Entry>,
    len: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { entries: vec![EMPTY; ENTRIES_MIN], len: 0 }
    }
}

impl Index {
    /// Returns the first flow under the tag for which `is_it` holds.
    #[inline]
    pub fn find(&self, tag: u32, mut is_it: impl FnMut(FlowNumber) -> bool) -> Option<FlowNumber> {
        let mask = self.entries.len() - 1;
        let mut at = tag as usize & mask;
        loop {
            let entry = self.entries[at];
            if entry.flow == NO_FLOW {
                return None;
            }
            if entry.tag == tag && is_it(entry.flow) {
                return Some(entry.flow);
            }
            at = (at + 1) & mask;
        }
    }

    /// Returns the first flow under the tag without a look at it, or [`NO_FLOW`]: very likely what a look-up finds.
    #[inline]
    pub fn touch(&self, tag: u32) -> FlowNumber {
        let mask = self.entries.len() - 1;
        let mut at = tag as usize & mask;
        loop {
            let entry = self.entries[at];
            if entry.flow == NO_FLOW || entry.tag == tag {
                return entry.flow;
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a flow under a tag; the caller knows that its key is not there yet.
    pub fn insert(&mut self, tag: u32, flow: FlowNumber) {
        if self.len * 4 >= self.entries.len() * 3 {
            self.grow();
        }
        self.place(Entry { tag, flow });
        self.len += 1;
    }

    /// Replaces the flow that a key leads to.
    pub fn replace(&mut self, tag: u32, old: FlowNumber, new: FlowNumber) {
        if let Some(at) = self.position(tag, old) {
            self.entries[at].flow = new;
        }
    }

    /// Removes a flow.
    pub fn remove(&mut self, tag: u32, flow: FlowNumber) {
        let Some(mut hole) = self.position(tag, flow) else { return };
        let mask = self.entries.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry.flow == NO_FLOW {
                break;
            }
            let home = entry.tag as usize & mask;
            // The entry may move back if the hole lies between its home and its place.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = EMPTY;
        self.len -= 1;
    }

    fn position(&self, tag: u32, flow: FlowNumber) -> Option<usize> {
        let mask = self.entries.len() - 1;
        let mut at = tag as usize & mask;
        loop {
            let entry = self.entries[at];
            if entry.flow == NO_FLOW {
                return None;
            }
            if entry.flow == flow {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn place(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut at = entry.tag as usize & mask;
        while self.entries[at].flow != NO_FLOW {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    fn grow(&mut self) {
        let doubled = vec![EMPTY; self.entries.len() * 2];
        let old = std::mem::replace(&mut self.entries, doubled);
        for entry in old.into_iter().filter(|entry| entry.flow != NO_FLOW) {
            self.place(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_agrees_with_a_hash_map(steps in prop::collection::vec((0u32..40, any::<bool>()), 0..400)) {
            // Few tags, so that runs collide, wrap and shift.
            let mut index = Index::default();
            let mut model: HashMap<u32, u32> = HashMap::new();
            let tag = |key: u32| (key % 7).wrapping_mul(9).wrapping_add(58);
            for (key, add) in steps {
                let known = model.contains_key(&key);
                if add && !known {
                    index.insert(tag(key), key);
                    model.insert(key, key);
                } else if !add && known {
                    index.remove(tag(key), key);
                    model.remove(&key);
                }
                for probe in 0..40 {
                    let found = index.find(tag(probe), |flow| flow == probe);
                    prop_assert_eq!(found, model.get(&probe).copied());
                }
            }
        }
    }

    #[test]
    fn it_grows_and_keeps_every_flow() {
        let mut index = Index::default();
        for flow in 0..10_000u32 {
            index.insert(flow.wrapping_mul(0x9e37_79b9), flow);
        }
        for flow in 0..10_000u32 {
            let tag = flow.wrapping_mul(0x9e37_79b9);
            assert_eq!(index.find(tag, |it| it == flow), Some(flow));
        }
    }
}
