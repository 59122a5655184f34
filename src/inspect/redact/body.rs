//! Bodies: of forms, JSON and XML the names are shown, of everything else nothing.

use super::head::pair_shown;
use super::{FILL, filled};

/// Bytes of one name, value or tag that are waited for; a longer one is overwritten as it comes.
const UNIT_LEN_MAX: usize = 16 << 10;

/// The longest name of a field in JSON that is shown.
const KEY_LEN_MAX: usize = 40;

/// The longest tag that is shown.
const TAG_LEN_MAX: usize = 2_048;

/// Grants that are no secret (RFC 6749 §4, RFC 7523, RFC 8628, WSO2's own).
const GRANTS: [&[u8]; 7] = [
    b"password",
    b"client_credentials",
    b"refresh_token",
    b"authorization_code",
    b"kerberos",
    b"iwa:ntlm",
    b"implicit",
];

/// Beginnings of addresses by which XML names its vocabularies.
const VOCABULARIES: [&[u8]; 6] = [
    b"http://docs.oasis-open.org/",
    b"http://schemas.xmlsoap.org/",
    b"http://www.w3.org/",
    b"http://ws.apache.org/",
    b"http://org.apache.axis2/",
    b"urn:",
];

/// The content of a body, as its head names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Content {
    /// A URL-encoded form.
    Form,
    /// JSON.
    Json,
    /// In a JSON string that was too long to wait for.
    JsonString,
    /// XML.
    Xml,
    /// In a tag that was too long to wait for.
    XmlTag,
    /// Anything else.
    #[default]
    Opaque,
}

impl Content {
    /// Tells the content by a media type.
    pub(super) fn of(media_type: &[u8]) -> Self {
        let has = |word: &[u8]| {
            media_type.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
        };
        if has(b"x-www-form-urlencoded") {
            Self::Form
        } else if has(b"json") {
            Self::Json
        } else if has(b"xml") {
            Self::Xml
        } else {
            Self::Opaque
        }
    }

    /// Shows the beginning of some content; nothing of it where more must be waited for. `is_last` tells
    /// that nothing follows that could be looked at with it.
    pub(super) fn take(&mut self, bytes: &[u8], is_last: bool) -> Vec<u8> {
        let is_last = is_last || bytes.len() > UNIT_LEN_MAX;
        // No text, or one in UTF-16, whose characters hold bytes that look like markup.
        if matches!(self, Self::Json | Self::Xml) && memchr::memchr(0, bytes).is_some() {
            *self = Self::Opaque;
        }
        match self {
            Self::Form => form(bytes, is_last),
            Self::Json => self.json(bytes, is_last),
            Self::JsonString => {
                let end = string_end(bytes);
                if end.is_some() {
                    *self = Self::Json;
                }
                let len = end.unwrap_or(bytes.len());
                let mut out = filled(len);
                if let (Some(_), Some(last)) = (end, out.last_mut()) {
                    *last = b'"';
                }
                out
            }
            Self::Xml => self.xml(bytes, is_last),
            Self::XmlTag => {
                let end = memchr::memchr(b'>', bytes);
                if end.is_some() {
                    *self = Self::Xml;
                }
                filled(end.map_or(bytes.len(), |end| end + 1))
            }
            Self::Opaque => filled(bytes.len()),
        }
    }

    fn json(&mut self, bytes: &[u8], is_last: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut last_key: &[u8] = &[];
        while let Some(&byte) = bytes.get(out.len()) {
            let at = out.len();
            match byte {
                b'"' => {
                    let Some(end) = string_end(&bytes[at + 1..]).map(|end| at + 1 + end) else {
                        if is_last {
                            *self = Self::JsonString;
                            out.push(b'"');
                            out.extend(filled(bytes.len() - at - 1));
                        }
                        return out;
                    };
                    let behind = bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace());
                    if behind.is_none() && !is_last {
                        return out;
                    }
                    let text = &bytes[at + 1..end - 1];
                    let is_key = behind == Some(&b':');
                    let is_shown = if is_key {
                        is_key_shown(text)
                    } else {
                        last_key == b"token_type" && text.eq_ignore_ascii_case(b"bearer")
                            || last_key == b"grant_type" && GRANTS.contains(&text)
                    };
                    last_key = if is_key { text } else { &[] };
                    out.push(b'"');
                    out.extend(if is_shown { text.to_vec() } else { filled(text.len()) });
                    out.push(b'"');
                }
                b'{' | b'}' | b'[' | b']' | b':' | b',' => out.push(byte),
                _ if byte.is_ascii_whitespace() => out.push(byte),
                _ => {
                    let is_end =
                        |byte: &u8| b"\"{}[]:,".contains(byte) || byte.is_ascii_whitespace();
                    let len = bytes[at..].iter().position(is_end).unwrap_or(bytes.len() - at);
                    let word = &bytes[at..at + len];
                    if at + len == bytes.len() && !is_last {
                        return out;
                    }
                    let is_literal = [&b"true"[..], b"false", b"null"].contains(&word);
                    out.extend(if is_literal { word.to_vec() } else { number(word) });
                }
            }
        }
        out
    }

    fn xml(&mut self, bytes: &[u8], is_last: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        while out.len() < bytes.len() {
            let at = out.len();
            let rest = &bytes[at..];
            if rest[0] != b'<' {
                let len = memchr::memchr(b'<', rest).unwrap_or(rest.len());
                out.extend(super::head::blank(&rest[..len]));
                continue;
            }
            match memchr::memchr(b'>', rest) {
                Some(end) if end <= TAG_LEN_MAX => out.extend(tag(&rest[..=end])),
                Some(end) => out.extend(filled(end + 1)),
                None if is_last || rest.len() > TAG_LEN_MAX => {
                    *self = Self::XmlTag;
                    out.extend(filled(rest.len()));
                }
                None => return out,
            }
        }
        out
    }
}

fn form(bytes: &[u8], is_last: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    loop {
        let rest = &bytes[out.len()..];
        let end = memchr::memchr(b'&', rest);
        if rest.is_empty() || (end.is_none() && !is_last) {
            return out;
        }
        let pair = &rest[..end.unwrap_or(rest.len())];
        let is_grant = pair
            .strip_prefix(b"grant_type=")
            .is_some_and(|grant| GRANTS.contains(&grant.trim_ascii_end()));
        if is_grant {
            out.extend_from_slice(pair);
        } else {
            out.extend(pair_shown(pair, |bytes| filled(bytes.len())));
        }
        if end.is_some() {
            out.push(b'&');
        }
    }
}

/// Returns the length up to and with the quote that ends a string.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn is_key_shown(key: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$@:".contains(byte);
    key.len() <= KEY_LEN_MAX
        && key.iter().all(is_plain)
        && key.iter().filter(|byte| byte.is_ascii_digit()).count() <= 4
}

/// Tells whether a word in a tag is a name: no digits beside hyphens, as in a key.
fn is_name_shown(word: &[u8]) -> bool {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    word.len() <= KEY_LEN_MAX && digits <= 2 && (digits == 0 || !word.contains(&b'-'))
}

/// Overwrites a number so that it still is one.
fn number(word: &[u8]) -> Vec<u8> {
    let is_number = word.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    let shown = |&byte: &u8| match byte {
        b'+' | b'-' | b'.' | b'e' | b'E' if is_number => byte,
        _ if is_number => b'1',
        _ => FILL,
    };
    word.iter().map(shown).collect()
}

/// Shows the names in a tag, and values that name a vocabulary.
fn tag(tag: &[u8]) -> Vec<u8> {
    if matches!(tag, [b'<', b'!', ..]) {
        return filled(tag.len());
    }
    let mut out = Vec::with_capacity(tag.len());
    while let Some(&byte) = tag.get(out.len()) {
        let at = out.len();
        if let b'"' | b'\'' = byte {
            let Some(len) = memchr::memchr(byte, &tag[at + 1..]) else {
                out.extend(filled(tag.len() - at));
                break;
            };
            let value = &tag[at + 1..at + 1 + len];
            let is_shown = VOCABULARIES.iter().any(|known| value.starts_with(known));
            out.push(byte);
            out.extend(if is_shown { value.to_vec() } else { filled(len) });
            out.push(byte);
        } else if byte.is_ascii_alphabetic() {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b":_.-".contains(byte);
            let len = tag[at..].iter().take_while(|byte| is_name(byte)).count();
            let word = &tag[at..at + len];
            out.extend(if is_name_shown(word) { word.to_vec() } else { filled(len) });
        } else if byte.is_ascii_whitespace() || b"<>/=?".contains(&byte) {
            out.push(byte);
        } else {
            out.push(FILL);
        }
    }
    out
}
