//! Endpoints that RMI registries named to their clients: bounded, valid for some hours, never backwards.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::view::View;
use crate::catalog::AppProtocol;
use crate::classify::Heard;
use crate::inspect::facts::LearnedEndpoint;
use crate::packet::{At, Timestamp, Transport};

/// Spans of time that are kept, over all endpoints: a registry names a handful, and asked again it only makes
/// a span longer.
const SPANS_MAX: usize = 1 << 16;

/// How long an endpoint that a server named stays the one it was: a working day of packet time.
const VALID_NS: u64 = 8 * 3_600 * 1_000_000_000;

/// Packet time between two looks for what is over, where there is no room for more.
const SWEEP_NS: u64 = 3_600 * 1_000_000_000;

/// Spans of one endpoint: as many as a month has working days. The oldest goes first.
const SPANS_OF_ONE_MAX: usize = 32;

/// Endpoints of one registry that are told in the report.
const TOLD_MAX: usize = 8;

/// Registries that the report tells of: every server of a platform has one.
const REGISTRIES_MAX: usize = 1 << 10;

/// Which end of a later flow must be whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    /// The registry's own address, or the one that it named.
    Responder(IpAddr),
    /// Who was told a name, and whether what it names is behind TLS: where that leads is not in the capture.
    Initiator(IpAddr, bool),
}

/// From the answer that named an endpoint until its validity is over.
struct Span {
    from: At,
    until: Timestamp,
}

impl Span {
    fn holds(&self, first: At) -> bool {
        self.from < first && first.time <= self.until
    }

    /// Takes in another span where the two overlap; tells whether they do.
    fn takes_in(&mut self, other: &Self) -> bool {
        let overlaps = other.from.time <= self.until && self.from.time <= other.until;
        if overlaps {
            self.from = self.from.min(other.from);
            self.until = self.until.max(other.until);
        }
        overlaps
    }
}

/// An endpoint as told in the report: host, port, whether it is behind TLS.
type Told = (String, u16, bool);

/// All endpoints that servers named.
#[derive(Default)]
pub(super) struct Learned {
    spans: HashMap<(u16, End), Vec<Span>>,
    spans_len: usize,
    swept: Timestamp,
    /// What each registry named.
    told: BTreeMap<IpAddr, BTreeSet<Told>>,
}

impl Learned {
    /// Learns what a flow's responder named.
    pub(super) fn learn(&mut self, view: &View<'_>) {
        let Some(facts) = view.facts else { return };
        for endpoint in &facts.learned {
            let server = view.responder().ip();
            if endpoint.port == view.responder().port() {
                // A connection's own stub leads to where it came from.
                continue;
            }
            self.add(endpoint, End::Responder(server));
            match address(&endpoint.host) {
                Some(named) if named == server => {}
                Some(named) => self.add(endpoint, End::Responder(named)),
                None => self.add(endpoint, End::Initiator(view.initiator().ip(), endpoint.tls)),
            }
            if self.told.len() < REGISTRIES_MAX || self.told.contains_key(&server) {
                let told = self.told.entry(server).or_default();
                if told.len() < TOLD_MAX {
                    told.insert((endpoint.host.clone(), endpoint.port, endpoint.tls));
                }
            }
        }
    }

    fn add(&mut self, endpoint: &LearnedEndpoint, end: End) {
        let at = endpoint.at;
        let valid = i64::try_from(VALID_NS).unwrap_or(i64::MAX);
        let span = Span { from: at, until: Timestamp(at.time.0.saturating_add(valid)) };
        let key = (endpoint.port, end);
        let mut known = self.spans.get_mut(&key).into_iter().flatten();
        if known.any(|known| known.takes_in(&span)) {
            return;
        }
        if self.spans_len >= SPANS_MAX && at.time.since(self.swept) >= SWEEP_NS {
            self.sweep(at.time);
        }
        if self.spans_len < SPANS_MAX {
            let spans = self.spans.entry(key).or_default();
            if spans.len() >= SPANS_OF_ONE_MAX {
                spans.remove(0);
                self.spans_len -= 1;
            }
            spans.push(span);
            self.spans_len += 1;
        }
    }

    /// Forgets what was over by a time.
    fn sweep(&mut self, now: Timestamp) {
        self.swept = now;
        self.spans.retain(|_, spans| {
            spans.retain(|span| span.until >= now);
            !spans.is_empty()
        });
        self.spans_len = self.spans.values().map(Vec::len).sum();
    }

    /// Tells whether a flow's responder had been named before the flow began; `is_free` when the port could be
    /// nothing else.
    ///
    /// A name leads to one host, and its client goes to the same port of others: only a flow that speaks RMI is
    /// one to the name, or one of TLS where nothing else is at home.
    pub(super) fn has(&self, view: &View<'_>, is_free: bool) -> bool {
        if self.spans.is_empty() || view.transport() != Transport::Tcp {
            return false;
        }
        let responder = view.responder();
        let is_rmi = view.heard == Heard::Clear(AppProtocol::Rmi);
        let is_tls = is_rmi || (is_free && view.heard == Heard::Tls);
        let named = |tls| End::Initiator(view.initiator().ip(), tls);
        let ends = [
            Some(End::Responder(responder.ip())),
            is_rmi.then(|| named(false)),
            is_tls.then(|| named(true)),
        ];
        ends.into_iter().flatten().any(|end| {
            let spans = self.spans.get(&(responder.port(), end));
            spans.into_iter().flatten().any(|span| span.holds(view.flow.first))
        })
    }

    /// Returns a sentence for each endpoint that a host's registry named.
    pub(super) fn notes(&self, registry: IpAddr) -> impl Iterator<Item = String> + '_ {
        let told = self.told.get(&registry).into_iter().flatten();
        told.map(|(host, port, tls)| {
            let tls = if *tls { ", behind TLS" } else { "" };
            if host.contains(':') {
                format!("its RMI registry names [{host}]:{port} to clients{tls}")
            } else {
                format!("its RMI registry names {host}:{port} to clients{tls}")
            }
        })
    }
}

/// Returns the address that a host is written as, if it is one; Java writes IPv6 with its zone.
fn address(host: &str) -> Option<IpAddr> {
    host.split('%').next()?.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16, hours: i64) -> LearnedEndpoint {
        let time = Timestamp(hours * 3_600 * 1_000_000_000);
        let at = At { frame: 1 + u64::try_from(hours).unwrap(), time };
        LearnedEndpoint { host: "gw".to_owned(), port, tls: false, at }
    }

    #[test]
    fn what_is_named_again_makes_a_span_longer_and_takes_no_room() {
        let mut learned = Learned::default();
        let end = End::Responder(IpAddr::from([10, 0, 3, 10]));
        for hours in [0, 5, 3, 10, 40] {
            learned.add(&endpoint(4000, hours), end);
        }
        assert_eq!(learned.spans_len, 2);
        let holds = |hours| {
            let first = endpoint(4000, hours).at;
            learned.spans[&(4000, end)].iter().any(|span| span.holds(first))
        };
        let held: Vec<i64> = (0..60).filter(|hours| holds(*hours)).collect();
        assert_eq!(held, (1..=18).chain(41..=48).collect::<Vec<_>>());
    }

    #[test]
    fn an_endpoint_that_is_named_for_ever_takes_little_room() {
        let mut learned = Learned::default();
        let end = End::Responder(IpAddr::from([10, 0, 3, 10]));
        for day in 0..1_000 {
            learned.add(&endpoint(4000, 24 * day), end);
        }
        assert_eq!(learned.spans_len, SPANS_OF_ONE_MAX);
        let spans = &learned.spans[&(4000, end)];
        assert!(spans.iter().any(|span| span.holds(endpoint(4000, 24 * 999 + 1).at)));
        assert_eq!(spans.len(), SPANS_OF_ONE_MAX);
    }

    #[test]
    fn a_full_list_lets_go_of_what_is_over() {
        let mut learned = Learned::default();
        let full = u32::try_from(SPANS_MAX).unwrap();
        for number in 0..full + 9 {
            let [_, a, b, c] = number.to_be_bytes();
            let end = End::Initiator(IpAddr::from([10, a, b, c]), false);
            learned.add(&endpoint(4000, 0), end);
        }
        assert_eq!(learned.spans_len, SPANS_MAX);
        learned.add(&endpoint(4000, 9), End::Initiator(IpAddr::from([9, 9, 9, 9]), true));
        assert_eq!(learned.spans_len, 1);
    }

    #[test]
    fn an_address_is_known_however_java_writes_it() {
        assert_eq!(address("127.0.1.1"), Some(IpAddr::from([127, 0, 1, 1])));
        let local = "fe80::1".parse().ok();
        assert_eq!(address("fe80:0:0:0:0:0:0:1%eth0"), local);
        assert_eq!(address("[fe80::1]"), local);
        assert_eq!(address("gw.example.org"), None);
    }
}
