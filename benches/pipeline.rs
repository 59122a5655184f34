//! What each stage costs on made-up traffic, and that it costs no more however many hosts and offsets
//! there are: what an endpoint is called is worked out at the join, once an endpoint.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use foldhash::fast::FixedState;
use hdrhistogram::Histogram;
use portreeve::capture::held::Held;
use portreeve::capture::mix::{Amount, Mix, Recipe};
use portreeve::capture::{Block, Event, Source};
use portreeve::catalog::Catalog;
use portreeve::error::Result;
use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{self, Tools, Uninspected};
use portreeve::packet::{
    EncapId, FiveTuple, FlowKey, LinkType, ObservationPoint, PointId, Side, Timestamp, Transport,
};
use portreeve::pipeline::join::{self, Past, Setting};
use portreeve::pipeline::measure::{self, Stage};
use portreeve::pipeline::outputs::Outputs;
use portreeve::pipeline::{Config, Gathered, Workers};
use portreeve::policy::Policy;
use portreeve::report::Sink;
use portreeve::report::ndjson::Ndjson;
use portreeve::report::record::{Envelope, FlowRecord, Record, Severity, TagRecord};
use portreeve::report::summary::Provenance;
use portreeve::site::Site;

/// Packets of one measurement.
const PACKETS: u64 = 200_000;

fn tools() -> Tools {
    Tools {
        options: inspect::Options::default(),
        fingerprinter: Fingerprinter::new(b"a key for benches"),
    }
}

fn config() -> Config {
    Config {
        workers: Workers::Inline,
        decode: portreeve::decode::Options::default(),
        separate: false,
        since: None,
        until: None,
        filter: None,
        on_progress: Box::new(|_| ()),
        on_broken: Box::new(|error| panic!("{error}")),
    }
}

fn gathered(held: &Held) -> (Gathered, f64) {
    let mut blocks = Histogram::new(3).expect("three digits are a valid precision");
    measure::whole(held, &mut config(), &tools(), &mut blocks).expect("memory can be read")
}

fn mix(recipe: Recipe) -> Held {
    let amount = Amount { packets: PACKETS, flows: 0, seed: 1 };
    Held::of(&mut Mix::new(recipe, amount)).expect("memory can be read")
}

/// Connections that are nearly all under way from the first half on.
fn long(recipe: Recipe) -> Held {
    let amount = Amount { packets: 2 * PACKETS, flows: 512, seed: 1 };
    Held::of(&mut Mix::new(recipe, amount)).expect("memory can be read")
}

/// Measures what times itself.
fn timed(mut once: impl FnMut() -> f64) -> impl FnMut(u64) -> Duration {
    move |times| Duration::from_secs_f64((0..times).map(|_| once()).sum())
}

fn stages(criterion: &mut Criterion) {
    for (name, recipe) in [("gateway", Recipe::Gateway), ("small", Recipe::Small)] {
        let held = mix(recipe);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(PACKETS)).sample_size(10);
        for stage in Stage::ALL {
            group.bench_function(stage.name(), |bencher| {
                let once = || measure::stage(stage, &held).expect("memory can be read");
                bencher.iter_custom(timed(once));
            });
        }
        group.bench_function("up to the join", |bencher| {
            bencher.iter_custom(timed(|| gathered(&held).1));
        });
        let (gathered, _) = gathered(&held);
        group.bench_function("join and report", |bencher| {
            bencher.iter(|| report(&gathered, &held));
        });
        group.finish();
    }
}

/// Joins, judges and writes what was gathered, to nowhere.
fn report(gathered: &Gathered, held: &Held) {
    let (catalog, site, past) = (Catalog::embedded(), Site::default(), Past::default());
    let policy = Policy::load(catalog, &site, &[]).expect("the rules that ship are right");
    let provenance = Provenance::default();
    let setting = Setting {
        catalog,
        site: &site,
        policy: &policy,
        past: &past,
        fail_on: Severity::High,
        threads: false,
        provenance,
    };
    let mut outputs = Outputs::default();
    outputs.add("nowhere", Box::new(Ndjson::new(Box::new(std::io::sink()))));
    join::report(gathered, &held.replay(), &setting, &mut outputs, || None)
        .expect("nowhere can be written to");
}

/// Flows to so many hosts, each at one of eleven offsets: ten packets a flow.
struct Crowd {
    hosts: u64,
    next: u64,
    points: [ObservationPoint; 1],
}

impl Crowd {
    fn held(hosts: u64) -> Held {
        let points = [ObservationPoint { file: None, interface: Some("crowd".into()), input: 0 }];
        Held::of(&mut Self { hosts, next: 0, points }).expect("memory can be read")
    }

    /// The number-th packet, from a client of its flow's own to a host.
    fn frame(&self, number: u64) -> [u8; 54] {
        let flow = u32::try_from(number / 10).expect("few flows");
        let host = u32::try_from(u64::from(flow) % self.hosts).expect("few hosts");
        let port = 9443 + u16::try_from(host % 11).expect("below eleven");
        let mut frame = [0; 54];
        frame[12] = 0x08;
        frame[14] = 0x45;
        frame[17] = 40;
        frame[23] = 6;
        frame[26..30].copy_from_slice(&Ipv4Addr::from(0x0a40_0000 + flow).octets());
        frame[30..34].copy_from_slice(&Ipv4Addr::from(0x0a80_0000 + host).octets());
        frame[34..36].copy_from_slice(&40_000_u16.to_be_bytes());
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        frame[46] = 0x50;
        frame[47] = if number.is_multiple_of(10) { 0x02 } else { 0x10 };
        frame
    }
}

impl Source for Crowd {
    fn next(&mut self, block: &mut Block) -> Result<Event> {
        if self.next == PACKETS {
            return Ok(Event::End);
        }
        block.clear();
        let end = (self.next + 10_000).min(PACKETS);
        for number in self.next..end {
            let time = Timestamp(i64::try_from(number).expect("few packets") * 1_000);
            block.push(time, PointId(0), LinkType::ETHERNET, 54, &self.frame(number));
        }
        self.next = end;
        Ok(Event::Frames)
    }

    fn points(&self) -> &[ObservationPoint] {
        &self.points
    }
}

fn number(frames: u64) -> f64 {
    f64::from(u32::try_from(frames).expect("a mix of some hundred thousands"))
}

/// What packets of connections under way cost in tables that have grown.
fn steady(criterion: &mut Criterion) {
    for (name, recipe) in [("gateway, steady", Recipe::Gateway), ("small, steady", Recipe::Small)] {
        let held = long(recipe);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(PACKETS)).sample_size(10);
        for stage in [Stage::Flow, Stage::Inspect] {
            group.bench_function(stage.name(), |bencher| {
                bencher.iter_custom(timed(|| {
                    let (seconds, frames) =
                        measure::steady(stage, &held).expect("memory can be read");
                    seconds * number(PACKETS) / number(frames)
                }));
            });
        }
        group.finish();
    }
}

fn hosts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("up to the join, by hosts");
    group.throughput(Throughput::Elements(PACKETS)).sample_size(10);
    for hosts in [1, 11, 20_000] {
        let held = Crowd::held(hosts);
        group.bench_function(BenchmarkId::from_parameter(hosts), |bencher| {
            bencher.iter_custom(timed(|| gathered(&held).1));
        });
    }
    group.finish();
}

fn summed(keys: &[FlowKey], hash: impl Fn(&FlowKey) -> u64) -> u64 {
    keys.iter().fold(0, |sum, key| sum ^ hash(key))
}

/// Mixes a key in the cheapest way.
fn foreseeable(key: &FlowKey) -> u64 {
    let [low, high] = key.address_bytes().map(u128::from_le_bytes);
    let ports = Side::BOTH.map(|side| u64::from(key.port(side)));
    let [a, b, c, d, ..] = (low ^ high).to_le_bytes();
    (u64::from(u32::from_le_bytes([a, b, c, d])) ^ ports[0] << 16 ^ ports[1])
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What it costs that nobody outside can choose where flows land: the keyed hash, beside the standard one and one
/// that anybody can foresee.
fn hashes(criterion: &mut Criterion) {
    let keys: Vec<FlowKey> = (0..1024)
        .map(|port| {
            let (src, dst) = (([10, 0, 0, 9], 40_000 + port).into(), ([10, 0, 0, 2], 8280).into());
            FlowKey::new(FiveTuple { src, dst, transport: Transport::Tcp }, EncapId::default()).0
        })
        .collect();
    let (keyed, standard) = (FixedState::with_seed(1), RandomState::new());
    let mut group = criterion.benchmark_group("hash of a flow key");
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("keyed", |bencher| {
        bencher.iter(|| summed(&keys, |key| key.hash64(&keyed)));
    });
    group.bench_function("SipHash", |bencher| {
        bencher.iter(|| summed(&keys, |key| standard.hash_one(key)));
    });
    group.bench_function("foreseeable", |bencher| bencher.iter(|| summed(&keys, foreseeable)));
    group.finish();
}

/// Flow records of one measurement.
const RECORDS: u64 = 10_000;

/// Writes flows as lines, to nowhere: the report without what it reports on.
fn lines(criterion: &mut Criterion) {
    let point = ObservationPoint { file: Some("a.pcap".into()), interface: None, input: 0 };
    let points = [&point];
    let candidates = ["wso2-api-manager-3/gateway-http", "wso2-enterprise-integrator/esb-http"];
    let record = |number: u64| FlowRecord {
        envelope: Envelope {
            timestamp: Timestamp(1_800_000_000_123_456_789),
            initiator: SocketAddr::from(([10, 0, 0, 9], 40_000)),
            responder: SocketAddr::from(([10, 0, 0, 2], 8280)),
            transport: Transport::Tcp,
            app_proto: "http",
            flow_id: number,
            points: &points,
            vlan: &[],
            tunnel: &[],
        },
        tag: TagRecord {
            service: Some("wso2-api-manager-4/gateway-http"),
            role: Some("gateway"),
            product: Some("wso2-api-manager-4"),
            offset: Some(0),
            basis: Some("port"),
            candidates: &candidates,
            ..TagRecord::default()
        },
        pkts_toserver: 18,
        pkts_toclient: 24,
        bytes_toserver: 2_397,
        bytes_toclient: 22_232,
        start: Timestamp(1_800_000_000_000_000_000),
        end: Timestamp(1_800_000_000_123_456_789),
        state: "closed",
        reason: "shutdown",
        encrypted: Some(false),
        initiator_known: true,
        conn_state: "SF",
        history: "ShADadFf",
        first_frame: number + 1,
        handshake_rtt_ns: Some(1_185_578),
        requests: 5,
        tls: None,
        merged: false,
        uninspected: Uninspected::default(),
    };
    let mut group = criterion.benchmark_group("report");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("flows as NDJSON", |bencher| {
        let mut sink = Ndjson::new(Box::new(std::io::sink()));
        bencher.iter(|| {
            for number in 0..RECORDS {
                sink.record(Record::Flow(&record(number))).expect("nowhere can be written to");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, stages, steady, hosts, lines, hashes);
criterion_main!(benches);
