//! A live run whose rules are loaded again says the same as one that had them from the start.

use std::fs;
use std::time::{Duration, Instant};

use portreeve::Result;
use portreeve::capture::{Block, Event, Source};
use portreeve::catalog::Catalog;
use portreeve::packet::{ObservationPoint, Timestamp};
use portreeve::pipeline::join::{Carried, Past, Setting};
use portreeve::pipeline::live::{Status, Watcher};
use portreeve::policy::Policy;
use portreeve::policy::baseline::Baseline;
use portreeve::report::record::Severity;
use portreeve::report::summary::{Provenance, Rtt, RunRecord};
use portreeve::site::Site;
use serde_json::Value;

use crate::folding::{ONE, Slowly, run_live};
use crate::support;

/// Hosts, zones and choices of the demo's deployment, in two orders: their numbers are others, and nothing else.
const HOSTS: [&str; 3] = [
    "[[host]]\nname = \"gateway\"\naddresses = [\"10.20.3.10\"]\nproducts = [\"wso2-api-manager-4/gateway\"]\n",
    "[[host]]\nname = \"plane\"\naddresses = [\"10.20.4.10\"]\nproducts = [\"wso2-api-manager-4/control-plane\"]\n",
    "[[host]]\nname = \"traffic\"\naddresses = [\"10.20.4.20\"]\nproducts = [\"wso2-api-manager-4/traffic-manager\"]\n",
];
const ZONES: [&str; 3] = [
    "[[zone]]\nname = \"clients\"\nprefixes = [\"10.20.8.0/24\"]\n",
    "[[zone]]\nname = \"balancers\"\nprefixes = [\"10.20.2.0/24\"]\n",
    "[[zone]]\nname = \"elsewhere\"\nprefixes = [\"203.0.113.0/24\"]\n",
];
const CHOICE: &str = "[policy]\npacks = [\"wso2\", \"wso2-api-manager-4-distributed\"]\n\
    expect = [\"wso2-api-manager-4-distributed\"]\n\
    disabled = [\"wso2-api-manager-4/gateway-websocket\", \"wso2-api-manager-4/gateway-http\"]\n";

/// Everything that is loaded again.
struct Known {
    site: Site,
    policy: Policy,
    past: Past,
}

impl Known {
    fn load(dir: &std::path::Path, name: &str, order: [usize; 3]) -> Self {
        let catalog = Catalog::embedded();
        let parts = order.iter().flat_map(|place| [HOSTS[*place], ZONES[*place]]);
        let path = dir.join(name);
        fs::write(&path, parts.chain([CHOICE]).collect::<String>()).unwrap();
        let site = Site::load(&path, catalog).unwrap();
        let policy = Policy::load(catalog, &site, &[]).unwrap();
        let baseline = Baseline::load(dir.join("baseline.toml"), catalog, &policy).unwrap();
        Self { site, policy, past: Past::new(Some(baseline), Some(1 << 20)) }
    }
}

/// Loads the rules again after some pulses, as SIGHUP does.
struct Reloading {
    known: Known,
    next: Option<Known>,
}

fn setting(known: &Known) -> Setting<'_> {
    let provenance = Provenance::default();
    let Known { site, policy, past } = known;
    let (catalog, fail_on) = (Catalog::embedded(), Severity::High);
    Setting { catalog, site, policy, past, fail_on, threads: false, provenance }
}

impl Watcher for Reloading {
    fn setting(&self) -> Setting<'_> {
        setting(&self.known)
    }

    fn pulse(&mut self, status: &Status, carried: &mut Carried) -> Result<()> {
        if status.frames >= PAUSE_AT
            && let Some(mut next) = self.next.take()
        {
            carried.renumber(&setting(&self.known), &setting(&next));
            next.past.take_over(&self.known.past);
            self.known = next;
        }
        Ok(())
    }

    fn figures(&self, _status: &Status, _latency: Option<Rtt>) -> Option<RunRecord> {
        None
    }
}

/// Frames before the rules are loaded again: most of the demo's flows are gone by then, not all.
const PAUSE_AT: u64 = 400;

/// A time soon after the demo's.
const END: Timestamp = Timestamp(1_795_600_000_000_000_000);

/// Waits midway, until the run has looked up.
struct Pausing {
    inner: Slowly,
    frames: u64,
    begun: Option<Instant>,
}

impl Source for Pausing {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        if self.frames >= PAUSE_AT {
            let begun = *self.begun.get_or_insert_with(Instant::now);
            if begun.elapsed() < Duration::from_millis(300) {
                block.clear();
                return Ok(Event::Tick(Timestamp(0)));
            }
        }
        let event = self.inner.next(block)?;
        self.frames += block.frames.len() as u64;
        Ok(event)
    }

    fn points(&self) -> &[ObservationPoint] {
        self.inner.points()
    }
}

#[test]
fn rules_that_are_loaded_again_keep_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("baseline.toml"), "").unwrap();
    let run = |next: Option<Known>| -> (Vec<Value>, String) {
        let known = Known::load(dir.path(), "site.toml", [0, 1, 2]);
        let mut watcher = Reloading { known, next };
        let inner = Slowly::new("demo.pcap");
        let mut source = Pausing { inner, frames: 0, begun: None };
        let records = run_live(&mut source, ONE, 1 << 30, &mut watcher);
        assert!(watcher.next.is_none(), "the rules were never loaded again");
        let summary = support::summary(&records);
        assert_eq!(support::imbalance(summary), None);
        (records, watcher.known.past.write(END))
    };
    let whole = run(None);
    fs::write(dir.path().join("baseline.toml"), &whole.1).unwrap();
    let whole = run(None);
    let renewed = run(Some(Known::load(dir.path(), "other.toml", [2, 0, 1])));
    assert_eq!(renewed.1, whole.1, "the noted baseline");
    let rows = |records: &[Value]| -> Vec<String> {
        let rows = records.iter().filter(|record| record["event_type"] == "row");
        rows.map(|row| row["portreeve"]["row"].to_string()).collect()
    };
    assert!(rows(&whole.0).iter().any(|row| row.contains("\"satisfied\"")), "no row was met");
    assert_eq!(rows(&renewed.0), rows(&whole.0));
    for part in ["zones", "rules", "baseline_gone", "totals", "roles"] {
        let of = |records: &[Value]| support::own(support::summary(records), part).clone();
        assert_eq!(of(&renewed.0), of(&whole.0), "{part}");
    }
    let gone = support::own(support::summary(&renewed.0), "baseline_gone").to_string();
    assert!(gone.len() < 5, "a finding of before counts as gone: {gone}");
    let not_exercised = |records: &[Value]| {
        support::own(support::summary(records), "verdict")["not_exercised"].clone()
    };
    assert_eq!(not_exercised(&renewed.0), not_exercised(&whole.0));
}
