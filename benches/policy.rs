//! What judging costs a flow: the shipped packs, and a thousand rules over a million flows.
//!
//! The flows are those of an ordinary deployment: most have nothing to say, one in a hundred carries a token
//! in clear. The aim is less than a microsecond a flow on average.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portreeve::catalog::{AppProtocol, Catalog, Role};
use portreeve::classify::{Heard, Tag, by_port};
use portreeve::inspect::{EvidenceKind, Facts, Protocol};
use portreeve::packet::{At, Timestamp, Transport};
use portreeve::policy::{FindingKind, Ground, MatrixRun, Policy, Subject, Trigger};
use portreeve::site::Site;

const FLOWS: u32 = 1_000_000;

const RULES: usize = 1_000;

/// Ports of the flows, with what is spoken there.
const PORTS: [(u16, Heard); 8] = [
    (8243, Heard::Tls),
    (8280, Heard::Clear(AppProtocol::Http)),
    (9443, Heard::Tls),
    (5672, Heard::Clear(AppProtocol::Amqp)),
    (9611, Heard::Clear(AppProtocol::Databridge)),
    (443, Heard::Tls),
    (12_345, Heard::Unknown),
    (4000, Heard::Nothing),
];

fn site() -> Site {
    let mut text = String::new();
    for (zone, trust) in
        [(0, ""), (1, "trust = \"server\"\n"), (2, "trust = \"server\"\n"), (3, "")]
    {
        write!(text, "[[zone]]\nname = \"z{zone}\"\nprefixes = [\"10.{zone}.0.0/16\"]\n{trust}")
            .unwrap();
    }
    for host in 0..2_000 {
        let (high, low) = (host >> 8, host & 0xff);
        write!(
            text,
            "[[host]]\nname = \"h{host}\"\naddresses = [\"10.1.{high}.{low}\"]\nproducts = [\"wso2-api-manager-4/gateway\"]\n"
        )
        .unwrap();
    }
    text.push_str(
        "[policy]\npacks = [\"wso2\", \"ibm-api-connect\", \"wso2-api-manager-4-distributed\"]\n",
    );
    Site::parse(Path::new("site.toml"), &text, Catalog::embedded()).unwrap()
}

/// Loads the shipped packs and rules of the user's up to a thousand, of all kinds, roles and fields.
fn policy(site: &Site) -> Policy {
    let mut text = String::new();
    for number in 0..RULES {
        let kind = FindingKind::ALL[number % FindingKind::ALL.len()];
        let role = Role::ALL[number / 7 % Role::ALL.len()];
        let evidence = EvidenceKind::ALL[number % EvidenceKind::ALL.len()];
        write!(
            text,
            "[[rule]]\nid = \"our/r{number}\"\ntitle = \"t\"\nkind = \"{kind}\"\nseverity = \"low\"\n\
             signature_id = {}\nsource = \"s\"\nremedy = \"r\"\n[rule.match]\n",
            number + 1
        )
        .unwrap();
        if kind.trigger() == Trigger::Evidence {
            writeln!(text, "evidence = \"{}\"", evidence.name()).unwrap();
        }
        match number % 4 {
            0 => writeln!(text, "role = \"{role}\"\ninitiator_zone = \"z{}\"", number % 3),
            1 => writeln!(text, "port = {}", 1_000 + number),
            2 => writeln!(text, "product = \"wso2-*\"\nresponder_zone = \"z{}\"", number % 4),
            _ => writeln!(text, "role = \"{role}\"\nprotocol = \"mqtt\""),
        }
        .unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("our.toml");
    std::fs::write(&path, text).unwrap();
    Policy::load(Catalog::embedded(), site, &[path]).unwrap()
}

/// What the flows are made of: tags and facts by port, as the join has them at hand.
struct Flows {
    tags: Vec<Tag>,
    quiet: Vec<Facts>,
    leaking: Facts,
}

impl Flows {
    fn new() -> Self {
        let tag = |(port, _): &(u16, Heard)| by_port(Catalog::embedded(), Transport::Tcp, *port);
        let facts = |(_, heard): &(u16, Heard)| {
            let protocol = match heard {
                Heard::Tls => Some(Protocol::Tls),
                Heard::Clear(protocol) => Protocol::from_name(protocol.name()),
                _ => None,
            };
            Facts { protocol, ..Facts::default() }
        };
        let mut leaking = Facts { protocol: Some(Protocol::Http), ..Facts::default() };
        leaking.observe(EvidenceKind::BearerToken, At::default(), None);
        Self {
            tags: PORTS.iter().map(tag).collect(),
            quiet: PORTS.iter().map(facts).collect(),
            leaking,
        }
    }

    fn subject(&self, number: u32, site: &Site) -> Subject<'_> {
        let place = number as usize % PORTS.len();
        let (port, heard) = PORTS[place];
        let spread = number.wrapping_mul(2_654_435_761);
        let address =
            |zone: u32, host: u32| Ipv4Addr::from(0x0a00_0000 | zone << 16 | host & 0xffff);
        let initiator = SocketAddr::new(address(spread >> 30, spread >> 8).into(), 40_000);
        let responder = SocketAddr::new(address(1, spread >> 4 & 0x7ff).into(), port);
        let facts =
            if place == 1 && number % 100 < 13 { &self.leaking } else { &self.quiet[place] };
        Subject {
            catalog: Catalog::embedded(),
            initiator,
            responder,
            initiator_known: true,
            transport: Transport::Tcp,
            tag: &self.tags[place],
            heard,
            facts: Some(facts),
            encrypted: Some(heard == Heard::Tls),
            established: true,
            answered: true,
            initiator_spoke: true,
            host_is_product: true,
            initiator_zone: site.zone_of(initiator.ip()),
            responder_zone: site.zone_of(responder.ip()),
            first: At::default(),
            last: At { frame: 1, time: Timestamp(1) },
        }
    }
}

fn judging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(FLOWS)));
    let (site, flows) = (site(), Flows::new());
    let shipped = Policy::load(Catalog::embedded(), &site, &[]).unwrap();
    let many = policy(&site);
    for (name, policy) in [("shipped packs", &shipped), ("1,000 rules", &many)] {
        group.bench_function(format!("{name}, 1,000,000 flows"), |bencher| {
            let mut findings = Vec::new();
            bencher.iter(|| {
                let mut found = 0;
                for number in 0..FLOWS {
                    policy.judge(&flows.subject(number, &site), &site, &mut findings);
                    found += findings.len();
                    findings.clear();
                }
                black_box(found)
            });
        });
    }
    group.bench_function("matrix, 1,000,000 flows", |bencher| {
        let mut findings = Vec::new();
        bencher.iter(|| {
            let ground = Ground { policy: &shipped, site: &site, catalog: Catalog::embedded() };
            let mut run = MatrixRun::new(ground);
            for number in 0..FLOWS {
                run.flow(ground, &flows.subject(number, &site), &mut findings);
                findings.clear();
            }
            black_box(run.unjudged())
        });
    });
    group.bench_function("the flows alone, 1,000,000 flows", |bencher| {
        bencher.iter(|| {
            for number in 0..FLOWS {
                black_box(flows.subject(number, &site));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, judging);
criterion_main!(benches);
