//! The first bytes of a side, kept until the connection's protocol is known.

use super::probe::Start;
use super::proxy::{self, Lead};
use crate::packet::At;

/// The first bytes of one side.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) bytes: Vec<u8>,
    /// Where each piece ends, and the packet that brought it.
    pub(super) pieces: Vec<(usize, At)>,
    /// The bytes do not begin where the side's stream begins.
    pub(super) midway: bool,
    pub(super) state: OpeningState,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpeningState {
    #[default]
    Open,
    Excluded,
    Closed,
}

impl Opening {
    /// Tells whether no byte of the side came.
    pub(super) fn is_silent(&self) -> bool {
        self.pieces.is_empty() && self.state == OpeningState::Open
    }

    /// Returns the memory of what is kept, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<(usize, At)>()
    }

    /// Returns what the probes are to know of bytes of this side.
    pub(super) fn start<'a>(
        &self,
        bytes: &'a [u8],
        other: &'a [u8],
        ports: [u16; 2],
        ended: bool,
    ) -> Start<'a> {
        Start { bytes, from_first: !self.midway, other, ports, ended }
    }

    /// Takes off what a load balancer put before the connection's own bytes; tells whether there are any
    /// of these, as far as that is known.
    pub(super) fn strip_lead(&mut self) -> bool {
        loop {
            match proxy::lead(&self.bytes) {
                Lead::Header(len) => {
                    self.bytes.drain(..len);
                    self.pieces.retain_mut(|(end, _)| {
                        let is_left = *end > len;
                        *end = end.saturating_sub(len);
                        is_left
                    });
                }
                Lead::Partial => return false,
                Lead::None => return !self.bytes.is_empty(),
            }
        }
    }
}
