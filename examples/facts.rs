#![allow(missing_docs, clippy::all, clippy::pedantic)]
use portreeve::capture::file::{Files, Input, Options as FO};
use portreeve::inspect::{Options, Tools, secret::Fingerprinter};
use portreeve::packet::Side;
use portreeve::pipeline::{Config, Workers, gather};
fn main() {
    for path in std::env::args().skip(1) {
        let tools = Tools {
            options: Options { show_users: true, ..Options::default() },
            fingerprinter: Fingerprinter::new(b"k"),
        };
        let Ok(mut files) = Files::open(vec![Input::Path(path.clone().into())], &FO::default())
        else {
            println!("{path}: unreadable");
            continue;
        };
        let mut config = Config {
            workers: Workers::Inline,
            decode: Default::default(),
            separate: false,
            filters: false,
            since: None,
            until: None,
            filter: None,
            on_progress: Box::new(|_| ()),
            on_broken: Box::new(|_| ()),
        };
        let gathered = match gather(&mut files, &mut config, &tools) {
            Ok(g) => g,
            Err(e) => {
                println!("{path}: {e}");
                continue;
            }
        };
        let name = path.rsplit('/').next().unwrap();
        for shard in &gathered.shards {
            for (number, flow) in shard.flows() {
                let Some(facts) = shard.facts(number) else { continue };
                let ends = Side::BOTH.map(|s| flow.key.endpoint(s));
                let brief = std::env::var("BRIEF").is_ok();
                if brief && facts.evidence.is_empty() {
                    continue;
                }
                print!(
                    "{name}\t{}-{}\t{:?}\tinit={:?}\treq={}\tunin={:?}",
                    ends[0],
                    ends[1],
                    facts.protocol,
                    facts.initiator,
                    facts.requests,
                    facts.uninspected.names().collect::<Vec<_>>()
                );
                if let Some(tls) = &facts.tls {
                    print!("\ttls={tls:?}");
                }
                println!();
                for e in &facts.evidence {
                    println!(
                        "\t{} x{} first={} last={} user={:?} secrets={} jwt={:?} {:?}",
                        e.kind.name(),
                        e.count,
                        e.first.frame,
                        e.last.frame,
                        e.user,
                        e.secrets.len(),
                        e.jwt,
                        e.http
                    );
                }
            }
        }
    }
}
