//! Record headers of pcap's relatives that have no magic of their own.
//!
//! Patches of 1999 made the record headers longer and either kept the magic or used one magic for two
//! layouts; some firewalls of Nokia did so too. As in wireshark's wiretap/libpcap.c, the first records
//! are read in each layout, and the layout with the fewest oddities wins.

use crate::capture::file::bytes::Order;
use crate::capture::file::container::Outlook;
use crate::capture::file::pcap::{Kind, Magic};

/// Length of the usual record header: seconds, fraction, captured length, length on the wire.
pub(super) const STANDARD_HEADER_LEN: usize = 16;

/// With an interface index, a protocol and a packet type (patches ss990417 and ss991029).
const PATCHED_HEADER_LEN: usize = 24;

/// The same with five more bytes of debugging and padding (patch ss990915).
const DEBUG_HEADER_LEN: usize = 28;

/// With four bytes of unknown meaning.
const NOKIA_HEADER_LEN: usize = 20;

/// Records that are tried; the second one is the first that a wrong layout misplaces.
const RECORDS_TRIED: usize = 3;

/// Bytes that are looked at, at most: enough for three records of jumbo frames.
const PROBE_LEN: usize = 64 << 10;

/// The longest frame of link types that matter (libpcap's `MAXIMUM_SNAPLEN`).
const FRAME_LEN_MAX: u32 = 262_144;

/// More on the wire than this is a sign of the wrong layout.
const WIRE_LEN_MAX: u32 = 128 << 20;

/// Returns the length of a file's record headers, or how many bytes of records are needed to tell.
pub(super) fn record_header_len(
    magic: Magic,
    records: &[u8],
    snap_len: u32,
    outlook: Outlook,
) -> Result<usize, usize> {
    let candidates: &[usize] = match magic.kind {
        // The usual layout is not put in doubt where that would mean to wait for a third packet.
        Kind::Standard if !outlook.as_it_comes => {
            &[STANDARD_HEADER_LEN, PATCHED_HEADER_LEN, NOKIA_HEADER_LEN]
        }
        Kind::Modified => &[PATCHED_HEADER_LEN, DEBUG_HEADER_LEN],
        _ => &[STANDARD_HEADER_LEN],
    };
    let [only] = candidates else {
        let mut best = (usize::MAX, STANDARD_HEADER_LEN);
        for header_len in candidates {
            let trial = Trial { order: magic.order, header_len: *header_len, snap_len };
            let oddities = trial.oddities(records, outlook.ended)?;
            if oddities == 0 {
                return Ok(*header_len);
            }
            if oddities < best.0 {
                best = (oddities, *header_len);
            }
        }
        return Ok(best.1);
    };
    Ok(*only)
}

/// One layout under trial.
struct Trial {
    order: Order,
    header_len: usize,
    snap_len: u32,
}

impl Trial {
    /// Counts what is odd about the first records, or tells how many bytes are needed to do so.
    fn oddities(&self, records: &[u8], ended: bool) -> Result<usize, usize> {
        let mut at = 0;
        let mut oddities = 0;
        for _ in 0..RECORDS_TRIED {
            let Some(header) = records.get(at..at + self.header_len) else {
                return run_out(at + self.header_len, records.len() > at, oddities, ended);
            };
            oddities += self.oddities_of(header);
            let captured_len = self.order.u32_at(header, 8).unwrap_or(0);
            if captured_len > FRAME_LEN_MAX {
                break;
            }
            at += self.header_len + captured_len as usize;
            if at > records.len() {
                return run_out(at, true, oddities, ended);
            }
        }
        Ok(oddities)
    }

    fn oddities_of(&self, header: &[u8]) -> usize {
        let word = |at| self.order.u32_at(header, at).unwrap_or(0);
        let (captured_len, wire_len) = (word(8), word(12));
        let mut odd = [
            word(4) >= 1_000_000,
            captured_len > FRAME_LEN_MAX,
            captured_len > self.snap_len,
            wire_len > WIRE_LEN_MAX,
            captured_len > wire_len,
        ]
        .into_iter()
        .filter(|odd| *odd)
        .count();
        match self.header_len {
            PATCHED_HEADER_LEN | DEBUG_HEADER_LEN => {
                let protocol = self.order.u16_at(header, 20).unwrap_or(0);
                let is_protocol = protocol >= 0x0600
                    || protocol <= 0x0017
                    || [0x0060, 0x0200, 0x0400].contains(&protocol);
                let packet_type = header.get(22).copied().unwrap_or(0);
                odd += usize::from(word(16) > 10_000)
                    + usize::from(!is_protocol)
                    + usize::from(packet_type > 4);
            }
            NOKIA_HEADER_LEN => odd += usize::from(!is_nokia(word(16))),
            _ => {}
        }
        odd
    }
}

/// The records under trial reach beyond the bytes: a cut record is odd, a clean end is not.
fn run_out(need: usize, is_cut: bool, oddities: usize, ended: bool) -> Result<usize, usize> {
    if ended {
        Ok(oddities + usize::from(is_cut))
    } else if need > PROBE_LEN {
        Ok(oddities)
    } else {
        Err(need)
    }
}

/// The values seen in Nokia's extra field are of the form 0xXfbfYZ0W with few X, Y, Z, W.
fn is_nokia(word: u32) -> bool {
    word & 0x0fff_00f0 == 0x0fbf_0000
        && matches!(word >> 28, 0x9 | 0xb)
        && matches!(word >> 12 & 0xf, 0xb | 0xd)
        && matches!(word >> 8 & 0xf, 0x6 | 0x9)
        && matches!(word & 0xf, 1 | 2)
}
