//! Writes a pcapng capture (draft-ietf-opsawg-pcapng): one section, an interface for each observation point
//! and link type, one Enhanced Packet Block a frame.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::capture::FrameRecord;
use crate::error::Printable;
use crate::packet::{LinkType, ObservationPoint, PointId};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const OPTION_END: u16 = 0;
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;

/// Ten to the minus ninth: nanoseconds.
const NANOSECONDS: u8 = 9;

/// Bytes of one option's value that are written; the format has room for 65,535.
const OPTION_LEN_MAX: usize = 4_096;

/// A pcapng capture in the middle of being written.
pub struct PcapngWriter<W: Write> {
    out: W,
    interfaces: HashMap<(PointId, LinkType), u32>,
    block: Vec<u8>,
}

impl<W: Write> PcapngWriter<W> {
    /// Starts a capture; `program` says who wrote it.
    pub fn new(out: W, program: &str) -> io::Result<Self> {
        let mut writer = Self { out, interfaces: HashMap::new(), block: Vec::new() };
        writer.begin(SECTION_HEADER);
        writer.u32(BYTE_ORDER_MAGIC);
        writer.u16(1);
        writer.u16(0);
        // The section's length is not told.
        writer.block.extend([0xff; 8]);
        writer.text(SHB_USERAPPL, program);
        writer.option(OPTION_END, &[]);
        writer.end()?;
        Ok(writer)
    }

    /// Writes a frame's bytes, with comments. `point` is where it was seen; `shows_file` tells whether the
    /// file it came from names an interface that has no name of its own.
    pub fn frame(
        &mut self,
        record: &FrameRecord,
        bytes: &[u8],
        point: &ObservationPoint,
        shows_file: bool,
        comments: &[String],
    ) -> io::Result<()> {
        let interface = match self.interfaces.get(&(record.point, record.link)) {
            Some(interface) => *interface,
            None => self.interface(record, point, shows_file)?,
        };
        self.begin(ENHANCED_PACKET);
        self.u32(interface);
        // Times before 1970 have no place in the format.
        let time = u64::try_from(record.time.0).unwrap_or(0);
        let [high, low] = [time >> 32, time & 0xffff_ffff];
        self.u32(u32::try_from(high).unwrap_or(u32::MAX));
        self.u32(u32::try_from(low).unwrap_or(u32::MAX));
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.u32(record.wire_len);
        self.block.extend_from_slice(bytes);
        self.pad();
        for comment in comments {
            self.text(COMMENT, comment);
        }
        if !comments.is_empty() {
            self.option(OPTION_END, &[]);
        }
        self.end()
    }

    /// Hands on what is buffered and returns the writer beneath.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// Describes the interface of a frame that is the first of its point and link type.
    fn interface(
        &mut self,
        record: &FrameRecord,
        point: &ObservationPoint,
        shows_file: bool,
    ) -> io::Result<u32> {
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces.insert((record.point, record.link), number);
        self.begin(INTERFACE_DESCRIPTION);
        self.u16(record.link.0);
        self.u16(0);
        self.u32(0);
        let file = point.file.as_deref().filter(|_| shows_file);
        if let Some(name) = point.interface.as_deref().or(file) {
            self.text(IF_NAME, name);
        }
        if let Some(file) = file {
            self.text(IF_DESCRIPTION, file);
        }
        self.option(IF_TSRESOL, &[NANOSECONDS]);
        self.option(OPTION_END, &[]);
        self.end()?;
        Ok(number)
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        self.u32(0);
    }

    fn end(&mut self) -> io::Result<()> {
        let len = u32::try_from(self.block.len() + 4).unwrap_or(u32::MAX);
        self.block[4..8].copy_from_slice(&len.to_le_bytes());
        self.u32(len);
        self.out.write_all(&self.block)
    }

    /// Adds an option of text, cut to what may stand there; whatever shows it, it does nothing to a terminal.
    fn text(&mut self, code: u16, text: &str) {
        let text = Printable(text).to_string();
        self.option(code, &text.as_bytes()[..text.floor_char_boundary(OPTION_LEN_MAX)]);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        self.block.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn u16(&mut self, number: u16) {
        self.block.extend(number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.block.extend(number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::capture::file::{Files, Options};
    use crate::capture::{Block, Event, Source};
    use crate::packet::{Span, Timestamp};

    #[test]
    fn what_was_written_is_read_again() {
        let points = ["eth0", "eth1"].map(|name| ObservationPoint {
            interface: Some(name.to_owned()),
            ..ObservationPoint::default()
        });
        let mut writer = PcapngWriter::new(Vec::new(), "test").unwrap();
        let mut written = Vec::new();
        for number in 0..20_u16 {
            let record = FrameRecord {
                time: Timestamp(1_700_000_000_123_456_789 + i64::from(number)),
                span: Span::default(),
                wire_len: 1_000 + u32::from(number),
                link: if number % 3 == 0 { LinkType::RAW } else { LinkType::ETHERNET },
                point: PointId(number % 2),
            };
            let bytes = vec![7; usize::from(number)];
            let comments = vec!["a comment".to_owned(); usize::from(number % 4)];
            let point = &points[usize::from(number % 2)];
            writer.frame(&record, &bytes, point, false, &comments).unwrap();
            written.push((record, bytes));
        }
        let file = Cursor::new(writer.finish().unwrap());
        let mut source = Files::from_reader("memory", file, &Options::default());
        let (mut block, mut read) = (Block::default(), 0);
        while let Event::Frames = source.next(&mut block).unwrap() {
            for (index, frame) in block.frames.iter().enumerate() {
                let (record, bytes) = &written[read];
                assert_eq!((frame.time, frame.wire_len), (record.time, record.wire_len));
                assert_eq!(frame.link, record.link);
                assert_eq!(block.frame(index, 1).bytes, bytes);
                let point = &source.points()[usize::from(frame.point.0)];
                assert_eq!(point.interface, points[usize::from(record.point.0)].interface);
                read += 1;
            }
        }
        assert_eq!(read, written.len());
    }
}
