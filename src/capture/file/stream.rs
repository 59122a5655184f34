//! The bytes of an input, decompressed where they are compressed.
//!
//! gzip (RFC 1952, several members), zstd (RFC 8878, several frames) and lz4 frames are told by their
//! magic, whatever the file's name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

/// A reader that can go to another thread.
pub(super) type Bytes = Box<dyn Read + Send>;

/// The bytes of one input.
pub(super) struct Stream {
    bytes: Bytes,
    compression: Option<&'static str>,
    as_it_comes: bool,
}

/// Compressed bytes that are read at once.
const COMPRESSED_READ_LEN: usize = 128 << 10;

/// Bytes that tell a compression.
const MAGIC_LEN: usize = 4;

impl Stream {
    /// Opens a file; whatever is no regular file is read as it comes.
    pub(super) fn open(path: &Path, read: Arc<AtomicU64>, window_max: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let as_it_comes = !file.metadata()?.is_file();
        Self::new(Box::new(file), as_it_comes, read, window_max)
    }

    /// Wraps a reader; adds to `read` what is read from it, as stored. Decompression may hold so much of what came
    /// out: see [`super::Options::window_max`].
    pub(super) fn new(
        bytes: Bytes,
        as_it_comes: bool,
        read: Arc<AtomicU64>,
        window_max: u64,
    ) -> io::Result<Self> {
        let mut bytes = Counted { bytes, read };
        let mut magic = Vec::with_capacity(MAGIC_LEN);
        bytes.by_ref().take(MAGIC_LEN as u64).read_to_end(&mut magic)?;
        let compression = compression(&magic);
        let whole = Cursor::new(magic).chain(bytes);
        let bytes: Bytes = match compression {
            None => Box::new(whole),
            Some(compression) => {
                let whole = BufReader::with_capacity(COMPRESSED_READ_LEN, whole);
                match compression {
                    GZIP => Box::new(MultiGzDecoder::new(whole)),
                    ZSTD => {
                        let mut decoder = zstd::Decoder::with_buffer(whole)?;
                        decoder.window_log_max(window_log(window_max))?;
                        Box::new(decoder)
                    }
                    _ => Box::new(Lz4Frames::new(whole)),
                }
            }
        };
        Ok(Self { bytes, compression, as_it_comes })
    }

    /// Tells whether bytes may be long in coming.
    pub(super) fn as_it_comes(&self) -> bool {
        self.as_it_comes
    }

    /// Says why reading failed.
    pub(super) fn cause(&self, error: &io::Error) -> String {
        match self.compression {
            Some(name) if error.kind() == io::ErrorKind::UnexpectedEof => {
                format!("the {name} stream is cut short")
            }
            // The library's own words for `ZSTD_error_frameParameter_windowTooLarge`.
            Some(ZSTD) if error.to_string().contains("too much memory") => {
                "the zstd stream looks back further than memory is allowed for: raise --memory-limit, or decompress it first"
                    .to_owned()
            }
            Some(name) => format!("the {name} stream cannot be read: {error}"),
            None => format!("cannot be read: {error}"),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

/// Returns the binary logarithm of the largest window that fits, within what the format has (RFC 8878 §3.1.1.1.2)
/// and the library reads.
fn window_log(window_max: u64) -> u32 {
    window_max.max(1).ilog2().clamp(10, 31)
}

const GZIP: &str = "gzip";
const ZSTD: &str = "zstd";
const LZ4: &str = "lz4";

/// Tells a compression by its magic.
fn compression(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some(GZIP),
        // Also a skippable frame, with which pzstd begins (RFC 8878 §3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(ZSTD),
        [0x04, 0x22, 0x4d, 0x18] => Some(LZ4),
        _ => None,
    }
}

/// Counts the bytes that pass.
struct Counted {
    bytes: Bytes,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.bytes.read(buffer)?;
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// Decompresses one lz4 frame after the other.
///
/// The decoder beneath takes an end between two blocks for the end of the frame; this does not.
struct Lz4Frames<R: BufRead> {
    decoder: FrameDecoder<EndNoted<R>>,
    inside: bool,
}

impl<R: BufRead> Lz4Frames<R> {
    fn new(reader: R) -> Self {
        Self { decoder: FrameDecoder::new(EndNoted { reader, ended: false }), inside: false }
    }
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside && self.decoder.get_mut().reader.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.inside = true;
            let len = self.decoder.read(buffer)?;
            if len > 0 || buffer.is_empty() {
                return Ok(len);
            }
            if self.decoder.get_ref().ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.inside = false;
        }
    }
}

/// Remembers that somebody wanted more than there was.
struct EndNoted<R> {
    reader: R,
    ended: bool,
}

impl<R: Read> Read for EndNoted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        self.ended |= len == 0 && !buffer.is_empty();
        Ok(len)
    }
}
