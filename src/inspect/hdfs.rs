//! HDFS: Hadoop's IPC (`RpcConstants.java`) and data transfer (`DataTransferProtocol.java`).

use super::bytes::Reader;
use super::look::{Fault, Look, OrShort, any_of, ensure, verdict};
use super::probe::Start;
use super::{Probe, Sender};

/// `DATA_TRANSFER_VERSION` since Hadoop 0.23; older ones have no protobuf to tell them by.
const TRANSFER_VERSION: [u8; 2] = [0, 28];

/// Operations from `WRITE_BLOCK` to `BLOCK_GROUP_CHECKSUM` (`Op.java`).
const OPERATIONS: std::ops::RangeInclusive<u8> = 80..=90;

/// Longest operation header that is believed: tokens and lists of targets have some kilobytes.
const HEADER_LEN_MAX: u64 = 1 << 20;

/// How deep the block's pool lies in an operation: client header, base header, block, pool.
const NESTING_MAX: usize = 4;

/// Operations between data nodes have no client header.
const NESTING_MIN: usize = 3;

/// Looks at the first bytes of one side: only a client's are telling.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[ipc(start.bytes), transfer(start.bytes), encrypted_transfer(start.bytes)]))
}

/// "hrpc", version, service class, authentication: none, SASL, and by number in older versions.
fn ipc(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(b"hrpc")?;
    let version = reader.expect_u8(|version| (3..=9).contains(&version))?;
    if version >= 7 {
        reader.u8().or_short()?;
    }
    reader.expect_u8(|auth| matches!(auth, 0 | 80..=83 | 0xdf))?;
    Ok(Sender::Initiator)
}

/// Version, operation, length, and a header whose first field leads down to the block's pool.
fn transfer(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&TRANSFER_VERSION)?;
    reader.expect_u8(|operation| OPERATIONS.contains(&operation))?;
    let mut left = reader.varint(4)?;
    ensure((4..=HEADER_LEN_MAX).contains(&left))?;
    for depth in 1..=NESTING_MAX {
        reader.expect(&[0x0a])?;
        let len = reader.varint(4)?;
        ensure(len > 0 && len < left)?;
        left = len;
        match reader.expect(b"BP-") {
            Ok(()) if depth >= NESTING_MIN => return Ok(Sender::Initiator),
            Err(Fault::Short) => return Err(Fault::Short),
            _ => {}
        }
    }
    Err(Fault::Bad)
}

/// SASL before the data transfer: magic number, length, status (`DataTransferSaslUtil.java`).
fn encrypted_transfer(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[0xde, 0xad, 0xbe, 0xef])?;
    let len = reader.varint(4)?;
    ensure((2..=HEADER_LEN_MAX).contains(&len))?;
    reader.expect(&[0x08])?;
    reader.expect_u8(|status| status <= 2)?;
    Ok(Sender::Initiator)
}

#[cfg(test)]
mod tests {
    use crate::inspect::Protocol;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{
        CLIENT, SERVER, from_client, hex, named_in_all_pieces, never_named,
    };

    const HDFS: Outcome = Outcome::Confirmed { protocol: Protocol::Hdfs, initiator: Some(CLIENT) };

    #[test]
    fn ipc_is_told_in_its_versions() {
        named_in_all_pieces(HDFS, CLIENT, b"hrpc\x09\x00\xdf");
        named_in_all_pieces(HDFS, CLIENT, b"hrpc\x09\x00\x00");
        named_in_all_pieces(HDFS, CLIENT, b"hrpc\x04\x50");
        assert_eq!(from_client(Protocol::Hdfs), HDFS);
        never_named(&[(CLIENT, b"hrpc\x60\x00\x00".to_vec())]);
    }

    /// A read of a block, as its layout says.
    fn read_block(pool: &[u8]) -> Vec<u8> {
        let nest = |inner: Vec<u8>| {
            let mut outer = vec![0x0a, u8::try_from(inner.len()).unwrap()];
            outer.extend(inner);
            outer
        };
        let mut block = nest(pool.to_vec());
        block.extend(hex("10 8180 04 18 e907"));
        let mut client = nest(nest(block));
        client.extend(b"\x12\x0dDFSClient_NON");
        let mut header = nest(client);
        header.extend([0x10, 0, 0x18, 64]);
        let mut bytes = vec![0, 28, 81, u8::try_from(header.len()).unwrap()];
        bytes.extend(header);
        bytes
    }

    #[test]
    fn a_data_transfer_is_told_by_its_block() {
        named_in_all_pieces(HDFS, CLIENT, &read_block(b"BP-1042-10.0.0.3-1700000000000"));
        never_named(&[(CLIENT, read_block(b"XX-1042-10.0.0.3-1700000000000"))]);
        never_named(&[(CLIENT, vec![0, 28, 81])]);
        never_named(&[(SERVER, vec![0, 28, 0x70, 4, 0x0a, 2, 0x0a, 0])]);
    }
}
