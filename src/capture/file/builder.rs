//! Writes small captures for tests.

use crate::capture::file::bytes::Order;

/// One packet to be written.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    /// Interface, in pcapng.
    pub(super) interface: u32,
    /// Time in microseconds.
    pub(super) time_us: u64,
    /// Bytes on the wire.
    pub(super) wire_len: u32,
    /// Bytes captured.
    pub(super) bytes: Vec<u8>,
}

impl Packet {
    /// Makes a packet whose bytes tell its number and length.
    pub(super) fn new(number: u64, len: usize) -> Self {
        let byte = u8::try_from(number % 251).unwrap();
        Self {
            interface: 0,
            time_us: 1_700_000_000_000_000 + number * 1_000,
            wire_len: u32::try_from(len).unwrap() + 7,
            bytes: vec![byte; len],
        }
    }
}

/// Makes `count` packets of different lengths, the first of them empty.
pub(super) fn packets(count: u64) -> Vec<Packet> {
    (0..count).map(|i| Packet::new(i, usize::try_from(i * 37 % 230).unwrap())).collect()
}

/// Writes numbers in a byte order.
#[derive(Clone)]
pub(super) struct Writer {
    /// What was written.
    pub(super) bytes: Vec<u8>,
    order: Order,
}

impl Writer {
    pub(super) fn new(order: Order) -> Self {
        Self { bytes: Vec::new(), order }
    }

    pub(super) fn u16(&mut self, number: u16) {
        match self.order {
            Order::Little => self.bytes.extend(number.to_le_bytes()),
            Order::Big => self.bytes.extend(number.to_be_bytes()),
        }
    }

    pub(super) fn u32(&mut self, number: u32) {
        match self.order {
            Order::Little => self.bytes.extend(number.to_le_bytes()),
            Order::Big => self.bytes.extend(number.to_be_bytes()),
        }
    }

    pub(super) fn u64(&mut self, number: u64) {
        match self.order {
            Order::Little => self.bytes.extend(number.to_le_bytes()),
            Order::Big => self.bytes.extend(number.to_be_bytes()),
        }
    }

    fn len(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A kind of pcap file to be written.
#[derive(Clone, Copy)]
pub(super) struct PcapKind {
    pub(super) order: Order,
    pub(super) magic: u32,
    pub(super) version: (u16, u16),
    pub(super) network: u32,
    /// Bytes behind the usual file header.
    pub(super) file_extra: &'static [u8],
    /// Bytes behind each record's usual header.
    pub(super) record_extra: &'static [u8],
}

impl PcapKind {
    /// The usual kind: microseconds, Ethernet.
    pub(super) fn usual(order: Order) -> Self {
        Self {
            order,
            magic: 0xa1b2_c3d4,
            version: (2, 4),
            network: 1,
            file_extra: &[],
            record_extra: &[],
        }
    }

    /// Writes a file.
    pub(super) fn write(&self, packets: &[Packet]) -> Vec<u8> {
        let mut out = Writer::new(self.order);
        out.u32(self.magic);
        out.u16(self.version.0);
        out.u16(self.version.1);
        out.u32(0);
        out.u32(0);
        out.u32(262_144);
        out.u32(self.network);
        out.bytes.extend(self.file_extra);
        let nanoseconds = matches!(self.magic, 0xa1b2_3c4d | 0x1c00_01ac);
        for packet in packets {
            out.u32(u32::try_from(packet.time_us / 1_000_000).unwrap());
            let fraction = u32::try_from(packet.time_us % 1_000_000).unwrap();
            out.u32(if nanoseconds { fraction * 1_000 } else { fraction });
            if self.version == (2, 2) {
                out.u32(packet.wire_len);
                out.len(packet.bytes.len());
            } else {
                out.len(packet.bytes.len());
                out.u32(packet.wire_len);
            }
            out.bytes.extend(self.record_extra);
            out.bytes.extend(&packet.bytes);
        }
        out.bytes
    }
}

/// Writes a pcapng file block by block.
pub(super) struct PcapngWriter {
    out: Writer,
}

impl PcapngWriter {
    /// Starts a file with a section.
    pub(super) fn new(order: Order) -> Self {
        let mut writer = Self { out: Writer::new(order) };
        writer.section(order);
        writer
    }

    /// Starts another section.
    pub(super) fn section(&mut self, order: Order) -> &mut Self {
        self.out.order = order;
        self.block(0x0a0d_0d0a, |out| {
            out.u32(0x1a2b_3c4d);
            out.u16(1);
            out.u16(0);
            out.u64(u64::MAX);
        })
    }

    /// Describes an interface; options are code and value.
    pub(super) fn interface(
        &mut self,
        link: u16,
        snap_len: u32,
        options: &[(u16, Vec<u8>)],
    ) -> &mut Self {
        self.block(1, |out| {
            out.u16(link);
            out.u16(0);
            out.u32(snap_len);
            write_options(out, options);
        })
    }

    /// Writes an Enhanced Packet Block.
    pub(super) fn packet(&mut self, packet: &Packet, options: &[(u16, Vec<u8>)]) -> &mut Self {
        self.block(6, |out| {
            out.u32(packet.interface);
            write_packet(out, packet);
            write_options(out, options);
        })
    }

    /// Writes an obsolete Packet Block.
    pub(super) fn obsolete_packet(&mut self, packet: &Packet, drops: u16) -> &mut Self {
        self.block(2, |out| {
            out.u16(u16::try_from(packet.interface).unwrap());
            out.u16(drops);
            write_packet(out, packet);
        })
    }

    /// Writes a Simple Packet Block.
    pub(super) fn simple_packet(&mut self, packet: &Packet) -> &mut Self {
        self.block(3, |out| {
            out.u32(packet.wire_len);
            out.bytes.extend(&packet.bytes);
            out.pad();
        })
    }

    /// Writes an Interface Statistics Block.
    pub(super) fn statistics(&mut self, interface: u32, options: &[(u16, Vec<u8>)]) -> &mut Self {
        self.block(5, |out| {
            out.u32(interface);
            out.u64(0);
            write_options(out, options);
        })
    }

    /// Writes any block.
    pub(super) fn block(&mut self, kind: u32, content: impl FnOnce(&mut Writer)) -> &mut Self {
        let at = self.out.bytes.len();
        self.out.u32(kind);
        self.out.u32(0);
        content(&mut self.out);
        let len = self.out.bytes.len() - at + 4;
        self.out.len(len);
        let trailer = self.out.bytes[self.out.bytes.len() - 4..].to_vec();
        self.out.bytes[at + 4..at + 8].copy_from_slice(&trailer);
        self
    }

    /// Returns what was written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.out.bytes.clone()
    }
}

fn write_packet(out: &mut Writer, packet: &Packet) {
    out.u32(u32::try_from(packet.time_us >> 32).unwrap());
    out.u32(u32::try_from(packet.time_us & 0xffff_ffff).unwrap());
    out.len(packet.bytes.len());
    out.u32(packet.wire_len);
    out.bytes.extend(&packet.bytes);
    out.pad();
}

fn write_options(out: &mut Writer, options: &[(u16, Vec<u8>)]) {
    for (code, value) in options {
        out.u16(*code);
        out.u16(u16::try_from(value.len()).unwrap());
        out.bytes.extend(value);
        out.pad();
    }
    if !options.is_empty() {
        out.u32(0);
    }
}

/// Writes a snoop file; `drops` is the count in every record.
pub(super) fn snoop(packets: &[Packet], drops: u32) -> Vec<u8> {
    let mut out = Writer::new(Order::Big);
    out.bytes.extend(b"snoop\0\0\0");
    out.u32(2);
    out.u32(4);
    for packet in packets {
        let padded_len = packet.bytes.len().next_multiple_of(4);
        out.u32(packet.wire_len);
        out.len(packet.bytes.len());
        out.len(24 + padded_len);
        out.u32(drops);
        out.u32(u32::try_from(packet.time_us / 1_000_000).unwrap());
        out.u32(u32::try_from(packet.time_us % 1_000_000).unwrap());
        out.bytes.extend(&packet.bytes);
        out.bytes.resize(out.bytes.len() + padded_len - packet.bytes.len(), 0);
    }
    out.bytes
}
