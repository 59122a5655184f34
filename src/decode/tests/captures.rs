//! Every public capture against what tshark says of it, with reassembly on: packets in TCP or UDP, flows,
//! and, where no fragments make tshark's per-flow figures mean something else, packets of each flow.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::decode::{Decoded, Decoder, Options};
use crate::packet::{Side, Transport};

use super::{decode_all, pcap};

/// What differs from tshark, and why that is right. One that no longer occurs fails the test.
const ACCEPTED: &[(&str, &str)] = &[
    // A record longer than 256 KiB by its header: tshark takes a guess, the reader here stops.
    ("ndpi__fuzz-2021-10-13.pcap", "0 frames, not 1"),
    // A route not yet finished: tshark shows the next hop that the header names, the flow's end is the
    // last address of the route (RFC 8200 §8.1; the UDP checksum agrees).
    (
        "zeek__ipv6-hbh-routing0.pcap",
        "udp [2001:78:1:32::2]:53 [2001:4f8:4:7:2e0:81ff:fe52:ffff]:53 has 1 packets, not 0",
    ),
    (
        "zeek__ipv6-hbh-routing0.pcap",
        "udp [2001:4f8:4:7:2e0:81ff:fe52:9a6b]:53 [2001:4f8:4:7:2e0:81ff:fe52:ffff]:53 has 0 packets, not 1",
    ),
];

/// Packets by five-tuple.
type Flows = BTreeMap<(Transport, [SocketAddr; 2]), u64>;

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn public_captures_have_the_packets_and_flows_that_tshark_sees() {
    let Some(folder) = folder() else {
        eprintln!("skipped: no public captures (set PORTREEVE_CAPTURES)");
        return;
    };
    let mut differences = Vec::new();
    for entry in fs::read_dir(folder.join("captures")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for difference in compare(&folder, &name) {
            differences.push((name.clone(), difference));
        }
    }
    differences.sort();
    let accepted = |(name, text): &(String, String)| ACCEPTED.contains(&(name, text));
    let new: Vec<_> = differences.iter().filter(|found| !accepted(found)).collect();
    assert!(new.is_empty(), "{new:#?}");
    for &(name, text) in ACCEPTED {
        assert!(differences.contains(&(name.into(), text.into())), "gone: {name}: {text}");
    }
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("PORTREEVE_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/public"),
        PathBuf::from,
    );
    folder.join("captures").is_dir().then_some(folder)
}

fn compare(folder: &Path, name: &str) -> Vec<String> {
    let truth = fs::read(folder.join("gt").join(format!("{name}.json"))).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let table = fs::read_to_string(folder.join("gt").join(format!("{name}.flows.tsv"))).unwrap();
    let capture = fs::read(folder.join("captures").join(name)).unwrap();
    let (received, ours) = decode(name, &capture);

    let mut differences = Vec::new();
    let mut expect = |what: &str, ours: u64, theirs: &Value| {
        if Some(ours) != theirs.as_u64() {
            differences.push(format!("{ours} {what}, not {theirs}"));
        }
    };
    expect("frames", received, &truth["packets"]);
    expect("packets", ours.values().sum(), &truth["defrag"]["pkts_l4"]);
    expect("flows", ours.len() as u64, &truth["defrag"]["flows_innermost"]);
    if truth["pkts_frag_nonfirst"] == 0 {
        let theirs = flows_of(&table);
        let keys = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(key)));
        for key @ (transport, [low, high]) in keys {
            let [ours, theirs] = [&ours, &theirs].map(|flows| flows.get(key).unwrap_or(&0));
            if ours != theirs {
                differences
                    .push(format!("{transport} {low} {high} has {ours} packets, not {theirs}"));
            }
        }
    }
    differences
}

/// Decodes a capture and returns how many frames it had, and its flows. No frame may get lost on the way.
fn decode(name: &str, capture: &[u8]) -> (u64, Flows) {
    let mut block = pcap::read(capture);
    let received = block.frames.len() as u64;
    let mut decoder = Decoder::new(Options::default());
    let mut flows = Flows::new();
    let (mut joined, mut stopped) = (0, 0);
    for decoded in decode_all(&mut decoder, &mut block) {
        match decoded {
            Decoded::Packet(packet) => {
                joined += u64::from(packet.frames);
                let ends = Side::BOTH.map(|side| packet.key.endpoint(side));
                let packets = flows.entry((packet.key.transport(), ends)).or_default();
                *packets += u64::from(!packet.counted_only);
            }
            Decoded::Stop(_) | Decoded::Unreachable(_) => stopped += 1,
            Decoded::Held => {}
        }
    }
    decoder.finish();
    let lost: u64 = decoder.lost_fragments().map(|(_, frames)| frames).sum();
    assert_eq!(joined + stopped + lost, received, "{name}: the ledger balances");
    (received, flows)
}

/// Reads the innermost flows of a table.
fn flows_of(table: &str) -> Flows {
    let rows = table.lines().skip(1).map(|row| row.split('\t').collect::<Vec<_>>());
    let innermost = rows.filter(|row| row[7] != "outer");
    innermost
        .map(|row| {
            let transport = if row[0] == "tcp" { Transport::Tcp } else { Transport::Udp };
            let end =
                |at: usize| SocketAddr::new(row[at].parse().unwrap(), row[at + 1].parse().unwrap());
            let mut ends = [end(1), end(3)];
            ends.sort_unstable();
            ((transport, ends), row[5].parse().unwrap())
        })
        .collect()
}
