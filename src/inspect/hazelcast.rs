//! Hazelcast: what members and clients say first over TCP (`Protocols.java`), and the join over multicast.

use super::bytes::Reader;
use super::look::{Fault, Look, OrShort, any_of, ensure, is_word, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// Version of the packets between members (`Packet.VERSION`), since 3.0.
const PACKET_VERSION: u8 = 4;

/// Type number of a data-serializable object (`SerializationConstants`).
const DATA_SERIALIZABLE: [u8; 4] = [0xff, 0xff, 0xff, 0xfe];

/// Largest packet that is believed.
const SIZE_MAX: u32 = 256 << 20;

/// Looks at the first bytes of one side.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[member(start), client(start.bytes)]))
}

/// Three bytes, the same from both members; then packets.
fn member(start: &Start<'_>) -> Look {
    let mut reader = Reader::new(start.bytes);
    reader.expect(b"HZC")?;
    if reader.is_empty() {
        let agreed = start.ended || start.other.starts_with(b"HZC");
        return if agreed { Ok(Sender::Either) } else { Err(Fault::Short) };
    }
    reader.expect(&[PACKET_VERSION])?;
    Ok(Sender::Either)
}

/// A client of 4 and later, or of 3; both with little-endian lengths.
fn client(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(b"C")?;
    let kind = reader.expect_u8(|kind| matches!(kind, b'P' | b'B'))?;
    reader.expect(b"2")?;
    let len = u32::from_le_bytes(reader.array().or_short()?);
    ensure((6..=SIZE_MAX).contains(&len))?;
    if kind == b'P' {
        // The first frame is whole (both fragment flags) and holds type, number and partition.
        ensure(len >= 22)?;
        let flags = u16::from_le_bytes(reader.array().or_short()?);
        ensure(flags & 0xc000 == 0xc000)?;
    } else {
        // Version 0 or 1, and a message that is whole.
        reader.expect_u8(|version| version <= 1)?;
        reader.expect_u8(|flags| flags & 0xc0 == 0xc0)?;
    }
    Ok(Sender::Initiator)
}

/// Looks at a datagram: a packet's version and an object of Hazelcast's own, or a class of it by name.
pub(super) fn datagram(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[PACKET_VERSION])?;
    reader.expect(&DATA_SERIALIZABLE)?;
    let header = reader.expect_u8(|header| header <= 3)?;
    if header & 1 == 0 {
        let len = reader.u32().or_short()?;
        ensure((10..=200).contains(&len))?;
        let class = reader.expect_all(len as usize, is_word)?;
        ensure(class.starts_with(b"com.hazelcast."))?;
    } else {
        // Factories are numbered from 0 down; the cluster's own is 0.
        let factory = reader.u32().or_short()?;
        ensure(factory == 0 || factory > u32::MAX - 100)?;
        ensure(reader.u32().or_short()? <= 200)?;
    }
    // A join says at least its version, build, address and configuration.
    ensure(reader.rest().len() >= 16)?;
    Ok(Sender::Either)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Protocol;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{
        CLIENT, SERVER, from_client, hex, named_in_all_pieces, never_named, probe, probe_ended,
    };

    const HAZELCAST: Outcome =
        Outcome::Confirmed { protocol: Protocol::Hazelcast, initiator: None };

    #[test]
    fn members_are_told_by_what_both_say_or_by_a_packet() {
        let hello = |side| (side, b"HZC".to_vec());
        assert_eq!(probe([4000, 50_000], &[hello(CLIENT), hello(SERVER)]), HAZELCAST);
        assert_eq!(probe([4000, 50_000], &[hello(CLIENT)]), Outcome::Undecided);
        assert_eq!(probe_ended([4000, 50_000], &[hello(CLIENT)]), HAZELCAST);
        named_in_all_pieces(HAZELCAST, CLIENT, &hex("485a43 04 0010 ffffffff 00000123"));
        never_named(&[(CLIENT, hex("485a43 05 0010 ffffffff 00000123"))]);
        never_named(&[(CLIENT, b"HZX".to_vec())]);
    }

    #[test]
    fn clients_are_told_by_their_first_frame() {
        let outcome = from_client(Protocol::Hazelcast);
        named_in_all_pieces(outcome, CLIENT, &hex("435032 1c000000 00c0 00010000"));
        named_in_all_pieces(outcome, CLIENT, &hex("434232 74000000 01c0 0200"));
        never_named(&[(CLIENT, hex("435032 00001c00 0000 00010000"))]);
    }

    #[test]
    fn a_join_is_told_by_its_class() {
        let mut join = hex("04 fffffffe 01 00000000 00000010");
        join.extend(hex("04 00013a8f 0100000fa1 00000009 3132372e302e302e31"));
        assert_eq!(datagram(&join), Ok(Sender::Either));
        assert_eq!(datagram(&join[..20]), Err(Fault::Bad));
        join[5] = 9;
        assert_eq!(datagram(&join), Err(Fault::Bad));
        assert_eq!(datagram(&[4; 60]), Err(Fault::Bad));
    }
}
