//! The few Java objects that matter (Java Object Serialization Specification §6.4): an array of strings, and
//! what a stub refers to.

use crate::inspect::bytes::Reader;
use crate::inspect::look::{Fault, Look, OrShort, ensure};

/// Name of a stub's reference; the newer one has a "2" behind it.
pub(super) const UNICAST_REF: &[u8] = b"UnicastRef";

/// Longest host that is believed: a DNS name.
const HOST_LEN_MAX: usize = 255;

/// First handle of an object stream.
const FIRST_HANDLE: u32 = 0x7e_0000;

/// Objects that a class is annotated with at most; RMI writes one.
const ANNOTATIONS_MAX: usize = 4;

/// Type codes.
mod code {
    pub(super) const NULL: u8 = 0x70;
    pub(super) const REFERENCE: u8 = 0x71;
    pub(super) const CLASS: u8 = 0x72;
    pub(super) const OBJECT: u8 = 0x73;
    pub(super) const STRING: u8 = 0x74;
    pub(super) const ARRAY: u8 = 0x75;
    pub(super) const BLOCK: u8 = 0x77;
    pub(super) const END: u8 = 0x78;
    pub(super) const LONG_STRING: u8 = 0x7c;
}

/// What a client offers as its credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    Null,
    /// An array of strings: user and password by JMX's convention.
    Credentials {
        user: &'a [u8],
        password: &'a [u8],
    },
    /// Something of another class.
    Object,
}

/// Reads the argument of `newClient`.
pub(super) fn credentials(arguments: &[u8]) -> Look<Argument<'_>> {
    let mut reader = Reader::new(arguments);
    match reader.u8().or_short()? {
        code::NULL => return Ok(Argument::Null),
        code::ARRAY => {}
        code::OBJECT => return Ok(Argument::Object),
        _ => return Err(Fault::Bad),
    }
    if reader.u8().or_short()? != code::CLASS {
        return Ok(Argument::Object);
    }
    if reader.bytes16().or_short()? != b"[Ljava.lang.String;" {
        return Ok(Argument::Object);
    }
    // Number of the class, flags, no fields.
    reader.take(8 + 1 + 2).or_short()?;
    let Some(annotations) = annotation(&mut reader)? else { return Ok(Argument::Object) };
    let _no_super_class = reader.u8().or_short()?;
    let count = reader.u32().or_short()?;
    let mut strings: [Option<&[u8]>; 2] = [None; 2];
    // The class, what it is annotated with, and the array have the first handles.
    let first = FIRST_HANDLE + 2 + annotations;
    let mut handles: [Option<&[u8]>; 2] = [None; 2];
    let mut known = 0;
    for place in strings.iter_mut().take(count.min(2) as usize) {
        let string = match reader.u8().or_short()? {
            code::NULL => None,
            code::REFERENCE => {
                let handle = reader.u32().or_short()?.wrapping_sub(first);
                usize::try_from(handle).ok().and_then(|at| handles.get(at).copied().flatten())
            }
            code::STRING => Some(reader.bytes16().or_short()?),
            code::LONG_STRING => {
                let len = usize::try_from(reader.u64().or_short()?).map_err(|_| Fault::Bad)?;
                Some(reader.take(len).or_short()?)
            }
            _ => return Ok(Argument::Object),
        };
        if let (Some(text), Some(handle)) = (string, handles.get_mut(known)) {
            *handle = Some(text);
            known += 1;
        }
        *place = string;
    }
    let [user, password] = strings.map(Option::unwrap_or_default);
    Ok(Argument::Credentials { user, password })
}

/// Passes over what RMI annotates a class with: where it can be loaded from, a string or nothing. Returns
/// how many handles that took; `None` when it is something else.
fn annotation(reader: &mut Reader<'_>) -> Look<Option<u32>> {
    let mut handles = 0;
    for _ in 0..ANNOTATIONS_MAX {
        match reader.u8().or_short()? {
            code::END => return Ok(Some(handles)),
            code::NULL => {}
            code::STRING => {
                reader.bytes16().or_short()?;
                handles += 1;
            }
            code::REFERENCE => {
                reader.u32().or_short()?;
            }
            code::BLOCK => {
                reader.bytes8().or_short()?;
            }
            _ => break,
        }
    }
    Ok(None)
}

/// Where a stub leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint<'a> {
    pub(super) host: &'a [u8],
    pub(super) port: u16,
    /// The client is to use TLS.
    pub(super) tls: bool,
}

/// Reads a reference, from the length of its name on (`LiveRef.java`, `TCPEndpoint.java`).
pub(super) fn endpoint(bytes: &[u8]) -> Look<Endpoint<'_>> {
    let mut reader = Reader::new(bytes);
    let has_factory = match reader.bytes16().or_short()? {
        b"UnicastRef" => false,
        b"UnicastRef2" => reader.expect_u8(|format| format <= 1)? == 1,
        _ => return Err(Fault::Bad),
    };
    let host_len = usize::from(reader.u16().or_short()?);
    ensure((1..=HOST_LEN_MAX).contains(&host_len))?;
    let host = reader.take(host_len).or_short()?;
    let port = u16::try_from(reader.u32().or_short()?).map_err(|_| Fault::Bad)?;
    ensure(port > 0)?;
    let tls = has_factory && is_tls(&mut reader)?;
    Ok(Endpoint { host, port, tls })
}

/// Tells whether the socket factory that follows is one for TLS, by the name of its class.
fn is_tls(reader: &mut Reader<'_>) -> Look<bool> {
    if reader.u8().or_short()? != code::OBJECT {
        return Ok(false);
    }
    match reader.u8().or_short()? {
        code::CLASS => {
            let name = reader.bytes16().or_short()?.to_ascii_lowercase();
            let has = |word: &[u8]| memchr::memmem::find(&name, word).is_some();
            Ok(has(b"ssl") || has(b"tls"))
        }
        // A class that came before in the same stream: only stubs of TLS come with two factories.
        code::REFERENCE => Ok(true),
        _ => Ok(false),
    }
}
