//! The smallest reader of pcap and pcapng that serves tests; stops at the first thing it does not know.

use crate::capture::Block;
use crate::packet::{LinkType, PointId, Timestamp};

/// Reads whatever frames a capture has.
pub(super) fn read(file: &[u8]) -> Block {
    let mut block = Block::default();
    match file {
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => read_pcapng(file, &mut block),
        _ => read_pcap(file, &mut block),
    };
    block
}

fn word(bytes: &[u8], at: usize, is_big: bool) -> Option<u32> {
    let word = *bytes.get(at..)?.first_chunk()?;
    Some(if is_big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
}

fn half(bytes: &[u8], at: usize, is_big: bool) -> Option<u16> {
    let half = *bytes.get(at..)?.first_chunk()?;
    Some(if is_big { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) })
}

fn read_pcap(file: &[u8], block: &mut Block) -> Option<()> {
    let is_big = file.first()? == &0xa1;
    let (unit, header_len) = match word(file, 0, is_big)? {
        0xa1b2_c3d4 => (1_000, 16),
        0xa1b2_3c4d => (1, 16),
        0xa1b2_cd34 => (1_000, 24),
        _ => return None,
    };
    let link = LinkType(u16::try_from(word(file, 20, is_big)? & 0xffff).ok()?);
    let mut rest = file.get(24..)?;
    loop {
        let [seconds, fraction, captured, wire_len] =
            [0, 4, 8, 12].map(|at| word(rest, at, is_big));
        let time = Timestamp::from_parts(i64::from(seconds?), i64::from(fraction?) * unit);
        let end = header_len + captured? as usize;
        block.push(time, PointId(0), link, wire_len?, rest.get(header_len..end)?);
        rest = rest.get(end..)?;
    }
}

fn read_pcapng(file: &[u8], block: &mut Block) -> Option<()> {
    let mut is_big = false;
    let mut links = Vec::new();
    let mut rest = file;
    loop {
        if rest.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            is_big = rest.get(8)? == &0x1a;
            links.clear();
        }
        let len = word(rest, 4, is_big)? as usize;
        let body = rest.get(8..len.checked_sub(4)?)?;
        // Times only order fragments here, so that all are read as microseconds.
        let time = |at| -> Option<Timestamp> {
            let time =
                u64::from(word(body, at, is_big)?) << 32 | u64::from(word(body, at + 4, is_big)?);
            Some(Timestamp(i64::try_from(time).ok()?.saturating_mul(1_000)))
        };
        match word(rest, 0, is_big)? {
            1 => links.push(LinkType(half(body, 0, is_big)?)),
            3 => {
                let wire_len = word(body, 0, is_big)?;
                let end = (4 + wire_len as usize).min(body.len());
                block.push(Timestamp(0), PointId(0), *links.first()?, wire_len, body.get(4..end)?);
            }
            kind @ (2 | 6) => {
                let interface = match kind {
                    2 => u32::from(half(body, 0, is_big)?),
                    _ => word(body, 0, is_big)?,
                };
                let link = *links.get(interface as usize)?;
                let point = PointId(u16::try_from(interface).ok()?);
                let bytes = body.get(20..20 + word(body, 12, is_big)? as usize)?;
                block.push(time(4)?, point, link, word(body, 16, is_big)?, bytes);
            }
            _ => {}
        }
        rest = rest.get(len..)?;
    }
}
