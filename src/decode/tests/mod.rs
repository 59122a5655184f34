//! Tests of decoding as a whole: frames in, packets out.

mod captures;
mod corpus;
mod fragments;
mod frames;
mod pcap;
mod properties;
mod speed;

use crate::capture::Block;
use crate::packet::{LinkType, PointId, Timestamp};

use super::{Decoded, Decoder};

/// Decodes frames that lie in one block, each with its time, point, link type and wire length.
fn decode_all(decoder: &mut Decoder, block: &mut Block) -> Vec<Decoded> {
    let mut all = Vec::new();
    for index in 0..block.frames.len() {
        all.push(decoder.decode(block, index, index as u64 + 1));
    }
    all
}

/// Puts whole frames of one link type into a block.
fn block_of(link: LinkType, frames: &[Vec<u8>]) -> Block {
    let mut block = Block::default();
    for frame in frames {
        let wire_len = u32::try_from(frame.len()).unwrap();
        block.push(Timestamp(0), PointId(0), link, wire_len, frame);
    }
    block
}
