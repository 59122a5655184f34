//! One head: its lines, and what they say of the message's length (RFC 9112 §2 to §6).

use std::borrow::Cow;

use super::Upgrade;
use super::body::Body;

/// What a head says of its message, beside credentials.
#[derive(Default, Clone, Copy)]
pub(super) struct Framing {
    method: [u8; 8],
    length: Option<u64>,
    chunked: bool,
    /// The body is a URL-encoded form.
    pub(super) form: bool,
    /// The protocol that the sender asks to go on with.
    pub(super) upgrade: Upgrade,
    /// `Server: WSO2 Carbon Server`.
    pub(super) wso2_server: bool,
}

impl Framing {
    /// Notes the method; longer ones than `OPTIONS` are none that matter here.
    pub(super) fn note_method(&mut self, method: &[u8]) {
        self.method = [0; 8];
        for (place, byte) in self.method.iter_mut().zip(method) {
            *place = byte.to_ascii_uppercase();
        }
    }

    pub(super) fn method_is(&self, method: &[u8]) -> bool {
        self.method.iter().take_while(|byte| **byte != 0).eq(method.iter())
    }

    /// Notes a header that frames the message; others are left alone.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"content-length") {
            // Of several, the first one that is a number; a list of equal ones is one.
            let number = value.split(|byte| *byte == b',').next().unwrap_or(value);
            let number = std::str::from_utf8(number.trim_ascii()).ok();
            let digits = number.filter(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
            self.length = self.length.or(digits.and_then(|n| n.parse().ok()));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or(value).trim_ascii();
            self.chunked = last.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let kind = value.split(|byte| *byte == b';').next().unwrap_or(value).trim_ascii();
            self.form = kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = match value.trim_ascii().to_ascii_lowercase().as_slice() {
                b"websocket" => Upgrade::WebSocket,
                b"h2c" => Upgrade::Http2,
                b"" => Upgrade::None,
                _ => Upgrade::Other,
            };
        } else if name.eq_ignore_ascii_case(b"server") {
            self.wso2_server = value.starts_with(b"WSO2 Carbon Server");
        }
    }

    /// Returns the body behind a request's head, if there is one.
    pub(super) fn body_of_request(&self) -> Option<Body> {
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

/// Returns the length of the head at the beginning of `bytes`, with its blank line; line ends may lack
/// the carriage return. `from` is where to begin the search.
pub(super) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    for at in memchr::memchr_iter(b'\n', bytes.get(from..)?) {
        match bytes.get(from + at + 1..) {
            Some([b'\n', ..]) => return Some(from + at + 2),
            Some([b'\r', b'\n', ..]) => return Some(from + at + 3),
            _ => {}
        }
    }
    None
}

/// Calls `each` with every header line: name without spaces around it, unfolded value. The first line is
/// handed to `first` unless it is a header itself.
pub(super) fn for_each_line<'a>(
    head: &'a [u8],
    mut first: impl FnMut(&'a [u8]),
    mut each: impl FnMut(&'a [u8], Cow<'a, [u8]>),
) {
    let mut is_first = true;
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = without_return(&rest[..end]);
        rest = &rest[end + 1..];
        let mut whole = Cow::Borrowed(line);
        // A line that begins with white space belongs to the one before (RFC 9112 §5.2).
        while let [b' ' | b'\t', ..] = rest {
            let Some(end) = memchr::memchr(b'\n', rest) else { break };
            let folded = whole.to_mut();
            folded.push(b' ');
            folded.extend_from_slice(without_return(&rest[..end]).trim_ascii_start());
            rest = &rest[end + 1..];
        }
        let was_first = std::mem::take(&mut is_first);
        match split(&whole) {
            Some(colon) if !was_first || is_header_name(&whole[..colon]) => {
                let (name_len, value_at) = (trimmed_len(&whole[..colon]), colon + 1);
                // The name is never folded: it lies in the line itself.
                let lead = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                let name = line.get(lead..name_len).unwrap_or(&[]);
                let value = match whole {
                    Cow::Borrowed(line) => Cow::Borrowed(line[value_at..].trim_ascii()),
                    Cow::Owned(line) => Cow::Owned(line[value_at..].trim_ascii().to_vec()),
                };
                each(name, value);
            }
            _ if was_first => first(line),
            _ => {}
        }
    }
}

/// Reads a response's head: its status (0 where there is none) and its framing.
pub(super) fn response(head: &[u8]) -> (u16, Framing) {
    let (mut status, mut framing) = (0, Framing::default());
    for_each_line(
        head,
        |line| {
            let digits = line.split(|byte| *byte == b' ').find(|word| word.len() == 3);
            let number = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            status = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        },
        |name, value| framing.note(name, &value),
    );
    (status, framing)
}

fn split(line: &[u8]) -> Option<usize> {
    memchr::memchr(b':', line)
}

fn is_header_name(name: &[u8]) -> bool {
    let name = &name[..trimmed_len(name)];
    !name.is_empty() && name.iter().all(|byte| super::probe::is_token(*byte))
}

fn trimmed_len(name: &[u8]) -> usize {
    name.trim_ascii_end().len()
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
