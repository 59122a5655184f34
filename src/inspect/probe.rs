//! First bytes → which protocol it is, and who began.
//!
//! Takes what each side of a connection began with; gives a verdict once one probe is sure. Ports only
//! weigh in where bytes alone are a weak sign. A probe that said no is not asked again.

use super::{Probe, Protocol, Sender, http1, http2, quic, tls};
use crate::packet::Side;

/// First bytes of a side that are enough for every probe to make up its mind; more need not be kept.
pub const START_LEN_MAX: usize = 1024;

/// The beginning of one side's bytes, as far as they are known.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// Contiguous bytes, from the first one of the stream or of a segment.
    pub bytes: &'a [u8],
    /// They are the stream's first: it was not joined midway.
    pub from_first: bool,
    /// What the other side began with; empty while it is silent or absent.
    pub other: &'a [u8],
    /// Port of this side, then of the other.
    pub ports: [u16; 2],
}

/// What the probes say of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is this protocol.
    Confirmed {
        /// The initiator's protocol.
        protocol: Protocol,
        /// The side that began; `None` where both ends of the protocol send such bytes.
        initiator: Option<Side>,
    },
    /// More bytes may tell.
    Undecided,
    /// None of the protocols, on either side.
    Excluded,
}

/// The probes that may still say yes, by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prober {
    candidates: [u32; 2],
}

impl Default for Prober {
    fn default() -> Self {
        Self { candidates: [ALL; 2] }
    }
}

impl Prober {
    /// Tells whether no probe is left for one side: its bytes need not be kept.
    pub fn is_excluded(&self, side: Side) -> bool {
        self.candidates[side.index()] == 0
    }

    /// Forgets the verdicts on one side, to begin again at the start of another segment.
    pub fn restart(&mut self, side: Side) {
        self.candidates[side.index()] = ALL;
    }

    /// Asks the remaining probes after one side got its first or more bytes.
    ///
    /// A server that answers in its own protocol to what is none does not name the connection: what the
    /// responder's bytes show counts only while the other side's do not speak against it.
    pub fn probe(&mut self, side: Side, start: &Start<'_>) -> Outcome {
        let mut left = self.candidates[side.index()];
        let others = self.candidates[side.other().index()];
        if start.bytes.is_empty() {
            return self.undecided();
        }
        let mut open = left;
        while open != 0 {
            let index = open.trailing_zeros();
            let bit = 1 << index;
            open &= !bit;
            let (protocol, probe) = PROBES[index as usize];
            match probe(start) {
                Probe::Undecided => {}
                Probe::Excluded => left &= !bit,
                Probe::Confirmed(sender) => {
                    let initiator = match sender {
                        Sender::Initiator => Some(side),
                        Sender::Responder => Some(side.other()),
                        Sender::Either => None,
                    };
                    if sender == Sender::Initiator || others & bit != 0 {
                        return Outcome::Confirmed { protocol, initiator };
                    }
                    left &= !bit;
                }
            }
        }
        self.candidates[side.index()] = left;
        self.undecided()
    }

    fn undecided(self) -> Outcome {
        if self.candidates == [0; 2] { Outcome::Excluded } else { Outcome::Undecided }
    }
}

/// One protocol's look at the first bytes.
type Look = fn(&Start<'_>) -> Probe;

/// Every probe, the surest signatures first.
const PROBES: [(Protocol, Look); 3] =
    [(Protocol::Tls, tls::probe), (Protocol::Http2, http2::probe), (Protocol::Http, http1::probe)];

/// One bit a probe.
const ALL: u32 = (1 << PROBES.len()) - 1;

/// Compares with a signature that opens a stream.
pub(super) fn begins_with(bytes: &[u8], signature: &[u8], sender: Sender) -> Probe {
    if bytes.starts_with(signature) {
        Probe::Confirmed(sender)
    } else if signature.starts_with(bytes) {
        Probe::Undecided
    } else {
        Probe::Excluded
    }
}

/// Looks at one datagram; tells whether it was recognised.
pub fn datagram(
    _ports: [u16; 2],
    _side: Side,
    at: crate::packet::At,
    bytes: &[u8],
    context: &mut super::Context<'_>,
) -> bool {
    quic::datagram(at, bytes, context)
}
