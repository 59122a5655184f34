//! What the tests of all inspectors share: conversations, cut and bent in every way.

use proptest::prelude::*;

use super::probe::{Outcome, Prober, Start};
use super::secret::Fingerprinter;
use super::{Context, EvidenceKind, Facts, Inspector, Options, Progress, Protocol};
use crate::packet::{At, Side, Timestamp};

/// The client of all conversations.
pub(super) const CLIENT: Side = Side::High;
/// The server of all conversations.
pub(super) const SERVER: Side = Side::Low;

/// Bytes of one side after the other.
pub(super) type Talk = Vec<(Side, Vec<u8>)>;

/// 2026-11-24 02:40:00 UTC, in seconds.
pub(super) const NOW: i64 = 1_795_488_000;

/// Returns the place of a frame; all were sent at the same time.
pub(super) fn at(frame: u64) -> At {
    At { frame, time: Timestamp(NOW * 1_000_000_000) }
}

/// Lets an inspector read a conversation whose pieces are frames 1, 2, …
pub(super) fn read<I: Inspector>(inspector: I, talk: &[(Side, Vec<u8>)]) -> Facts {
    read_with(inspector, talk, &Options::default()).0
}

/// Reads as told, and tells after which piece the inspector had enough.
pub(super) fn read_with<I: Inspector>(
    mut inspector: I,
    talk: &[(Side, Vec<u8>)],
    options: &Options,
) -> (Facts, Option<usize>) {
    let mut facts = Facts::default();
    let fingerprinter = Fingerprinter::new(b"key");
    let mut context = Context { facts: &mut facts, fingerprinter: &fingerprinter, options };
    for (number, (side, bytes)) in (1..).zip(talk) {
        if inspector.data(*side, at(number), bytes, &mut context) == Progress::Enough {
            return (facts, usize::try_from(number).ok());
        }
    }
    for side in Side::BOTH {
        inspector.close(side, &mut context);
    }
    (facts, None)
}

/// Returns kind, count and first frame of all evidence.
pub(super) fn evidence(facts: &Facts) -> Vec<(EvidenceKind, u64, u64)> {
    facts.evidence.iter().map(|e| (e.kind, e.count, e.first.frame)).collect()
}

/// Clears the frame numbers, which depend on how a conversation was cut.
fn without_frames(mut facts: Facts) -> Facts {
    for evidence in &mut facts.evidence {
        (evidence.first, evidence.last) = (at(0), at(0));
    }
    for endpoint in &mut facts.learned {
        endpoint.at = at(0);
    }
    facts
}

/// Proves that every way to cut a message in two, and single bytes, give the same facts.
pub(super) fn same_in_all_pieces<I: Inspector>(begin: impl Fn() -> I, talk: &[(Side, Vec<u8>)]) {
    let whole = without_frames(read(begin(), talk));
    for (index, (side, bytes)) in talk.iter().enumerate() {
        for split in 1..bytes.len() {
            let mut cut = talk.to_vec();
            let (front, back) = bytes.split_at(split);
            cut.splice(index..=index, [(*side, front.to_vec()), (*side, back.to_vec())]);
            assert_eq!(without_frames(read(begin(), &cut)), whole, "message {index} at {split}");
        }
    }
    let single: Talk =
        talk.iter().flat_map(|(side, bytes)| bytes.iter().map(|b| (*side, vec![*b]))).collect();
    assert_eq!(without_frames(read(begin(), &single)), whole, "in single bytes");
}

/// Proves that no mutation, cut or hole makes an inspector panic.
pub(super) fn survives_mutations<I: Inspector>(begin: impl Fn() -> I, talk: &[(Side, Vec<u8>)]) {
    type Index = prop::sample::Index;
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 0..6);
    let holes = any::<[prop::sample::Index; 2]>();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let prove = |(changes, [message, hole], len): (Vec<(Index, Index, u8)>, [Index; 2], u64)| {
        let mut talk = talk.to_vec();
        for (message, place, value) in changes {
            let message = message.index(talk.len());
            let bytes = &mut talk[message].1;
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
        }
        let mut facts = Facts::default();
        let fingerprinter = Fingerprinter::new(b"key");
        let options = Options::default();
        let mut context =
            Context { facts: &mut facts, fingerprinter: &fingerprinter, options: &options };
        let mut inspector = begin();
        let message = message.index(talk.len());
        for (number, (side, bytes)) in talk.iter().enumerate() {
            let (front, back) = if number == message && !bytes.is_empty() {
                bytes.split_at(hole.index(bytes.len()))
            } else {
                (bytes.as_slice(), &[][..])
            };
            inspector.data(*side, at(1), front, &mut context);
            if number == message && len > 0 {
                inspector.gap(*side, len, &mut context);
            }
            inspector.data(*side, at(2), back, &mut context);
            let _ = inspector.skippable(*side);
        }
        inspector.close(CLIENT, &mut context);
        inspector.close(SERVER, &mut context);
        Ok(())
    };
    runner.run(&(changes, holes, 0..4_u64), prove).unwrap();
}

/// Asks the probes as the bytes of a conversation come in, from the first byte of each side.
pub(super) fn probe(ports: [u16; 2], talk: &[(Side, Vec<u8>)]) -> Outcome {
    probe_from(true, ports, talk)
}

/// Asks the probes, and once more when nothing more comes.
pub(super) fn probe_ended(ports: [u16; 2], talk: &[(Side, Vec<u8>)]) -> Outcome {
    let mut prober = Prober::default();
    let mut starts: [Vec<u8>; 2] = Default::default();
    let whole = talk.iter().map(|(side, bytes)| (*side, bytes.as_slice(), false));
    let ends = [(CLIENT, &[][..], true), (SERVER, &[][..], true)];
    for (side, bytes, ended) in whole.chain(ends) {
        starts[side.index()].extend_from_slice(bytes);
        let port = |side: Side| ports[usize::from(side == CLIENT)];
        let start = Start {
            bytes: &starts[side.index()],
            from_first: true,
            other: &starts[side.other().index()],
            ports: [port(side), port(side.other())],
            ended,
        };
        if let outcome @ Outcome::Confirmed { .. } = prober.probe(side, &start) {
            return outcome;
        }
    }
    Outcome::Undecided
}

/// Proves that no beginning of a conversation names it, nor its end.
pub(super) fn never_named(talk: &[(Side, Vec<u8>)]) {
    assert_eq!(probe_ended([50_001, 50_000], talk), Outcome::Undecided);
    let single: Talk =
        talk.iter().flat_map(|(side, bytes)| bytes.iter().map(|b| (*side, vec![*b]))).collect();
    assert_eq!(probe_ended([50_001, 50_000], &single), Outcome::Undecided, "in single bytes");
}

/// Asks the probes; `ports` are the server's and the client's.
pub(super) fn probe_from(from_first: bool, ports: [u16; 2], talk: &[(Side, Vec<u8>)]) -> Outcome {
    let mut prober = Prober::default();
    let mut starts: [Vec<u8>; 2] = Default::default();
    let mut last = Outcome::Undecided;
    for (side, bytes) in talk {
        starts[side.index()].extend_from_slice(bytes);
        let port = |side: Side| ports[usize::from(side == CLIENT)];
        let start = Start {
            bytes: &starts[side.index()],
            from_first,
            other: &starts[side.other().index()],
            ports: [port(*side), port(side.other())],
            ended: false,
        };
        last = prober.probe(*side, &start);
        if last != Outcome::Undecided {
            break;
        }
    }
    last
}

/// The verdict for a client's protocol.
pub(super) fn from_client(protocol: Protocol) -> Outcome {
    Outcome::Confirmed { protocol, initiator: Some(CLIENT) }
}

/// Proves that the first bytes name the protocol, however they are cut, and that no shorter beginning
/// names another.
pub(super) fn named_in_all_pieces(outcome: Outcome, side: Side, bytes: &[u8]) {
    for split in 1..bytes.len() {
        let (front, back) = bytes.split_at(split);
        let talk = [(side, front.to_vec()), (side, back.to_vec())];
        assert_eq!(probe([50_001, 50_000], &talk), outcome, "split at {split}");
    }
    let single: Talk = bytes.iter().map(|b| (side, vec![*b])).collect();
    assert_eq!(probe([50_001, 50_000], &single), outcome, "in single bytes");
}

/// Reads hexadecimal digits; spaces and line ends do not matter.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}
