//! One head: its lines, and what they say of the message's length (RFC 9112 §2 to §6).
//!
//! Lenient, as nobody knows which server reads it: lines end with LF, CRLF or a lone CR; white space,
//! control characters and a byte order mark around a name are no part of it.

use std::borrow::Cow;

use super::Upgrade;
use super::body::Body;

/// What a head says of its message, beside credentials.
#[derive(Default, Clone, Copy)]
pub(in crate::inspect) struct Framing {
    /// The request's method, as far as it matters.
    pub(in crate::inspect) method: Method,
    length: Option<u64>,
    chunked: bool,
    /// What the body is, where that is of interest.
    pub(in crate::inspect) media: Media,
    /// The body is compressed, and how.
    pub(in crate::inspect) coding: Coding,
    /// The protocol that the sender asks to go on with.
    pub(super) upgrade: Upgrade,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    /// `Server: WSO2 Carbon Server`.
    pub(in crate::inspect) wso2_server: bool,
}

/// Methods that change what follows.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::inspect) enum Method {
    /// `CONNECT`.
    Connect,
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// Any other.
    #[default]
    Other,
}

impl Method {
    /// Returns the method of a name, in any case.
    pub(in crate::inspect) fn of(name: &[u8]) -> Self {
        match name.len() {
            3 if is(name, b"get") => Self::Get,
            4 if is(name, b"head") => Self::Head,
            7 if is(name, b"connect") => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// Bodies that are looked into.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::inspect) enum Media {
    /// None of the others.
    #[default]
    Other,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// JSON.
    Json,
    /// XML: may be SOAP.
    Xml,
}

impl Media {
    fn of(value: &[u8]) -> Self {
        let end = memchr::memchr2(b';', b',', value).unwrap_or(value.len());
        let kind = trim(&value[..end]);
        if is(kind, b"application/json") || is(kind, b"text/json") || ends(kind, b"+json") {
            Self::Json
        } else if is(kind, b"application/x-www-form-urlencoded") {
            Self::Form
        } else if is(kind, b"text/xml")
            || is(kind, b"application/xml")
            || is(kind, b"multipart/related")
            || ends(kind, b"+xml")
        {
            Self::Xml
        } else {
            Self::Other
        }
    }
}

/// How a body is compressed.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::inspect) enum Coding {
    /// Not at all.
    #[default]
    None,
    /// In gzip's or zlib's format.
    Deflate,
    /// In another way, which is not read.
    Other,
}

impl Framing {
    /// How headers begin that may frame a message.
    pub(super) const WANTED: Beginnings = Beginnings::of(&[*b"co", *b"ex", *b"se", *b"tr", *b"up"]);

    /// Notes a header that frames the message; others are left alone.
    pub(in crate::inspect) fn note(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            6 if is(name, b"expect") => self.expects = is(value, b"100-continue"),
            6 if is(name, b"server") => self.wso2_server = value.starts_with(b"WSO2 Carbon Server"),
            7 if is(name, b"upgrade") => self.upgrade = Upgrade::of(value),
            // Of several, a server may read any.
            12 if is(name, b"content-type") && self.media != Media::Form => {
                self.media = Media::of(value);
            }
            14 if is(name, b"content-length") => self.note_length(value),
            16 if is(name, b"content-encoding") => {
                self.coding = match value.to_ascii_lowercase().as_slice() {
                    b"" | b"identity" => Coding::None,
                    b"gzip" | b"x-gzip" | b"deflate" => Coding::Deflate,
                    _ => Coding::Other,
                };
            }
            17 if is(name, b"transfer-encoding") => {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or(value);
                let last = last.split(|byte| *byte == b';').next().unwrap_or(last);
                let last = trim(last);
                for coding in value.split(|byte| *byte == b',').map(trim) {
                    if is(coding, b"gzip") || is(coding, b"x-gzip") || is(coding, b"deflate") {
                        self.coding = Coding::Deflate;
                    }
                }
                // "identity" was a name for no coding at all (RFC 2616 §3.6).
                if !last.is_empty() && !is(last, b"identity") {
                    self.chunked = is(last, b"chunked");
                }
            }
            _ => {}
        }
    }

    /// Of lengths that differ, the shortest is believed: what stands behind it is read, not passed over.
    /// A plus sign and spaces are accepted, as `strtol` does; anything else is no length.
    fn note_length(&mut self, value: &[u8]) {
        for number in value.split(|byte| *byte == b',') {
            let number = trim(number);
            let number = number.strip_prefix(b"+").unwrap_or(number);
            let mut length = (!number.is_empty()).then_some(0_u64);
            for digit in number {
                // Too large for 64 bits: longer than any connection.
                length = length
                    .filter(|_| digit.is_ascii_digit())
                    .map(|length| length.saturating_mul(10).saturating_add((digit - b'0').into()));
            }
            if let Some(length) = length {
                self.length = Some(self.length.map_or(length, |known| known.min(length)));
            }
        }
    }

    /// Returns the body behind a request's head, if there is one. Chunked wins over a length
    /// (RFC 9112 §6.3); a CONNECT has none (RFC 9110 §9.3.6).
    pub(super) fn body_of_request(&self) -> Option<Body> {
        if self.method == Method::Connect {
            return None;
        }
        if self.chunked {
            return Some(Body::chunked());
        }
        self.length.filter(|len| *len > 0).map(Body::length)
    }

    /// Returns the body behind a response's head; without a length it ends with the connection.
    pub(super) fn body_of_response(&self) -> Option<Body> {
        if self.chunked {
            return Some(Body::chunked());
        }
        match self.length {
            Some(0) => None,
            Some(len) => Some(Body::length(len)),
            None => Some(Body::until_close()),
        }
    }
}

/// The first two bytes of names that are of interest, in any case.
#[derive(Clone, Copy)]
pub(super) struct Beginnings {
    /// Low five bits of the second byte, by those of the first: letters of both cases are alike in them, and a
    /// few other bytes too.
    seconds: [u32; 32],
}

impl Beginnings {
    /// Whatever a name begins with.
    pub(super) const ALL: Self = Self { seconds: [u32::MAX; 32] };

    /// Makes the set of these.
    pub(super) const fn of(names: &[[u8; 2]]) -> Self {
        Self { seconds: [0; 32] }.and(names)
    }

    /// Adds some.
    pub(super) const fn and(mut self, names: &[[u8; 2]]) -> Self {
        let mut index = 0;
        while index < names.len() {
            let [first, second] = names[index];
            self.seconds[(first & 31) as usize] |= 1 << (second & 31);
            index += 1;
        }
        self
    }

    /// Tells whether a name that begins so may be of interest.
    #[inline]
    fn has(&self, first: u8, second: u8) -> bool {
        self.seconds[usize::from(first & 31)] >> (second & 31) & 1 == 1
    }
}

/// Returns the length of the head at the beginning of `bytes`, with its blank line; line ends may lack
/// the carriage return, or have several. `from` is where to begin the search.
pub(super) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut behind = from;
    while let Some(at) = line_end(bytes.get(behind..)?) {
        behind += at + 1;
        if bytes[behind - 1] == b'\n'
            && let Some(blank) = blank_line(&bytes[behind..])
        {
            return Some(behind + blank);
        }
    }
    None
}

/// Returns where to go on looking for a head's end: its last line end may be a blank line's begin.
pub(super) fn rescan_from(held: &[u8]) -> usize {
    let last = &held[held.len().saturating_sub(RETURNS_MAX + 1)..];
    let returns = last.iter().rev().take_while(|byte| **byte == b'\r').count();
    held.len().saturating_sub(returns + 1)
}

/// Carriage returns before a line feed that belong to the line's end. More are lines of their own, so that
/// nobody has them counted again and again.
const RETURNS_MAX: usize = 16;

/// Counts the carriage returns at the beginning of `bytes`, up to one more than a line's end has.
fn returns(bytes: &[u8]) -> usize {
    bytes.iter().take(RETURNS_MAX + 1).take_while(|byte| **byte == b'\r').count()
}

/// Returns the length of the empty line at the beginning of `bytes`, where one ends in a line feed.
#[inline]
fn blank_line(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        [b'\r', b'\r', ..] => {
            let returns = returns(bytes);
            (bytes.get(returns) == Some(&b'\n') && returns <= RETURNS_MAX).then_some(returns + 1)
        }
        _ => None,
    }
}

/// Returns where the first carriage return or line feed is.
#[inline]
fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\r', b'\n', bytes)
}

/// Takes the next line: its bytes without the end, and what is behind it. A lone CR ends a line, too: some
/// servers think so (RFC 9112 §2.2 leaves it open).
#[inline(always)]
#[expect(clippy::inline_always, reason = "two slices are large to hand over for each line")]
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line_end(bytes)?;
    let (line, end) = bytes.split_at(at);
    match end {
        [b'\r', b'\n', behind @ ..] | [b'\n', behind @ ..] => Some((line, behind)),
        _ => Some((line, behind_odd_end(end))),
    }
}

/// Returns what is behind a line end that begins with a carriage return and no line feed.
#[cold]
fn behind_odd_end(end: &[u8]) -> &[u8] {
    let returns = returns(end);
    match end.get(returns) {
        Some(b'\n') if returns <= RETURNS_MAX => &end[returns + 1..],
        Some(_) => &end[1..],
        None => &[],
    }
}

/// Returns the length of the whole lines at the beginning of `bytes`.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    memchr::memrchr2(b'\r', b'\n', bytes).map_or(0, |end| end + 1)
}

/// Calls `each` with every header line that is of interest: name without what is around it, unfolded value.
/// A name that does not begin as is `wanted` is of none. The first line is handed to `first` unless it is a
/// header itself; it cannot be folded. Returns the length of the head with
/// the blank line that ends it, as [`head_end`] does; `None` where only some of its lines are there.
#[inline]
pub(super) fn for_each_line<'a>(
    head: &'a [u8],
    mut first: impl FnMut(&'a [u8]),
    wanted: &Beginnings,
    mut each: impl FnMut(&'a [u8], Cow<'a, [u8]>),
) -> Option<usize> {
    let mut is_first = true;
    let mut rest = head;
    while let Some((line, behind)) = next_line(rest) {
        if line.is_empty()
            && let Some(blank) = end_behind(head, rest)
        {
            return Some(head.len() - rest.len() + blank);
        }
        rest = behind;
        let was_first = std::mem::take(&mut is_first);
        let is_folded = matches!(rest, [b' ' | b'\t', ..]);
        // A name that begins with what `trim` leaves alone begins with these two bytes, or is one byte long.
        if !was_first
            && !is_folded
            && let [a @ 0x21..=0x7e, b, ..] = line
            && !wanted.has(*a, *b)
        {
            continue;
        }
        // Names are short: a plain loop has it before a search has begun.
        let colon = line.iter().position(|byte| *byte == b':');
        if was_first && !colon.is_some_and(|colon| is_header_line(line, colon)) {
            first(line);
            continue;
        }
        let Some(colon) = colon else { continue };
        let name = trim(&line[..colon]);
        let value = trim(&line[colon + 1..]);
        if is_folded {
            let (value, behind) = unfold(value, rest);
            rest = behind;
            each(name, Cow::Owned(value));
        } else {
            each(name, Cow::Borrowed(value));
        }
    }
    None
}

/// Returns the length of the blank line at the beginning of the `rest` of a head, if it ends the head.
#[inline]
fn end_behind(head: &[u8], rest: &[u8]) -> Option<usize> {
    let before = (head.len() - rest.len()).checked_sub(1)?;
    if head[before] == b'\n' { blank_line(rest) } else { None }
}

/// Joins a value with the lines that continue it (RFC 9112 §5.2); returns what is behind these.
fn unfold<'a>(value: &[u8], mut rest: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
    let mut whole = value.to_vec();
    while let [b' ' | b'\t', ..] = rest {
        let Some((line, behind)) = next_line(rest) else { break };
        let line = trim(line);
        if !whole.is_empty() && !line.is_empty() {
            whole.push(b' ');
        }
        whole.extend_from_slice(line);
        rest = behind;
    }
    (whole, rest)
}

/// Reads lines of a response's head: its status, where the first line tells it, and its framing. Returns
/// its length too, where its end is there.
pub(super) fn response(lines: &[u8], framing: &mut Framing) -> (Option<u16>, Option<usize>) {
    let mut status = None;
    let end = for_each_line(
        lines,
        |line| {
            let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
            let digits = line.split(is_space).filter(|word| !word.is_empty()).nth(1);
            status = digits.and_then(status_of);
        },
        &Framing::WANTED,
        |name, value| framing.note(name, &value),
    );
    (status, end)
}

/// Reads a status code.
fn status_of(digits: &[u8]) -> Option<u16> {
    if let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *digits {
        let digit = |byte: u8| u16::from(byte - b'0');
        return Some(100 * digit(a) + 10 * digit(b) + digit(c));
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Tells whether a first line is a header and no request line: a name of its own before the colon.
fn is_header_line(line: &[u8], colon: usize) -> bool {
    let name = trim(&line[..colon]);
    !name.is_empty()
        && name.iter().all(|byte| super::probe::is_token(*byte))
        && !super::probe::ends_with_version(line)
}

/// Tells whether a name is a known one, written in lower case, whatever the case of its letters. A control
/// byte passes for the sign 32 above it, as no parser takes one for anything else.
#[inline]
pub(in crate::inspect) fn is<const LEN: usize>(name: &[u8], known: &[u8; LEN]) -> bool {
    let Ok(name) = <&[u8; LEN]>::try_from(name) else { return false };
    // No branch inside, so that a few wide comparisons are made of it.
    name.iter().zip(known).fold(0, |differs, (a, b)| differs | ((a ^ b) & !0x20)) == 0
}

/// Tells whether a name ends so, and is longer.
fn ends<const LEN: usize>(name: &[u8], known: &[u8; LEN]) -> bool {
    name.len() > LEN && is(&name[name.len() - LEN..], known)
}

/// Takes off what is no part of a name or a value: white space, control characters, a byte order mark.
#[inline]
pub(in crate::inspect) fn trim(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0x21..=0x7e, .., last] if !is_around(*last) => bytes,
        // As values are: behind one space.
        [b' ', rest @ ..] if matches!(rest, [0x21..=0x7e, .., last] if !is_around(*last)) => rest,
        _ => trim_odd(bytes),
    }
}

fn trim_odd(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [first, rest @ ..] = bytes
        && is_around(*first)
    {
        bytes = rest;
    }
    if let [0xef, 0xbb, 0xbf, rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_around(*last)
    {
        bytes = rest;
    }
    bytes
}

fn is_around(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}
