//! Which way round a flow goes, and what can be said of it as a whole.

use crate::flow::Flow;
use crate::inspect::Facts;
use crate::packet::{Side, Transport};

/// A flow with its two ends told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// The side that began.
    pub initiator: Side,
    /// Known by more than having been seen first.
    pub known: bool,
}

/// Finds who began: SYN, SYN/ACK, content, the only catalogued side, first seen (in this order). For UDP
/// the first datagram's sender, unless content says that it was a reply (RFC 5103 §2).
///
/// `is_catalogued` tells whether a side's port is one of the catalogue.
pub fn direction(
    flow: &Flow,
    facts: Option<&Facts>,
    is_catalogued: impl Fn(Side) -> bool,
) -> Direction {
    let by_handshake = match flow.key.transport() {
        Transport::Tcp => flow.tcp.initiator(),
        Transport::Udp => None,
    };
    let by_content = || facts.and_then(|facts| facts.initiator);
    if let Some(initiator) = by_handshake.or_else(by_content) {
        return Direction { initiator, known: true };
    }
    if flow.key.transport() == Transport::Udp {
        return Direction { initiator: flow.first_side, known: true };
    }
    match (is_catalogued(Side::Low), is_catalogued(Side::High)) {
        (true, false) => Direction { initiator: Side::High, known: true },
        (false, true) => Direction { initiator: Side::Low, known: true },
        _ => Direction { initiator: flow.first_side, known: false },
    }
}

/// Returns EVE's `flow.state` (Suricata, `doc/userguide/output/eve`): `new` while only one side was
/// heard, `established`, `closed`.
pub fn state(flow: &Flow) -> &'static str {
    match flow.key.transport() {
        Transport::Tcp if flow.tcp.is_over() => "closed",
        Transport::Tcp if flow.tcp.is_answered() => "established",
        Transport::Udp if flow.packets.iter().all(|packets| *packets > 0) => "established",
        _ => "new",
    }
}

/// Returns EVE's `flow.reason`: why the flow ended.
pub fn reason(flow: &Flow) -> &'static str {
    match flow.key.transport() {
        Transport::Tcp if flow.tcp.is_over() => "shutdown",
        Transport::Udp if flow.is_ended() => "timeout",
        _ => "forced",
    }
}

/// Returns Zeek's `conn_state`; of UDP, by which sides were heard (scripts/base/protocols/conn).
pub fn conn_state(flow: &Flow, initiator: Side) -> &'static str {
    if flow.key.transport() == Transport::Tcp {
        return flow.tcp.conn_state(initiator);
    }
    let heard = |side: Side| flow.packets[side.index()] > 0;
    match (heard(initiator), heard(initiator.other())) {
        (true, true) => "SF",
        (true, false) => "S0",
        (false, true) => "SHR",
        (false, false) => "OTH",
    }
}

/// Returns Zeek's `history`; of UDP, a letter for each side that sent data.
pub fn history(flow: &Flow, initiator: Side) -> String {
    if flow.key.transport() == Transport::Tcp {
        return flow.history.to_text(initiator);
    }
    let heard = |side: Side| flow.packets[side.index()] > 0;
    let letters = [(initiator, "D"), (initiator.other(), "d")];
    letters.into_iter().filter(|(side, _)| heard(*side)).map(|(_, letter)| letter).collect()
}

/// Returns `app_proto`: the initiator's protocol, `unknown`, or `none` when no payload was seen.
pub fn app_proto(flow: &Flow, facts: Option<&Facts>) -> &'static str {
    match facts.and_then(|facts| facts.protocol) {
        Some(protocol) => protocol.name(),
        None if flow.has_payload() => "unknown",
        None => "none",
    }
}

/// Tells whether the flow itself was answered: a SYN/ACK, data, or for UDP any datagram.
pub fn is_answered(flow: &Flow) -> bool {
    flow.key.transport() == Transport::Udp || flow.tcp.is_answered()
}
