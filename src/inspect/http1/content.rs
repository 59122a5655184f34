//! Bodies that are looked into: forms, SOAP requests, JSON answers.
//!
//! A form is read as it comes. Of the others, a bounded beginning is held until it is whole and then
//! looked through once, as what matters stands at the beginning of a small body.

use std::io::Read as _;
use std::sync::LazyLock;

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use memchr::memmem::Finder;

use super::credentials::{Firsts, Presented};
use super::describe::Description;
use super::form::Form;
use super::head::{Coding, Framing, Media, Method};
use super::{json, soap};
use crate::inspect::{Context, EvidenceKind, Uninspected};
use crate::packet::At;

/// Bytes of a body that are held: token answers and the headers of SOAP messages are much shorter.
const HELD_LEN_MAX: usize = 64 << 10;

/// Bytes of an answer to a GET that are held: a token's answer to one is against RFC 6749 §3.2, and other
/// answers are many and long.
const GET_HELD_LEN_MAX: usize = 4 << 10;

/// Bytes at the beginning of an answer to a GET in which a token's name is expected: those that issue one are
/// about it, and short.
const LEAD_LEN: usize = 1024;

/// Bytes that a compressed body may grow to.
const INFLATED_LEN_MAX: u64 = 256 << 10;

/// What a head and a body may present both.
const REPEATED: [EvidenceKind; 3] =
    [EvidenceKind::BearerToken, EvidenceKind::JwtUnsigned, EvidenceKind::TokenExpired];

/// Reads one body. Holds its bytes, and therefore has no `Debug`.
pub(in crate::inspect) struct Content {
    at: At,
    /// What the request's head presents: it counts once.
    counted: Firsts,
    kind: Kind,
}

enum Kind {
    Form(Form),
    Held { bytes: Vec<u8>, max: usize, media: Media, coding: Coding },
}

impl Content {
    /// Begins behind a request's head, where its body may hold credentials.
    pub(in crate::inspect) fn of_request(
        framing: &Framing,
        at: At,
        counted: Firsts,
    ) -> Option<Self> {
        // Bodies of these have no meaning (RFC 9110 §9.3.1; RFC 6750 §2.2 excludes GET).
        if matches!(framing.method, Method::Get | Method::Head | Method::Connect) {
            return None;
        }
        let held = Kind::Held {
            bytes: Vec::new(),
            max: HELD_LEN_MAX,
            media: framing.media,
            coding: framing.coding,
        };
        let kind = match (framing.media, framing.coding) {
            (_, Coding::Other) => return None,
            (Media::Form, Coding::None) => Kind::Form(Form::default()),
            (Media::Form | Media::Xml, _) => held,
            _ => return None,
        };
        Some(Self { at, counted, kind })
    }

    /// Begins behind a response's head, where its body may issue a token; `asked` is the request's method
    /// where it was seen.
    pub(in crate::inspect) fn of_response(
        framing: &Framing,
        status: u16,
        asked: Option<Method>,
        at: At,
    ) -> Option<Self> {
        let is_get = asked == Some(Method::Get);
        let is_readable = match framing.coding {
            Coding::None => true,
            Coding::Deflate => !is_get,
            Coding::Other => false,
        };
        if framing.media != Media::Json || !(200..300).contains(&status) || !is_readable {
            return None;
        }
        let max = if is_get { GET_HELD_LEN_MAX } else { HELD_LEN_MAX };
        let (bytes, media, coding) = (Vec::new(), Media::Json, framing.coding);
        let kind = Kind::Held { bytes, max, media, coding };
        Some(Self { at, counted: Firsts::default(), kind })
    }

    /// Returns the memory of what is held, in bytes.
    pub(in crate::inspect) fn held_bytes(&self) -> usize {
        match &self.kind {
            Kind::Form(form) => form.held_bytes(),
            Kind::Held { bytes, .. } => bytes.capacity(),
        }
    }

    /// Takes the next bytes; tells whether more are wanted.
    pub(in crate::inspect) fn take(&mut self, bytes: &[u8]) -> bool {
        match &mut self.kind {
            Kind::Form(form) => {
                form.content(bytes);
                true
            }
            Kind::Held { bytes: held, max, media, coding } => {
                let is_json = (*media, *coding) == (Media::Json, Coding::None);
                let is_of_get = *max == GET_HELD_LEN_MAX;
                if is_json && is_of_get && held.is_empty() && !may_issue(bytes) {
                    return false;
                }
                let free = max.saturating_sub(held.len());
                held.extend_from_slice(&bytes[..bytes.len().min(free)]);
                held.len() < *max
            }
        }
    }

    /// Reports what the body presents; `whole` tells that nothing of it is missing at its end. Returns the
    /// evidence whose first request this is.
    pub(in crate::inspect) fn end(
        self,
        whole: bool,
        context: &mut Context<'_>,
        describe: impl FnOnce() -> Description,
    ) -> Firsts {
        let presented = &mut Presented::default();
        let Self { at, counted, kind } = self;
        let form = match kind {
            Kind::Form(form) => Some(form.end(whole, at, presented, context)),
            Kind::Held { bytes, media, coding, max } => {
                let (bytes, is_whole) = match coding {
                    Coding::Deflate => inflated(&bytes),
                    _ => (bytes, whole),
                };
                let is_cut = bytes.len() >= max;
                match media {
                    Media::Form => {
                        let mut form = Form::default();
                        form.content(&bytes);
                        Some(form.end(is_whole && !is_cut, at, presented, context))
                    }
                    Media::Json => {
                        issued(&in_utf8(bytes), at, presented, context);
                        None
                    }
                    _ => {
                        secured(&in_utf8(bytes), is_cut, presented, context);
                        None
                    }
                }
            }
        };
        for kind in REPEATED.into_iter().filter(|kind| counted.has(*kind)) {
            presented.forget(kind);
        }
        presented.report(at, context.facts, || {
            let mut description = describe();
            if let Some(form) = form {
                form.mask(&mut description);
            }
            description
        })
    }
}

/// Tells whether an answer to a GET that begins so may issue a token, as far as that can be told: most are let
/// go without a copy.
fn may_issue(bytes: &[u8]) -> bool {
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"oken"));
    bytes.get(..LEAD_LEN).is_none_or(|lead| NAME.find(lead).is_some())
}

/// Looks for a token in a JSON answer.
fn issued(bytes: &[u8], at: At, presented: &mut Presented, context: &Context<'_>) {
    if let Some(token) = json::issued_token(bytes) {
        presented.token(EvidenceKind::TokenIssued, &token, "body", at, context);
        // What is odd about the token counts when it is presented.
        presented.forget(EvidenceKind::JwtUnsigned);
        presented.forget(EvidenceKind::TokenExpired);
    }
}

/// Looks for a `UsernameToken` in a SOAP request.
fn secured(bytes: &[u8], is_cut: bool, presented: &mut Presented, context: &mut Context<'_>) {
    match soap::username_token(bytes) {
        soap::Found::Token { user, password } => {
            presented.login(EvidenceKind::WsSecurity, &user, &password, "body", context);
        }
        soap::Found::Unfinished if is_cut => context.facts.uninspected.add(Uninspected::LIMIT),
        soap::Found::Nothing | soap::Found::Unfinished => {}
    }
}

/// Returns XML or JSON in UTF-8 that may be in UTF-16, which its beginning tells: a byte order mark, or what such a
/// text begins with (XML 1.0 §4.3.3 and appendix F.1, RFC 4627 §3). An odd byte at the end belongs to what is missing.
fn in_utf8(text: Vec<u8>) -> Vec<u8> {
    let unit: fn([u8; 2]) -> u16 = match text[..] {
        [0xff, 0xfe, ..] | [b'<' | b'{', 0, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] | [0, b'<' | b'{', ..] => u16::from_be_bytes,
        _ => return text,
    };
    let units = text.as_chunks().0.iter().map(|pair| unit(*pair));
    let characters = char::decode_utf16(units);
    let text: String = characters.map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.into_bytes()
}

/// Returns what a compressed beginning of a body contains, as far as it goes, and whether that is all.
fn inflated(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    // What was read before an error is in `out`: a body that was cut is no reason to drop it.
    let read = match bytes {
        [0x1f, 0x8b, ..] => GzDecoder::new(bytes).take(INFLATED_LEN_MAX).read_to_end(&mut out),
        // HTTP's "deflate" is zlib's format (RFC 9110 §8.4.1.2), or raw.
        [first, second, ..]
            if u16::from_be_bytes([*first, *second]) % 31 == 0 && first & 0xf == 8 =>
        {
            ZlibDecoder::new(bytes).take(INFLATED_LEN_MAX).read_to_end(&mut out)
        }
        _ => DeflateDecoder::new(bytes).take(INFLATED_LEN_MAX).read_to_end(&mut out),
    };
    let is_whole = read.is_ok_and(|len| (len as u64) < INFLATED_LEN_MAX);
    (out, is_whole)
}
