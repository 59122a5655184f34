//! The names by which other tools and other lines of a report find a flow again.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use sha1::{Digest, Sha1};

use crate::packet::{FlowKey, Side, Transport};

/// Length of `1:` and the base64 of a SHA-1.
const LEN: usize = 30;

/// A Community ID, version 1 with seed 0: the same for both directions, and in every tool that has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommunityId([u8; LEN]);

impl CommunityId {
    /// Returns the id of a five-tuple, in either direction.
    ///
    /// The Community ID Flow Hashing specification, version 1: SHA-1 over seed, lower address, higher
    /// address, protocol, a zero byte, and the ports in the order of their addresses.
    pub fn of(a: SocketAddr, b: SocketAddr, transport: Transport) -> Self {
        let (low, high) = if (a.ip(), a.port()) <= (b.ip(), b.port()) { (a, b) } else { (b, a) };
        let mut hash = Sha1::new();
        hash.update(0_u16.to_be_bytes());
        for address in [low.ip(), high.ip()] {
            match address {
                IpAddr::V4(v4) => hash.update(v4.octets()),
                IpAddr::V6(v6) => hash.update(v6.octets()),
            }
        }
        hash.update([transport.number(), 0]);
        hash.update(low.port().to_be_bytes());
        hash.update(high.port().to_be_bytes());
        let mut out = *b"1:                            ";
        let written = STANDARD.encode_slice(hash.finalize(), &mut out[2..]);
        debug_assert_eq!(written, Ok(LEN - 2), "twenty bytes are twenty-eight characters");
        Self(out)
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for CommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for CommunityId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.as_str())
    }
}

/// Returns a flow's number, below 2^53 so that every JSON reader keeps it whole.
///
/// It comes from the key's addresses, ports and transport and from the run's running number of its first
/// frame, which tells two connections of one five-tuple, and two VLANs, apart. No seed and no hash of a
/// library is in it: the same capture has the same numbers on every machine and in every version.
#[expect(clippy::cast_possible_truncation, reason = "both halves have 64 bits")]
pub fn flow_id(key: &FlowKey, first_frame: u64) -> u64 {
    let mut state = mix(first_frame);
    for side in Side::BOTH {
        let address = match key.address(side) {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        for half in [address >> 64, address & u128::from(u64::MAX)] {
            state = mix(state ^ half as u64);
        }
        state = mix(state ^ u64::from(key.port(side)));
    }
    mix(state ^ u64::from(key.transport().number())) >> 11
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood 2014): every input bit reaches every output bit.
fn mix(state: u64) -> u64 {
    let mut word = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{EncapId, FiveTuple};

    /// The specification's own baseline, its TCP and UDP rows.
    #[test]
    fn the_specification_s_vectors_hold_in_both_directions() {
        let vectors = [
            ("128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (
                "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
                "[2607:f8b0:400c:c03::1a]:25",
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
        ];
        for (a, b, expected) in vectors {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(CommunityId::of(a, b, Transport::Tcp).as_str(), expected);
            assert_eq!(CommunityId::of(b, a, Transport::Tcp).as_str(), expected);
        }
        let (a, b) = ("192.168.1.52:54585".parse().unwrap(), "8.8.8.8:53".parse().unwrap());
        let expected = "1:d/FP5EW3wiY1vCndhwleRRKHowQ=";
        assert_eq!(CommunityId::of(a, b, Transport::Udp).as_str(), expected);
        assert_eq!(CommunityId::of(b, a, Transport::Udp).as_str(), expected);
    }

    fn key(src: &str, dst: &str, transport: Transport) -> FlowKey {
        let tuple = FiveTuple { src: src.parse().unwrap(), dst: dst.parse().unwrap(), transport };
        FlowKey::new(tuple, EncapId(0)).0
    }

    #[test]
    fn a_flow_number_is_fixed_for_all_time_and_below_2_to_the_53() {
        let there = key("10.0.0.1:40000", "10.0.0.2:8280", Transport::Tcp);
        let back = key("10.0.0.2:8280", "10.0.0.1:40000", Transport::Tcp);
        assert_eq!(flow_id(&there, 1), flow_id(&back, 1));
        assert_eq!(flow_id(&there, 1), 6_978_543_624_302_387);
        assert!((0..10_000).all(|frame| flow_id(&there, frame) < 1 << 53));
    }

    #[test]
    fn every_part_of_the_key_and_the_frame_change_the_number() {
        let base = flow_id(&key("10.0.0.1:40000", "10.0.0.2:8280", Transport::Tcp), 1);
        let others = [
            flow_id(&key("10.0.0.1:40000", "10.0.0.2:8280", Transport::Tcp), 2),
            flow_id(&key("10.0.0.1:40000", "10.0.0.2:8280", Transport::Udp), 1),
            flow_id(&key("10.0.0.1:40001", "10.0.0.2:8280", Transport::Tcp), 1),
            flow_id(&key("10.0.0.1:40000", "10.0.0.3:8280", Transport::Tcp), 1),
            flow_id(&key("[::1]:40000", "[::2]:8280", Transport::Tcp), 1),
        ];
        assert!(others.iter().all(|other| *other != base));
    }
}
