//! BPF expressions over frames that were read from files.
//!
//! The expression is compiled by libpcap, once for each link type that turns up, and run by libpcap's own
//! interpreter with both lengths, so that `greater 1000` means a cut frame's length on the wire.

#![expect(unsafe_code, reason = "libpcap's interpreter takes raw pointers")]

use std::ffi::c_int;
use std::mem::zeroed;

use pcap::{BpfProgram, Capture, Linktype, PacketHeader};

use crate::error::{Error, Result};
use crate::packet::{Frame, LinkType};

/// Different link types that one run keeps programs for; beyond it the oldest is compiled anew. A
/// pcapng file may name a new one for each interface.
const PROGRAMS_MAX: usize = 64;

/// Raw IP as libpcap numbers it in memory on Linux (`DLT_RAW`, pcap/dlt.h); files say 101.
const DLT_RAW: i32 = 12;

unsafe extern "C" {
    /// `pcap_offline_filter(3PCAP)`: non-zero when the program accepts the packet.
    fn pcap_offline_filter(
        program: *const BpfProgram,
        header: *const PacketHeader,
        bytes: *const u8,
    ) -> c_int;
}

/// Keeps the frames that a BPF expression accepts.
///
/// ```
/// use portreeve::capture::live::FileFilter;
/// assert!(FileFilter::new("tcp port 8280 and host 10.0.0.1").is_ok());
/// assert!(FileFilter::new("tcp prt 8280").is_err());
/// ```
pub struct FileFilter {
    expression: String,
    programs: Vec<(LinkType, Option<BpfProgram>)>,
}

impl FileFilter {
    /// Compiles an expression, so that a misspelt one is told before anything is read.
    pub fn new(expression: &str) -> Result<Self> {
        let compiled = compile(LinkType::ETHERNET, expression)
            .or_else(|error| compile(LinkType::RAW, expression).map_err(|_| error));
        if let Err(error) = compiled {
            return Err(bad_expression(expression, &error));
        }
        Ok(Self { expression: expression.to_owned(), programs: Vec::new() })
    }

    /// Tells whether the expression accepts a frame.
    ///
    /// A link type on which the expression has no meaning (`ether host` on raw IP) accepts nothing.
    pub fn keeps(&mut self, frame: &Frame<'_>) -> bool {
        let known = self.programs.iter().position(|(link, _)| *link == frame.link);
        let index = known.unwrap_or_else(|| self.add(frame.link));
        self.programs[index].1.as_ref().is_some_and(|program| accepts(program, frame))
    }

    #[cold]
    fn add(&mut self, link: LinkType) -> usize {
        if self.programs.len() == PROGRAMS_MAX {
            self.programs.remove(0);
        }
        self.programs.push((link, compile(link, &self.expression).ok()));
        self.programs.len() - 1
    }
}

/// Makes the error of an expression that libpcap refused.
pub(super) fn bad_expression(expression: &str, error: &pcap::Error) -> Error {
    let cause = match error {
        pcap::Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    };
    Error::about("--filter", format!("{cause} in `{expression}`"))
        .hint("the syntax is tcpdump's: see pcap-filter(7)")
}

fn compile(link: LinkType, expression: &str) -> std::result::Result<BpfProgram, pcap::Error> {
    let number = if link == LinkType::RAW { DLT_RAW } else { i32::from(link.0) };
    Capture::dead(Linktype(number))?.compile(expression, true)
}

fn accepts(program: &BpfProgram, frame: &Frame<'_>) -> bool {
    // SAFETY: a header is two integers and a time, for all of which zero is a value.
    let mut header: PacketHeader = unsafe { zeroed() };
    header.caplen = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
    header.len = frame.wire_len.max(header.caplen);
    // SAFETY: `BpfProgram` is a transparent wrapper of libpcap's `struct bpf_program` and `PacketHeader` has
    // the layout of `struct pcap_pkthdr`; the interpreter reads at most `caplen` bytes, and keeps none of
    // the three pointers.
    unsafe { pcap_offline_filter(program, &raw const header, frame.bytes.as_ptr()) != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{PointId, Timestamp};

    fn frame(bytes: &[u8], link: LinkType, wire_len: u32) -> Frame<'_> {
        Frame { time: Timestamp(0), number: 1, point: PointId(0), link, wire_len, bytes }
    }

    fn to_port(port: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(40000, port, 1, 1000)
            .write(&mut bytes, b"hello")
            .unwrap();
        bytes
    }

    #[test]
    fn a_bad_expression_is_an_error_before_anything_is_read() {
        let error = FileFilter::new("tcp prt 8280").err().unwrap();
        assert!(error.to_string().starts_with("--filter: "), "{error}");
        assert!(error.to_string().contains("`tcp prt 8280`"), "{error}");
        assert!(FileFilter::new("tcp\0").is_err());
    }

    #[test]
    fn the_empty_expression_keeps_everything() {
        let mut filter = FileFilter::new("").unwrap();
        assert!(filter.keeps(&frame(&[], LinkType::ETHERNET, 0)));
    }

    #[test]
    fn each_link_type_has_a_program_of_its_own() {
        let mut filter = FileFilter::new("tcp port 8280").unwrap();
        let (hit, miss) = (to_port(8280), to_port(8281));
        assert!(filter.keeps(&frame(&hit, LinkType::ETHERNET, 59)));
        assert!(!filter.keeps(&frame(&miss, LinkType::ETHERNET, 59)));
        for link in [LinkType::RAW, LinkType::IPV4] {
            assert!(filter.keeps(&frame(&hit[14..], link, 45)), "{link:?}");
            assert!(!filter.keeps(&frame(&miss[14..], link, 45)), "{link:?}");
        }
        let mut cooked = vec![0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0];
        cooked.extend_from_slice(&hit[14..]);
        assert!(filter.keeps(&frame(&cooked, LinkType::LINUX_SLL, 61)));
    }

    #[test]
    fn a_cut_frame_is_judged_by_its_length_on_the_wire() {
        let mut filter = FileFilter::new("greater 1000").unwrap();
        assert!(filter.keeps(&frame(&to_port(80), LinkType::ETHERNET, 1400)));
        assert!(!filter.keeps(&frame(&to_port(80), LinkType::ETHERNET, 59)));
    }

    #[test]
    fn a_link_type_without_meaning_for_the_expression_keeps_nothing() {
        let mut filter = FileFilter::new("ether host 01:01:01:01:01:01").unwrap();
        assert!(filter.keeps(&frame(&to_port(80), LinkType::ETHERNET, 59)));
        assert!(!filter.keeps(&frame(&to_port(80)[14..], LinkType::RAW, 45)));
        assert!(!filter.keeps(&frame(&[0; 60], LinkType(65535), 60)));
    }

    #[test]
    fn many_link_types_do_not_pile_up() {
        let mut filter = FileFilter::new("").unwrap();
        for number in 0..200 {
            filter.keeps(&frame(&[], LinkType(number), 0));
        }
        assert!(filter.programs.len() <= PROGRAMS_MAX);
    }
}
