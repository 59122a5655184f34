//! A run that lets go of flows while it goes on says the same as one that keeps them.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve::Result;
use portreeve::capture::file::{Files, Input, Options as FileOptions};
use portreeve::capture::{Block, Event, Source};
use portreeve::catalog::Catalog;
use portreeve::decode;
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{self, Tools};
use portreeve::packet::ObservationPoint;
use portreeve::pipeline::join::{Carried, Past, Setting};
use portreeve::pipeline::live::{self, Options, Status, Watcher};
use portreeve::pipeline::outputs::Outputs;
use portreeve::pipeline::{Config, Workers};
use portreeve::policy::Policy;
use portreeve::report::ndjson::Ndjson;
use portreeve::report::record::Severity;
use portreeve::report::summary::{Provenance, Rtt, RunRecord};
use portreeve::site::Site;
use serde_json::Value;

use crate::net::contents;
use crate::support;

/// Gives the frames of a file one by one, as a quiet interface would.
pub(crate) struct Slowly {
    frames: Block,
    points: Vec<ObservationPoint>,
    next: usize,
}

impl Slowly {
    pub(crate) fn new(name: &str) -> Self {
        let input = Input::from(&support::root().join("captures").join(name));
        let mut files = Files::open(vec![input], &FileOptions::default()).unwrap();
        let (mut frames, mut block) = (Block::default(), Block::default());
        while !matches!(files.next(&mut block).unwrap(), Event::End) {
            for index in 0..block.frames.len() {
                let frame = block.frame(index, 1);
                frames.push(frame.time, frame.point, frame.link, frame.wire_len, frame.bytes);
            }
            block.clear();
        }
        Self { frames, points: files.points().to_vec(), next: 0 }
    }
}

impl Source for Slowly {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        block.clear();
        if self.next == self.frames.frames.len() {
            return Ok(Event::End);
        }
        let frame = self.frames.frame(self.next, 1);
        block.push(frame.time, frame.point, frame.link, frame.wire_len, frame.bytes);
        self.next += 1;
        Ok(Event::Frames)
    }

    fn points(&self) -> &[ObservationPoint] {
        &self.points
    }
}

/// The rules that ship.
struct Rules<'k> {
    catalog: &'k Catalog,
    site: &'k Site,
    policy: &'k Policy,
    past: &'k Past,
}

impl Watcher for Rules<'_> {
    fn setting(&self) -> Setting<'_> {
        let provenance = Provenance::default();
        let Self { catalog, site, policy, past } = *self;
        Setting { catalog, site, policy, past, fail_on: Severity::High, threads: true, provenance }
    }

    fn pulse(&mut self, _status: &Status, _carried: &mut Carried) -> Result<()> {
        Ok(())
    }

    fn figures(&self, _status: &Status, _latency: Option<Rtt>) -> Option<RunRecord> {
        None
    }
}

/// A writer that others can look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Watches a capture as if it were live, under a limit, and returns the records.
fn watch(name: &str, workers: Workers, memory_limit: u64) -> Vec<Value> {
    let catalog = Catalog::embedded();
    let site = Site::default();
    let policy = Policy::load(catalog, &site, &[]).unwrap();
    let past = Past::default();
    let mut rules = Rules { catalog, site: &site, policy: &policy, past: &past };
    run_live(&mut Slowly::new(name), workers, memory_limit, &mut rules)
}

/// Watches a source and returns the records.
pub(crate) fn run_live(
    source: &mut dyn Source,
    workers: Workers,
    memory_limit: u64,
    watcher: &mut dyn Watcher,
) -> Vec<Value> {
    let fingerprinter = Fingerprinter::new(b"a key for tests");
    let tools = Tools { options: inspect::Options::default(), fingerprinter };
    let mut config = Config {
        workers,
        decode: decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| ()),
        on_broken: Box::new(|error| panic!("{error}")),
    };
    let out = Shared::default();
    let mut outputs = Outputs::default();
    outputs.add("memory", Box::new(Ndjson::new(Box::new(out.clone()))));
    let options =
        Options { memory_limit, stats_every: Duration::from_hours(1), ask_every: Duration::ZERO };
    live::run(source, &mut config, &tools, &mut outputs, watcher, options).unwrap();
    let bytes = out.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_file(name: &str) -> Vec<Value> {
    support::analyze(&support::root().join("captures").join(name)).1
}

pub(crate) const ONE: Workers = Workers::Threads(NonZeroUsize::MIN);

#[test]
fn flows_that_were_let_go_are_reported_as_if_they_were_kept() {
    let file = of_file("demo.pcap");
    for workers in [Workers::Inline, ONE] {
        let records = watch("demo.pcap", workers, 1 << 30);
        assert_eq!(contents(&records), contents(&file), "{workers:?}");
        let (ours, theirs) = (support::summary(&records), support::summary(&file));
        assert_eq!(support::imbalance(ours), None);
        for part in ["ledger", "totals", "roles", "services", "unclassified", "rules", "timeline"] {
            let of = |summary: &Value| match part {
                "ledger" => support::own(summary, part)["total"].clone(),
                _ => support::own(summary, part).clone(),
            };
            assert_eq!(of(ours), of(theirs), "{part}, {workers:?}");
        }
        // The last flows end within half a minute of the end; the others were written before.
        let flow = records.iter().position(|record| record["event_type"] == "flow").unwrap();
        let alert = records.iter().rposition(|record| record["event_type"] == "alert").unwrap();
        assert!(flow < alert, "no flow was let go before the end");
    }
}

#[test]
fn a_full_table_throws_flows_out_and_says_so() {
    for workers in [Workers::Inline, ONE] {
        let records = watch("demo.pcap", workers, 1);
        let summary = support::summary(&records);
        assert_eq!(support::imbalance(summary), None, "{workers:?}");
        let total = &support::own(summary, "ledger")["total"];
        assert_eq!(total["received"], 491);
        assert!(support::number(&total["evicted"]) > 0, "{total}");
        let reasons = support::own(summary, "verdict")["reasons"].to_string();
        assert!(reasons.contains("\"evicted\""), "{reasons}");
    }
}
