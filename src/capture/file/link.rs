//! Link-layer types as files number them.

use crate::packet::LinkType;

/// A link type that has no number in the tcpdump registry: nothing is ever assigned there.
pub(super) const UNASSIGNED: LinkType = LinkType(u16::MAX);

/// Returns the link type of a pcap or pcapng file's number.
///
/// Only the low 16 bits name the type: the upper ones tell the length of the frame check sequence, or
/// are reserved (draft-ietf-opsawg-pcap, section 4; `LT_LINKTYPE` in wireshark's wiretap/libpcap.c).
///
/// Some programs wrote the number that their system uses in memory (`DLT_RAW`: 12, on OpenBSD 14, see
/// libpcap's pcap/dlt.h) where the registry's belongs; libpcap hands such a number through, and reads
/// it as raw IP too.
pub(super) fn link_type(number: u32) -> LinkType {
    let [low, high, ..] = number.to_le_bytes();
    match u16::from_le_bytes([low, high]) {
        12 | 14 => LinkType::RAW,
        number => LinkType(number),
    }
}

/// Returns the link type of a snoop file's number (IANA, snoop datalink types).
pub(super) fn snoop_link_type(number: u32) -> LinkType {
    match number {
        // IEEE 802.3 and Ethernet.
        0 | 4 => LinkType::ETHERNET,
        // Token ring: LINKTYPE_IEEE802_5.
        2 => LinkType(6),
        // FDDI: LINKTYPE_FDDI.
        8 => LinkType(10),
        // "Other" and the software loopback, which wiretap/snoop.c reads as BSD loopback.
        9 | 14 => LinkType::NULL,
        // Solaris' ipnet devices, a private number: LINKTYPE_IPNET.
        0x8000_0005 => LinkType(226),
        _ => UNASSIGNED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_the_check_sequence_is_no_part_of_the_type() {
        assert_eq!(link_type(0x2400_0001), LinkType::ETHERNET);
    }

    #[test]
    fn raw_ip_has_several_numbers() {
        for number in [12, 14, 101] {
            assert_eq!(link_type(number), LinkType::RAW);
        }
        assert_eq!(link_type(228), LinkType::IPV4);
    }
}
