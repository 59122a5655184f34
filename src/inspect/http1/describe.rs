//! What a finding says of its request: whose it was and where it went, and nothing that is secret.

use super::form::percent_decoded;
use super::head::{for_each_line, trim};
use crate::inspect::facts::HttpContext;
use crate::inspect::{jwt, login};

/// Characters of a request's text that a finding shows.
const TEXT_LEN_MAX: usize = 256;

/// Characters of a path's segment or of a parameter's name that are no token: longer ones are masked.
const WORD_LEN_MAX: usize = 64;

/// Secrets of one request that are looked for in what is shown.
const SECRETS_MAX: usize = 64;

/// Shortest secret that is looked for inside other text; a shorter one masks only its equal.
const SECRET_LEN_MIN: usize = 6;

/// What stands in the place of a secret.
const MASK: &str = "(masked)";

/// Collects what a finding shows of a request. Holds secrets while it does, and therefore has no `Debug`.
#[derive(Default, Clone)]
pub(in crate::inspect) struct Description {
    method: Vec<u8>,
    target: Vec<u8>,
    host: Vec<u8>,
    forwarded_for: Vec<u8>,
    user_agent: Vec<u8>,
    secrets: Vec<Vec<u8>>,
}

impl Description {
    /// Reads lines of an HTTP/1 head; may be called again with the next ones.
    pub(super) fn lines(&mut self, lines: &[u8], named: &[String]) {
        let mut line: &[u8] = &[];
        let is_first = self.method.is_empty();
        for_each_line(lines, |first| line = first, |name, value| self.field(name, &value, named));
        if is_first && !line.is_empty() {
            let (method, target) = super::credentials::request_line(line);
            self.request(method, target);
        }
    }

    /// Takes method and target.
    pub(in crate::inspect) fn request(&mut self, method: &[u8], target: &[u8]) {
        self.method = method.to_vec();
        self.target = target.to_vec();
        let Some(query) = memchr::memchr(b'?', target) else { return };
        for parameter in target[query + 1..].split(|byte| *byte == b'&') {
            if let Some(equals) = memchr::memchr(b'=', parameter)
                && is_secret(&percent_decoded(&parameter[..equals]), &[])
            {
                self.secret(&parameter[equals + 1..]);
                self.secret(&percent_decoded(&parameter[equals + 1..]));
            }
        }
    }

    /// Takes a header; `named` are the operator's own.
    pub(in crate::inspect) fn field(&mut self, name: &[u8], value: &[u8], named: &[String]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("host") || is(":authority") {
            self.host = value.to_vec();
        } else if is("x-forwarded-for") || (is("forwarded") && self.forwarded_for.is_empty()) {
            self.forwarded_for = value.to_vec();
        } else if is("user-agent") {
            self.user_agent = value.to_vec();
        } else if is_secret(name, named) && !name.starts_with(b":") {
            for word in value.split(|byte| b" \t,;\"".contains(byte)) {
                let name_len = memchr::memchr(b'=', word).filter(|at| at + 1 < word.len());
                self.secret(word);
                self.secret(&word[name_len.map_or(0, |at| at + 1)..]);
                if let Some(plain) = super::credentials::basic(word)
                    && let Some(colon) = memchr::memchr(b':', &plain)
                    && !login::is_default(&plain[..colon], &plain[colon + 1..])
                {
                    self.secret(&plain[colon + 1..]);
                }
            }
        }
    }

    /// Takes a secret of the request that is not in its head.
    pub(in crate::inspect) fn secret(&mut self, secret: &[u8]) {
        let secret = trim(secret);
        if secret.len() > 2 && self.secrets.len() < SECRETS_MAX {
            self.secrets.push(secret.to_vec());
        }
    }

    /// Returns what may be said.
    pub(in crate::inspect) fn shown(&self, place: &'static str) -> HttpContext {
        let host = match memchr::memrchr(b'@', &self.host) {
            Some(at) => &self.host[at + 1..],
            None => &self.host,
        };
        HttpContext {
            method: self.text(&self.method),
            host: self.text(host),
            path: self.path(),
            forwarded_for: self.text(&self.forwarded_for),
            user_agent: self.text(&self.user_agent),
            place,
            status: None,
        }
    }

    /// Returns the target: its path, and the names of its query's parameters without their values.
    fn path(&self) -> String {
        let target = self.target.split(u8::is_ascii_whitespace).next().unwrap_or(&[]);
        let authority = memchr::memmem::find(target, b"://").map(|at| at + 3);
        let is_target = authority.is_some()
            || target.starts_with(b"/")
            || target == b"*"
            || self.method.eq_ignore_ascii_case(b"CONNECT");
        if !is_target {
            return String::new();
        }
        let target = target.split(|byte| *byte == b'#').next().unwrap_or(target);
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        // The user part of an authority is a credential.
        let (mut out, path) = match authority.filter(|at| *at <= path.len()) {
            Some(at) => {
                let end = path[at..].iter().position(|b| *b == b'/').map_or(path.len(), |n| at + n);
                let host = memchr::memrchr(b'@', &path[at..end]).map_or(at, |user| at + user + 1);
                (self.text(&path[..at]) + &self.text(&path[host..end]), &path[end..])
            }
            None => (
                String::new(),
                path.rsplit(|b| *b == b'@' && path[0] != b'/').next().unwrap_or(path),
            ),
        };
        for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
            if index > 0 {
                out.push('/');
            }
            // What is behind a semicolon may be a session's id: `;jsessionid=`.
            for (index, part) in segment.split(|byte| *byte == b';').enumerate() {
                if index > 0 {
                    out.push(';');
                    out += &self.word(part.split(|byte| *byte == b'=').next().unwrap_or(part));
                } else {
                    out += &self.word(part);
                }
            }
            if out.len() > TEXT_LEN_MAX {
                break;
            }
        }
        for (index, parameter) in
            query.into_iter().flat_map(|q| q.split(|b| *b == b'&')).enumerate()
        {
            if out.len() > TEXT_LEN_MAX {
                break;
            }
            out.push(if index == 0 { '?' } else { '&' });
            out += &self.word(parameter.split(|byte| *byte == b'=').next().unwrap_or(parameter));
        }
        cut(&out)
    }

    /// Returns a word of the target unless it is, or may be, a token.
    fn word(&self, word: &[u8]) -> String {
        if word.len() > WORD_LEN_MAX
            || jwt::looks_like(word)
            || self.has_secret(&percent_decoded(word))
        {
            return MASK.to_owned();
        }
        self.text(word)
    }

    /// Returns text, cut; a mask where a secret of the same request stands in it.
    fn text(&self, bytes: &[u8]) -> String {
        let bytes = trim(bytes);
        if self.has_secret(bytes) || jwt::looks_like(bytes) {
            return MASK.to_owned();
        }
        cut(&String::from_utf8_lossy(&bytes[..bytes.len().min(4 * TEXT_LEN_MAX)]))
    }

    fn has_secret(&self, bytes: &[u8]) -> bool {
        self.secrets.iter().any(|secret| {
            bytes == secret.as_slice()
                || (secret.len() >= SECRET_LEN_MIN && memchr::memmem::find(bytes, secret).is_some())
        })
    }
}

/// Tells whether a header's value is, or may be, secret.
fn is_secret(name: &[u8], named: &[String]) -> bool {
    let parts: [&str; 8] = ["auth", "cookie", "jwt", "key", "passw", "secret", "session", "token"];
    let name = name.to_ascii_lowercase();
    parts.iter().any(|part| memchr::memmem::find(&name, part.as_bytes()).is_some())
        || named.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(&name))
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_LEN_MAX).collect()
}
