//! Where the bytes of a packet lie in the frames that it came in.
//!
//! Only whoever rewrites frames asks for it: a decoder that is not traced keeps nothing of this.

use super::walk::Part;

/// A run of bytes of a joined datagram's payload, and where one frame has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Running number of the frame.
    pub frame: u64,
    /// Offset of the run in the frame.
    pub offset: u32,
    /// Offset of the run in the datagram's payload.
    pub at: u32,
    /// Number of bytes.
    pub len: u32,
}

/// How far the headers of the frame last decoded reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Of a frame that completed a datagram: where the joined payload begins in the block's bytes.
    pub joined_at: Option<u32>,
    /// Where the joined payload came from, copies of a run included.
    pub origins: Vec<Origin>,
    /// Headers in joined datagrams that held nothing but a fragment of another one.
    pub passed: Vec<Origin>,
    /// Of a fragment: offset of its data in the frame.
    pub fragment_at: Option<u32>,
    /// Bytes, of the joined payload where there is one, else of the frame, that were read as headers up to
    /// TCP or UDP, or up to where nothing more could be read. Of an ICMP error they end behind the ports of
    /// the quoted packet; of a tunnel that turned out to be none they say nothing.
    pub headers_len: u32,
}

impl Trace {
    /// Forgets the last frame.
    pub(super) fn clear(&mut self) {
        self.joined_at = None;
        self.origins.clear();
        self.passed.clear();
        self.fragment_at = None;
        self.headers_len = 0;
    }

    /// Notes a joined datagram, and where it came from.
    pub(super) fn join(&mut self, at: u32, origins: &[Origin]) {
        self.joined_at = Some(at);
        origins.clone_into(&mut self.origins);
    }

    /// Returns where a fragment's bytes lie in their frames: those of the frame at hand, or, of a fragment
    /// in a joined datagram, those that the datagram came from.
    pub(super) fn of_fragment(&mut self, part: &Part, frame: u64) -> Vec<Origin> {
        if self.joined_at.is_none() {
            self.fragment_at = Some(part.data.start);
            return vec![Origin {
                frame,
                offset: part.data.start,
                at: part.start,
                len: part.data.len,
            }];
        }
        let (from, to) = (part.data.start, part.data.start + part.data.len);
        let before = self.origins.iter().filter_map(|origin| origin.within(0, from));
        self.passed.extend(before);
        let inside = self.origins.iter().filter_map(|origin| origin.within(from, to));
        inside.map(|origin| Origin { at: part.start + (origin.at - from), ..origin }).collect()
    }
}

/// Returns how much of a quoted packet is needed to know its flow: the eight bytes of RFC 792 behind its
/// header, and more where extension headers stand between.
pub(super) fn quoted_headers_len(quote: &[u8]) -> usize {
    const PORTS_LEN: usize = 8;
    const EXTENSIONS_LEN: usize = 40;
    match quote.first().map(|first| (first >> 4, usize::from(first & 0x0f) * 4)) {
        Some((4, header_len)) => header_len + PORTS_LEN,
        _ if matches!(quote.get(6), Some(6 | 17)) => 40 + PORTS_LEN,
        _ => 40 + EXTENSIONS_LEN + PORTS_LEN,
    }
}

impl Origin {
    /// Returns what of it lies between two offsets of the payload.
    fn within(&self, from: u32, to: u32) -> Option<Self> {
        let (begin, end) = (self.at.max(from), (self.at + self.len).min(to));
        let offset = self.offset + begin.saturating_sub(self.at);
        (begin < end).then(|| Self { frame: self.frame, offset, at: begin, len: end - begin })
    }
}
