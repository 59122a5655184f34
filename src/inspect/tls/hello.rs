//! ClientHello and ServerHello (RFC 8446 §4.1), read as far as they go: a hello that was cut, or whose
//! extensions are odd, still tells what stands before the fault.

use crate::inspect::bytes::{Reader, wire_text};
use crate::inspect::facts::TlsFacts;

/// Longest name that is kept: a DNS name has at most 255 bytes (RFC 1035 §2.3.4).
const NAME_LEN_MAX: usize = 255;

/// Application protocols that are kept of an offer: browsers send three.
const ALPN_MAX: usize = 16;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Reads a ClientHello's body.
pub(super) fn client(body: &[u8], tls: &mut TlsFacts) {
    let mut reader = Reader::new(body);
    let Some(version) = reader.u16() else { return };
    let mut version = version;
    let _ = client_extensions(reader, |kind, mut data| match kind {
        SERVER_NAME if tls.sni.is_none() => tls.sni = server_name(data),
        ALPN if tls.alpn.is_empty() => {
            data.u16();
            while let Some(name) = data.bytes8()
                && tls.alpn.len() < ALPN_MAX
            {
                tls.alpn.push(wire_text(name, NAME_LEN_MAX));
            }
        }
        SUPPORTED_VERSIONS => {
            data.u8();
            let offered = std::iter::from_fn(|| data.u16()).filter(|v| !is_grease(*v));
            version = offered.max().unwrap_or(version);
        }
        _ => {}
    });
    if !tls.negotiated {
        tls.version = Some(version);
    }
}

/// Reads a ServerHello's body.
pub(super) fn server(body: &[u8], tls: &mut TlsFacts) {
    let mut reader = Reader::new(body);
    let Some(version) = reader.u16() else { return };
    tls.version = Some(version);
    tls.negotiated = true;
    let _ = server_extensions(reader, tls);
}

fn client_extensions<'a>(mut reader: Reader<'a>, each: impl FnMut(u16, Reader<'a>)) -> Option<()> {
    reader.take(32)?;
    reader.bytes8()?;
    reader.bytes16()?;
    reader.bytes8()?;
    extensions(reader, each)
}

fn server_extensions(mut reader: Reader<'_>, tls: &mut TlsFacts) -> Option<()> {
    reader.take(32)?;
    reader.bytes8()?;
    tls.cipher = Some(reader.u16()?);
    reader.u8()?;
    extensions(reader, |kind, mut data| {
        if kind == SUPPORTED_VERSIONS {
            tls.version = data.u16().or(tls.version);
        }
    })
}

/// Goes over the extensions; the last one may be cut.
fn extensions<'a>(mut reader: Reader<'a>, mut each: impl FnMut(u16, Reader<'a>)) -> Option<()> {
    let len = reader.u16()?;
    let mut list = Reader::new(reader.take_upto(usize::from(len)));
    while !list.is_empty() {
        let kind = list.u16()?;
        let len = list.u16()?;
        each(kind, Reader::new(list.take_upto(usize::from(len))));
    }
    Some(())
}

/// Returns the first host name of the list (RFC 6066 §3); a name that was cut is none.
fn server_name(mut data: Reader<'_>) -> Option<String> {
    data.u16()?;
    loop {
        let kind = data.u8()?;
        let name = data.bytes16()?;
        if kind == 0 {
            return Some(wire_text(name, NAME_LEN_MAX));
        }
    }
}

/// Tells whether a value only keeps implementations tolerant (RFC 8701).
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}
