//! Damaged captures: whatever stands in them, the run ends, nothing panics, and every frame is accounted for.

use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{captures, gathered};

/// One damage, at a place that is a share of the capture's length.
#[derive(Debug, Clone)]
enum Damage {
    /// A byte is another one.
    Byte(Index, u8),
    /// Some bytes are overwritten by one value.
    Run(Index, u8, u8),
    /// Some bytes are gone.
    Cut(Index, usize),
    /// Some bytes come twice.
    Repeat(Index, usize),
    /// The capture ends here.
    End(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        2 => (any::<Index>(), 1_u8..40, any::<u8>()).prop_map(|(at, len, b)| Damage::Run(at, len, b)),
        1 => (any::<Index>(), 1_usize..90).prop_map(|(at, len)| Damage::Cut(at, len)),
        1 => (any::<Index>(), 1_usize..900).prop_map(|(at, len)| Damage::Repeat(at, len)),
        1 => any::<Index>().prop_map(Damage::End),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage, frames_only: bool) {
    // Behind the file header most of a pcap is frames; damage there reaches decode and what follows.
    let from = if frames_only { 40.min(bytes.len() - 1) } else { 0 };
    let place = |index: &Index, len: usize| from + index.index(len - from);
    match damage {
        Damage::Byte(at, byte) => {
            let at = place(at, bytes.len());
            bytes[at] = *byte;
        }
        Damage::Run(at, len, byte) => {
            let at = place(at, bytes.len());
            let end = (at + usize::from(*len)).min(bytes.len());
            bytes[at..end].fill(*byte);
        }
        Damage::Cut(at, len) => {
            let at = place(at, bytes.len());
            bytes.drain(at..(at + len).min(bytes.len()));
        }
        Damage::Repeat(at, len) => {
            let at = place(at, bytes.len());
            let again = bytes[at..(at + len).min(bytes.len())].to_vec();
            bytes.splice(at..at, again);
        }
        Damage::End(at) => bytes.truncate(place(at, bytes.len())),
    }
}

/// Reads a capture and checks that each frame is in exactly one place.
fn is_accounted_for(capture: Vec<u8>, workers: usize) {
    let gathered = gathered(capture, workers);
    let total = gathered.front.ledger.total();
    let flows = gathered.shards.iter().flat_map(portreeve::pipeline::shard::Shard::flows);
    let in_flows: u64 = flows.map(|(_, flow)| flow.packets_total()).sum();
    assert_eq!(total.received, gathered.front.frames);
    assert_eq!(total.received, in_flows + total.filtered + total.stopped_total());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_capture_is_read_to_its_end(
        pick in any::<Index>(),
        damages in prop::collection::vec(damage(), 1..12),
        frames_only in any::<bool>(),
        workers in 0_usize..3,
    ) {
        let captures = captures();
        let path = captures.values().nth(pick.index(captures.len())).unwrap();
        let mut bytes = fs::read(path).unwrap();
        for damage in &damages {
            if bytes.len() > 64 {
                apply(&mut bytes, damage, frames_only);
            }
        }
        is_accounted_for(bytes, workers);
    }
}

#[test]
fn every_capture_cut_anywhere_is_read_to_its_end() {
    for path in captures().values() {
        let bytes = fs::read(path).unwrap();
        // Odd steps, so that the cuts fall into every field.
        let step = 1 + bytes.len() / 41;
        for len in (0..bytes.len()).step_by(step) {
            is_accounted_for(bytes[..len].to_vec(), 0);
        }
    }
}
