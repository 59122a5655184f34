//! What decoding costs: `cargo test --profile quick --lib decode::tests::speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use crate::capture::Block;
use crate::decode::{Decoded, Decoder, Options};
use crate::packet::{LinkType, PointId, Timestamp};

use super::corpus::{Sample, ethernet, ipv4, ipv6, join, outer4, samples, udp};

const FRAMES: usize = 4_096;
const ROUNDS: usize = 500;

/// Decodes a block over and over and returns the best round's nanoseconds a frame.
fn cost_ns(link: LinkType, frame: &[u8]) -> f64 {
    let mut block = Block::default();
    for _ in 0..FRAMES {
        let wire_len = u32::try_from(frame.len()).unwrap();
        block.push(Timestamp(0), PointId(0), link, wire_len, frame);
    }
    let mut decoder = Decoder::new(Options::default());
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for index in 0..FRAMES {
            let decoded = decoder.decode(&mut block, index, 1);
            assert!(matches!(black_box(decoded), Decoded::Packet(_)));
        }
        let frames = f64::from(u32::try_from(FRAMES).unwrap());
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / frames);
    }
    best
}

#[test]
#[ignore = "a measurement, not a test"]
#[expect(clippy::print_stdout, reason = "a measurement prints")]
fn decoding_costs_a_few_nanoseconds() {
    let v4 = ipv4();
    let tag = |kind: u16, id, rest: &[u8]| ethernet(kind, &join(&[&[0, id], rest]));
    for (name, frame) in [
        ("tcp over IPv4", ethernet(0x0800, &v4)),
        ("tcp over IPv6", ethernet(0x86dd, &ipv6())),
        ("udp over IPv4", ethernet(0x0800, &outer4(17, &udp(53, b"question")))),
        ("vlan", tag(0x8100, 7, &join(&[&[8, 0], &v4]))),
        ("qinq", tag(0x88a8, 7, &join(&[&[0x81, 0, 0, 8, 8, 0], &v4]))),
    ] {
        println!("{name:24} {:6.1} ns", cost_ns(LinkType::ETHERNET, &frame));
    }
    for Sample { name, link, bytes, tunnels, .. } in samples() {
        if !tunnels.is_empty() || name == "options" || name == "chain" {
            println!("{name:24} {:6.1} ns", cost_ns(link, &bytes));
        }
    }
}
