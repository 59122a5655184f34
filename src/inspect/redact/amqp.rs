//! AMQP 0-8 to 0-9-1, 0-10 and 1.0: the frames, and the shape of a login.

use super::{Reader, Step, filled, records};

/// What is known of one side.
#[derive(Default)]
pub(super) struct Amqp {
    version: Version,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// AMQP 0-9-1 and older.
    #[default]
    Zero,
    /// AMQP 0-10.
    ZeroTen,
    /// AMQP 1.0.
    One,
}

/// A frame's type, channel and length, and the octet at its end (AMQP 0-9-1 §4.2.3).
const FRAME_HEADER_LEN: usize = 7;
const FRAME_END: u8 = 0xce;

/// A login is far shorter; longer frames are passed over.
const METHOD_LEN_MAX: usize = 64 << 10;

/// A frame of AMQP 1.0's security layer.
const SASL: u8 = 1;

const METHOD: u8 = 1;
const HEARTBEAT: u8 = 8;

/// `connection.start-ok`.
const START_OK: [u8; 4] = [0, 10, 0, 11];

/// `connection.secure-ok`: what answers the server's challenge.
const SECURE_OK: [u8; 4] = [0, 10, 0, 21];

/// A frame's header in AMQP 0-10 (§4.4.1): flags, type, length with the header, track, channel.
const ZERO_TEN_HEADER_LEN: usize = 12;

/// Words of a login that are no secret.
const MECHANISMS: [&[u8]; 4] = [b"PLAIN", b"AMQPLAIN", b"EXTERNAL", b"RABBIT-CR-DEMO"];

impl Amqp {
    pub(super) fn step(&mut self, held: &[u8]) -> Step {
        if b"AMQP".starts_with(&held[..held.len().min(4)]) {
            let Some(header) = held.first_chunk::<8>() else { return Step::More };
            self.version = match header[4..] {
                [0 | 2 | 3, 1, 0, 0] => Version::One,
                [1, 1, 0, 10] => Version::ZeroTen,
                _ => Version::Zero,
            };
            return Step::Show(header.to_vec());
        }
        if records::is_hello(held) && held.len() >= 3 {
            return Step::Become(Reader::Tls);
        }
        match self.version {
            Version::Zero => frame(held),
            Version::ZeroTen => zero_ten(held),
            Version::One => {
                let Some(header) = held.first_chunk::<8>() else { return Step::More };
                let len = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
                if len < 8 || header[5] > 1 {
                    return Step::Stop;
                }
                if header[5] == SASL && (len as usize) <= METHOD_LEN_MAX {
                    return match held.get(8..len as usize) {
                        Some(content) => Step::Show([header, &sasl(content)[..]].concat()),
                        None => Step::More,
                    };
                }
                Step::Pass(header.to_vec(), u64::from(len - 8), false)
            }
        }
    }
}

/// Shows the shape of `sasl-init`: a list with a mechanism and a response (AMQP 1.0 §5.3.3.2).
fn sasl(content: &[u8]) -> Vec<u8> {
    // By its code, or by the symbol that stands for it.
    const INIT: [&[u8]; 2] = [b"\0\x53\x41", b"\0\xa3\x13amqp:sasl-init:list"];
    let mut out = filled(content.len());
    let Some(init) = INIT.into_iter().find(|init| content.starts_with(init)) else { return out };
    let [0xc0, _, _, 0xa3, len, rest @ ..] = &content[init.len()..] else { return out };
    let Some((mechanism, rest)) = rest.split_at_checked(usize::from(*len)) else { return out };
    if !MECHANISMS.contains(&mechanism) {
        return out;
    }
    let shown = init.len() + 5 + mechanism.len();
    out[..shown].copy_from_slice(&content[..shown]);
    let [0xa0, len, response @ ..] = rest else { return out };
    let Some((response, behind)) = response.split_at_checked(usize::from(*len)) else { return out };
    out[shown..shown + 2].copy_from_slice(&rest[..2]);
    if mechanism == b"PLAIN" {
        for (index, _) in response.iter().enumerate().filter(|(_, byte)| **byte == 0).take(2) {
            out[shown + 2 + index] = 0;
        }
    }
    // No host name.
    if behind == [0x40]
        && let Some(last) = out.last_mut()
    {
        *last = 0x40;
    }
    out
}

fn frame(held: &[u8]) -> Step {
    let Some(header) = held.first_chunk::<FRAME_HEADER_LEN>() else { return Step::More };
    let len = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let kind = header[0];
    if kind == 0 || kind > HEARTBEAT {
        return Step::Stop;
    }
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let Some(end) = (FRAME_HEADER_LEN + 1).checked_add(len) else { return Step::Stop };
    if kind != METHOD || len > METHOD_LEN_MAX {
        let (content, trailer_len) = (len as u64, 1);
        return Step::Pass(header.to_vec(), content + trailer_len, kind == HEARTBEAT && len == 0);
    }
    let Some(whole) = held.get(..end) else { return Step::More };
    if whole[end - 1] != FRAME_END {
        return Step::Stop;
    }
    let content = &whole[FRAME_HEADER_LEN..end - 1];
    Step::Show([header.as_slice(), &method(content), &[FRAME_END]].concat())
}

/// Shows class and method, and of a login its lengths and its mechanism.
fn method(content: &[u8]) -> Vec<u8> {
    let mut out = filled(content.len());
    let Some(name) = content.first_chunk::<4>() else { return out };
    out[..4].copy_from_slice(name);
    // What is not whole stays overwritten.
    let _ = match *name {
        START_OK => login(content, &mut out),
        SECURE_OK => response(content, 4, b"PLAIN", &mut out).map(|_| ()),
        _ => None,
    };
    out
}

/// A frame of AMQP 0-10: its header, and of a connection's control the fields' lengths and the mechanism.
fn zero_ten(held: &[u8]) -> Step {
    let Some(header) = held.first_chunk::<ZERO_TEN_HEADER_LEN>() else { return Step::More };
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if len < ZERO_TEN_HEADER_LEN {
        return Step::Stop;
    }
    let Some(content) = held.get(ZERO_TEN_HEADER_LEN..len) else { return Step::More };
    let mut out = filled(content.len());
    let _ = control(content, &mut out);
    Step::Show([header.as_slice(), &out].concat())
}

/// Class, code, and packed fields of start-ok (2) or secure-ok (4): two octets say which are there (§9.1).
fn control(content: &[u8], out: &mut [u8]) -> Option<()> {
    let &[class, code, packed, _] = content.first_chunk::<4>()?;
    let is_login = class == 1 && matches!(code, 2 | 4);
    let shown = if is_login { 4 } else { 2 };
    out[..shown].copy_from_slice(&content[..shown]);
    if !is_login {
        return None;
    }
    let mut at = 4;
    let mut mechanism = &b"PLAIN"[..];
    if code == 2 {
        if packed & 1 != 0 {
            at = response(content, at, b"", out)?;
        }
        if packed & 2 == 0 {
            return None;
        }
        let len = usize::from(*content.get(at)?);
        mechanism = content.get(at + 1..at + 1 + len)?;
        let is_known = MECHANISMS.contains(&mechanism);
        let shown = at..at + 1 + if is_known { len } else { 0 };
        out[shown.clone()].copy_from_slice(&content[shown]);
        at += 1 + len;
        if packed & 4 == 0 {
            return None;
        }
    }
    response(content, at, mechanism, out).map(|_| ())
}

/// Shows the length of a response and, for PLAIN, where its parts end; returns where it ends.
fn response(content: &[u8], at: usize, mechanism: &[u8], out: &mut [u8]) -> Option<usize> {
    let len = content.get(at..)?.first_chunk::<4>()?;
    let from = at + 4;
    let end = from.checked_add(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    let response = content.get(from..end)?;
    out[at..from].copy_from_slice(len);
    if mechanism == b"PLAIN" {
        for (index, _) in response.iter().enumerate().filter(|(_, byte)| **byte == 0).take(2) {
            out[from + index] = 0;
        }
    } else if mechanism == b"AMQPLAIN" {
        for word in [&b"\x05LOGINS"[..], b"\x08PASSWORDS"] {
            if let Some(index) = memchr::memmem::find(response, word) {
                // The word, its type, and the length behind it.
                let shown = from + index..(from + index + word.len() + 4).min(end);
                out[shown.clone()].copy_from_slice(&content[shown]);
            }
        }
    }
    Some(end)
}

/// `client-properties`, `mechanism`, `response`, `locale` (AMQP 0-9-1 §1.4.2.2 of its reference).
fn login(content: &[u8], out: &mut [u8]) -> Option<()> {
    let mut at = 4;
    let long_len = |at: usize| {
        let len = content.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_be_bytes(*len)).ok()
    };
    let mut show = |from: usize, to: usize| {
        out.get_mut(from..to)?.copy_from_slice(content.get(from..to)?);
        Some(())
    };
    let table_len = long_len(at)?;
    show(at, at + 4)?;
    at = at.checked_add(4 + table_len)?;
    let mechanism_len = usize::from(*content.get(at)?);
    let mechanism = content.get(at + 1..at + 1 + mechanism_len)?;
    show(at, at + 1)?;
    if MECHANISMS.contains(&mechanism) {
        show(at + 1, at + 1 + mechanism_len)?;
    }
    at += 1 + mechanism_len;
    at = response(content, at, mechanism, out)?;
    out.get_mut(at..=at)?.copy_from_slice(content.get(at..=at)?);
    Some(())
}
