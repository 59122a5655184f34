//! Public captures against the list of every Authorization in them, where these are at hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::*;
use crate::capture::file::{Files, Input, Options as FileOptions};
use crate::capture::{Block, Event, Source};
use crate::decode::{self, Decoded, Decoder};
use crate::flow::{Slot, Table};
use crate::packet::Transport;

/// File, kind, and how often.
type Counts = BTreeMap<(String, EvidenceKind), u64>;

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn public_captures_present_what_their_list_says() {
    let folder = std::env::var_os("PORTREEVE_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/public"),
        PathBuf::from,
    );
    let Ok(list) = std::fs::read_to_string(folder.join("AUTH.tsv")) else {
        eprintln!("skipped: no public captures (set PORTREEVE_CAPTURES)");
        return;
    };
    let mut wanted = Counts::new();
    let mut firsts = BTreeSet::new();
    for row in list.lines().skip(1) {
        let fields: Vec<_> = row.split('\t').collect();
        let kind = match (fields[3], fields[4]) {
            ("http1", "bearer") => EvidenceKind::BearerToken,
            ("http1", "basic") => EvidenceKind::BasicCredentials,
            ("http1", "digest") => EvidenceKind::DigestCredentials,
            _ => continue,
        };
        *wanted.entry((fields[0].to_owned(), kind)).or_default() += 1;
        firsts.insert((fields[0].to_owned(), fields[1].parse().unwrap()));
    }
    assert!(!wanted.is_empty());
    let kinds: BTreeSet<_> = wanted.keys().map(|(_, kind)| *kind).collect();
    let mut found = Counts::new();
    for entry in std::fs::read_dir(folder.join("captures")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for facts in facts_of(&path) {
            for evidence in facts.evidence.iter().filter(|e| kinds.contains(&e.kind)) {
                *found.entry((name.clone(), evidence.kind)).or_default() += evidence.count;
                let first = (name.clone(), evidence.first.frame);
                assert!(firsts.contains(&first), "{first:?} is not in the list");
            }
        }
    }
    assert_eq!(found, wanted);
}

/// Returns what is found in each TCP flow of a capture.
fn facts_of(path: &Path) -> Vec<Facts> {
    let tools = tools();
    let mut files = Files::open(vec![Input::from(path)], &FileOptions::default()).unwrap();
    let mut decoder = Decoder::new(decode::Options::default());
    let mut table = Table::default();
    let mut connections: HashMap<u32, (Connection, [u16; 2])> = HashMap::new();
    let (mut block, mut number) = (Block::default(), 0);
    while let Ok(event) = files.next(&mut block) {
        match event {
            Event::Frames => {}
            Event::End => break,
            _ => continue,
        }
        for index in 0..block.frames.len() {
            number += 1;
            let Decoded::Packet(packet) = decoder.decode(&mut block, index, number) else {
                continue;
            };
            if packet.key.transport() != Transport::Tcp || packet.counted_only {
                continue;
            }
            let flow = table.packet(&packet).0;
            let flow = table.flow_mut(flow);
            let slot = Slot::try_from(connections.len()).unwrap();
            let ports = Side::BOTH.map(|side| packet.key.port(side));
            if !connections.contains_key(&flow.slot) {
                flow.slot = slot;
                connections.insert(slot, (Connection::new(), ports));
            }
            let (connection, _) = connections.get_mut(&flow.slot).unwrap();
            connection.packet(&packet, packet.payload.of(&block.bytes), &flow.tcp, &tools);
        }
    }
    connections.into_values().map(|(connection, ports)| connection.finish(ports, &tools)).collect()
}
