//! Whole captures, and frames.

use std::io::{Cursor, Write};
use std::sync::{Arc, LazyLock, Mutex};

use portreeve::capture::file::{Files, Options};
use portreeve::capture::{Block, Event, Source};
use portreeve::catalog::Catalog;
use portreeve::decode::{self, Decoded, Decoder};
use portreeve::packet::{LinkType, PointId, Timestamp};
use portreeve::pipeline::join::{self, Past, Setting};
use portreeve::pipeline::outputs::Outputs;
use portreeve::pipeline::scrub::{self, Found, Reading, Scope, Subjects};
use portreeve::pipeline::shard::Shard;
use portreeve::pipeline::{Config, Gathered, Workers, gather};
use portreeve::policy::{Policy, Severity};
use portreeve::report::junit::Junit;
use portreeve::report::ndjson::Ndjson;
use portreeve::report::sarif::Sarif;
use portreeve::report::summary::Provenance;
use portreeve::report::text::{self, Text};
use portreeve::site::Site;

use super::script::{Op, ops};
use super::tools;

/// Bytes that a copy may take.
const MEMORY: u64 = 256 << 20;

/// Frames that a run of a target looks at: a small file that unpacks to a large one costs time alone.
const FRAMES_MAX: u64 = 20_000;

/// Steps of [`decode`]: what one input of the usual size has.
const STEPS_MAX: usize = 20_000;

/// Link types of [`decode`]'s first byte: each that is read, and one that is not.
const LINKS: [u16; 16] = [0, 1, 9, 12, 14, 50, 101, 104, 105, 107, 108, 113, 127, 228, 229, 276];

/// A deployment of which nothing is known.
static SITE: LazyLock<Site> = LazyLock::new(Site::default);

/// Every rule that ships.
static POLICY: LazyLock<Policy> =
    LazyLock::new(|| Policy::all_shipped(Catalog::embedded(), &SITE).expect("what ships loads"));

/// Reads a file of any kind.
pub fn reader(data: &[u8]) {
    // Small blocks, so that records and headers lie across their ends.
    let options = Options { block_len: 512, ..Options::default() };
    let mut source = Files::from_reader("fuzz", Cursor::new(data.to_vec()), &options);
    let (mut block, mut frames) = (Block::default(), 0);
    while frames < FRAMES_MAX {
        match source.next(&mut block).expect("a file never ends a run") {
            Event::Frames => frames += block.frames.len() as u64,
            Event::End => break,
            _ => continue,
        }
        for record in &block.frames {
            let len = record.span.len as usize;
            assert_eq!(record.span.of(&block.bytes).len(), len, "a frame lies in its block");
            assert!(usize::from(record.point.0) < source.points().len(), "a frame has its point");
        }
    }
    let inputs = source.inputs();
    assert_eq!(inputs.len(), 1);
    assert_eq!(inputs[0].frames, frames);
}

/// Decodes frames of the link type that the first byte chooses; a turn ends a frame.
pub fn decode(data: &[u8]) {
    let Some((&link, rest)) = data.split_first() else { return };
    let link = LinkType(LINKS[usize::from(link) % LINKS.len()]);
    // A few fragments fill this.
    let options = decode::Options { fragment_bytes_max: 64 << 10, ..decode::Options::default() };
    let mut decoder = Decoder::traced(options);
    let mut block = Block::default();
    let (mut frame, mut cut) = (Vec::new(), 0);
    for op in ops(rest).take(STEPS_MAX).chain([Op::Turn]) {
        match op {
            Op::Data(bytes) => frame.extend_from_slice(bytes),
            Op::Short(len) => cut = len,
            Op::Turn => {
                let number = u16::try_from(block.frames.len()).expect("a small input");
                let time = Timestamp(i64::from(number) * 1_000_000);
                let wire_len = u32::try_from(frame.len()).expect("small").saturating_add(cut);
                block.push(time, PointId(number % 2), link, wire_len, &frame);
                frame.clear();
                cut = 0;
            }
            _ => {}
        }
    }
    let (mut placed, total) = (0, block.frames.len());
    for index in 0..total {
        let number = index as u64 + 1;
        match decoder.decode(&mut block, index, number) {
            Decoded::Packet(packet) => {
                let len = packet.payload.len as usize;
                assert_eq!(packet.payload.of(&block.bytes).len(), len, "payload is in its block");
                let _ = decoder.encap(packet.key.encap());
                placed += u64::from(packet.frames);
            }
            Decoded::Held => {}
            Decoded::Stop(_) | Decoded::Unreachable(_) => placed += 1,
        }
        placed += decoder.elsewhere().map(|packet| u64::from(packet.frames)).sum::<u64>();
    }
    decoder.finish();
    placed += decoder.lost_fragments().map(|(_, frames)| frames).sum::<u64>();
    assert_eq!(placed, total as u64, "every frame is in one place");
}

/// What a sink wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nothing panics with it").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("nothing panics with it").clone();
        String::from_utf8(bytes).expect("a report is UTF-8")
    }
}

/// Reads a capture as `analyze` does, writes every format, and writes the capture without its secrets.
pub fn report(data: &[u8]) {
    let open = || Files::from_reader("fuzz", Cursor::new(data.to_vec()), &Options::default());
    let mut source = open();
    let seen = all_of(&mut source);
    if seen.front.frames > FRAMES_MAX {
        return;
    }
    let provenance = Provenance::default();
    let fail_on = Severity::Low;
    let (catalog, site) = (Catalog::embedded(), &*SITE);
    let past = Past::default();
    let threads = false;
    let setting =
        Setting { catalog, site, policy: &POLICY, past: &past, fail_on, threads, provenance };
    let [lines, page, sarif, junit]: [Written; 4] = Default::default();
    let found = Found::new(Scope::Everything, MEMORY);
    let mut outputs = Outputs::default();
    outputs.add("ndjson", Box::new(Ndjson::new(Box::new(lines.clone()))));
    outputs.add("text", Box::new(Text::new(Box::new(page.clone()), text::Options::default())));
    outputs.add("sarif", Box::new(Sarif::new(Box::new(sarif.clone()))));
    outputs.add("junit", Box::new(Junit::new(Box::new(junit.clone()))));
    outputs.add("evidence", Box::new(found.clone()));
    join::report(&seen, &source, &setting, &mut outputs, || None).expect("memory takes it");
    for line in lines.text().lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON");
    }
    serde_json::from_str::<serde_json::Value>(&sarif.text()).expect("SARIF is JSON");
    let is_plain = |c: char| c == '\n' || !portreeve::error::is_unprintable(c);
    assert!(page.text().chars().all(is_plain), "nothing moves the cursor");
    assert!(junit.text().chars().all(|c| matches!(c, '\n' | '\t' | ' '..)), "XML has no controls");
    let mut reading = Reading {
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
    };
    let mut again = Vec::new();
    let subjects = Subjects::new(&seen, &found, Scope::Everything);
    let open = || -> portreeve::Result<Box<dyn Source>> { Ok(Box::new(open())) };
    let scrubbed =
        scrub::scrub(open, &mut reading, &subjects, Scope::Everything, MEMORY, &mut again);
    let scrubbed = scrubbed.expect("memory takes it");
    assert_eq!(scrubbed.frames, seen.front.frames, "every frame is written");
    let mut copy = Files::from_reader("copy", Cursor::new(again), &Options::default());
    assert_eq!(all_of(&mut copy).front.frames, scrubbed.frames, "and read again");
}

fn all_of(source: &mut Files) -> Gathered {
    let mut config = Config {
        workers: Workers::Inline,
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| {}),
        on_broken: Box::new(|_| {}),
    };
    let gathered = gather(source, &mut config, &tools()).expect("no thread can die");
    let total = gathered.front.ledger.total();
    let flows = gathered.shards.iter().flat_map(Shard::flows);
    let in_flows: u64 = flows.map(|(_, flow)| flow.packets_total()).sum();
    assert_eq!(total.received, gathered.front.frames);
    assert_eq!(total.received, in_flows + total.filtered + total.stopped_total());
    gathered
}
