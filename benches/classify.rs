//! What it costs to say what an endpoint is: once a host and once an endpoint, never once a packet.

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use portreeve::catalog::{AppProtocol, Catalog};
use portreeve::classify::host::{Declared, HostReader, Listener, PORTS_MAX};
use portreeve::classify::{self, Heard};
use portreeve::packet::Transport;

fn listener(port: u16, heard: Heard) -> Listener {
    Listener {
        transport: Transport::Tcp,
        port,
        answered: true,
        refused: false,
        heard: BTreeSet::from([heard]),
    }
}

/// An API Manager with everything in one, at an offset.
fn all_in_one(offset: u16) -> Vec<Listener> {
    let clear = |port, protocol| listener(port + offset, Heard::Clear(protocol));
    let tls = |port| listener(port + offset, Heard::Tls);
    vec![
        clear(8280, AppProtocol::Http),
        tls(8243),
        tls(9443),
        clear(9763, AppProtocol::Http),
        clear(5672, AppProtocol::Amqp),
        clear(9611, AppProtocol::Databridge),
        tls(9711),
        clear(9099, AppProtocol::Http),
        tls(8099),
        clear(9999, AppProtocol::Rmi),
        clear(11111, AppProtocol::Rmi),
    ]
}

/// Answering ports in a row, where everything seems to fit at every offset.
fn crowd(ports: usize) -> Vec<Listener> {
    (9300..).take(ports).map(|port| listener(port, Heard::Unknown)).collect()
}

fn reading(criterion: &mut Criterion) {
    let reader = HostReader::new(Catalog::embedded());
    let mut group = criterion.benchmark_group("read a host");
    for offset in [0, 1, 10] {
        let listeners = all_in_one(offset);
        group.bench_function(BenchmarkId::new("all in one at offset", offset), |bencher| {
            bencher.iter(|| reader.read(&Declared::default(), black_box(&listeners)));
        });
    }
    for ports in [16, 64, PORTS_MAX, 65_000 - 9300] {
        let listeners = crowd(ports);
        group.throughput(Throughput::Elements(ports as u64));
        group.bench_function(BenchmarkId::new("answering ports in a row", ports), |bencher| {
            bencher.iter(|| reader.read(&Declared::default(), black_box(&listeners)));
        });
    }
    group.finish();
}

fn tagging(criterion: &mut Criterion) {
    let catalog = Catalog::embedded();
    let reader = HostReader::new(catalog);
    let mut group = criterion.benchmark_group("tag an endpoint");
    group.bench_function("by port", |bencher| {
        bencher.iter(|| classify::by_port(catalog, Transport::Tcp, black_box(9443)));
    });
    for offset in [0, 1, 10] {
        let reading = reader.read(&Declared::default(), &all_in_one(offset));
        group.bench_function(BenchmarkId::new("by a reading at offset", offset), |bencher| {
            bencher.iter(|| reading.service_at(catalog, Transport::Tcp, black_box(9443 + offset)));
        });
    }
    group.finish();
}

criterion_group!(benches, reading, tagging);
criterion_main!(benches);
