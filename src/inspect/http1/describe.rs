//! What a finding says of its request: whose it was and where it went, and nothing that is secret.

use super::credentials::is_named;
use super::form::percent_decoded;
use super::head::{Beginnings, for_each_line, is, trim};
use crate::inspect::http_context::{HttpContext, MASK, Writer};
use crate::inspect::{jwt, secrecy};

/// Characters of a request's text that a finding shows.
const TEXT_LEN_MAX: usize = 256;

/// Characters of a path's segment or of a parameter's name that are no token: longer ones are masked.
const WORD_LEN_MAX: usize = 64;

/// Secrets of one request that are looked for in what is shown.
const SECRETS_MAX: usize = 64;

/// Bytes of a head that room is made for at once.
const KEPT_LEN: usize = 1 << 10;

/// Collects what a finding shows of a request. Holds secrets while it does, and therefore has no `Debug`.
#[derive(Default, Clone)]
pub(in crate::inspect) struct Description {
    /// What the parts point into.
    kept: Vec<u8>,
    method: Part,
    target: Part,
    host: Part,
    forwarded_for: Part,
    user_agent: Part,
    secrets: Vec<Part>,
}

/// A part of what a description keeps.
#[derive(Default, Clone, Copy)]
struct Part {
    start: usize,
    len: usize,
}

impl Description {
    /// Returns its memory, in bytes.
    pub(in crate::inspect) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.kept.capacity() + self.secrets.capacity() * size_of::<Part>()
    }

    /// Reads lines of an HTTP/1 head; may be called again with the next ones.
    pub(super) fn lines(&mut self, lines: &[u8], named: &[String]) {
        let mut line: &[u8] = &[];
        let is_first = self.method.len == 0;
        self.kept.reserve(lines.len().min(KEPT_LEN));
        for_each_line(
            lines,
            |first| line = first,
            &Beginnings::ALL,
            |name, value| self.field(name, &value, named),
        );
        if is_first && !line.is_empty() {
            let (method, target) = super::credentials::request_line(line);
            self.request(method, target);
        }
    }

    /// Takes method and target.
    pub(in crate::inspect) fn request(&mut self, method: &[u8], target: &[u8]) {
        self.method = self.keep(method);
        self.target = self.keep(target);
        secrecy::of_query(target, |secret| self.secret(secret));
    }

    /// Takes a header; `named` are the operator's own.
    pub(in crate::inspect) fn field(&mut self, name: &[u8], value: &[u8], named: &[String]) {
        match name.len() {
            4 if is(name, b"host") => self.host = self.keep(value),
            9 if is(name, b"forwarded") && self.forwarded_for.len > 0 => {}
            9 if is(name, b"forwarded") => self.forwarded_for = self.keep(value),
            10 if is(name, b":authority") => self.host = self.keep(value),
            10 if is(name, b"user-agent") => self.user_agent = self.keep(value),
            15 if is(name, b"x-forwarded-for") => self.forwarded_for = self.keep(value),
            _ if is_secret(name, named) && !name.starts_with(b":") => {
                secrecy::of_header(value, |secret| self.secret(secret));
            }
            _ => {}
        }
    }

    /// Takes a secret of the request that is not in its head.
    pub(in crate::inspect) fn secret(&mut self, secret: &[u8]) {
        let secret = trim(secret);
        if secret.len() > 2 && self.secrets.len() < SECRETS_MAX {
            let part = self.keep(secret);
            self.secrets.push(part);
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Part {
        let start = self.kept.len();
        self.kept.extend_from_slice(bytes);
        Part { start, len: bytes.len() }
    }

    fn part(&self, part: Part) -> &[u8] {
        self.kept.get(part.start..part.start + part.len).unwrap_or(&[])
    }

    /// Returns what may be said.
    pub(in crate::inspect) fn shown(&self) -> HttpContext {
        let host = self.part(self.host);
        let host = memchr::memrchr(b'@', host).map_or(host, |at| &host[at + 1..]);
        let mut writer = Writer::new();
        writer.next(|out| self.text(self.part(self.method), out));
        writer.next(|out| self.text(host, out));
        writer.next(|out| self.path(out));
        writer.next(|out| self.text(self.part(self.forwarded_for), out));
        writer.next(|out| self.text(self.part(self.user_agent), out));
        writer.end()
    }

    /// Writes the target: its path, and the names of its query's parameters without their values.
    fn path(&self, out: &mut String) {
        let target = self.part(self.target).split(u8::is_ascii_whitespace).next().unwrap_or(&[]);
        let authority = memchr::memmem::find(target, b"://").map(|at| at + 3);
        let is_target = authority.is_some()
            || target.starts_with(b"/")
            || target == b"*"
            || self.part(self.method).eq_ignore_ascii_case(b"CONNECT");
        if !is_target {
            return;
        }
        let target = target.split(|byte| *byte == b'#').next().unwrap_or(target);
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        let start = out.len();
        // The user part of an authority is a credential.
        let path = if let Some(at) = authority.filter(|at| *at <= path.len()) {
            let end = path[at..].iter().position(|b| *b == b'/').map_or(path.len(), |n| at + n);
            let host = memchr::memrchr(b'@', &path[at..end]).map_or(at, |user| at + user + 1);
            self.text(&path[..at], out);
            self.text(&path[host..end], out);
            &path[end..]
        } else {
            path.rsplit(|b| *b == b'@' && path[0] != b'/').next().unwrap_or(path)
        };
        self.segments(path, start, out);
        for (index, parameter) in
            query.into_iter().flat_map(|q| q.split(|b| *b == b'&')).enumerate()
        {
            if out.len() - start > TEXT_LEN_MAX {
                break;
            }
            out.push(if index == 0 { '?' } else { '&' });
            self.word(parameter.split(|byte| *byte == b'=').next().unwrap_or(parameter), out);
        }
        if let Some((end, _)) = out[start..].char_indices().nth(TEXT_LEN_MAX) {
            out.truncate(start + end);
        }
    }

    fn segments(&self, path: &[u8], start: usize, out: &mut String) {
        for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
            if index > 0 {
                out.push('/');
            }
            // What is behind a semicolon may be a session's id: `;jsessionid=`.
            for (index, part) in segment.split(|byte| *byte == b';').enumerate() {
                if index > 0 {
                    out.push(';');
                    self.word(part.split(|byte| *byte == b'=').next().unwrap_or(part), out);
                } else {
                    self.word(part, out);
                }
            }
            if out.len() - start > TEXT_LEN_MAX {
                break;
            }
        }
    }

    /// Writes a word of the target unless it is, or may be, a token.
    fn word(&self, word: &[u8], out: &mut String) {
        if word.len() > WORD_LEN_MAX
            || jwt::looks_like(word)
            || self.has_secret(&percent_decoded(word))
        {
            out.push_str(MASK);
        } else {
            self.text(word, out);
        }
    }

    /// Writes text, cut; a mask where a secret of the same request stands in it.
    fn text(&self, bytes: &[u8], out: &mut String) {
        let bytes = trim(bytes);
        if self.has_secret(bytes) || jwt::looks_like(bytes) {
            out.push_str(MASK);
            return;
        }
        let bytes = &bytes[..bytes.len().min(4 * TEXT_LEN_MAX)];
        match str::from_utf8(bytes) {
            Ok(text) if text.len() <= TEXT_LEN_MAX => out.push_str(text),
            _ => out.extend(String::from_utf8_lossy(bytes).chars().take(TEXT_LEN_MAX)),
        }
    }

    fn has_secret(&self, bytes: &[u8]) -> bool {
        self.secrets.iter().any(|part| secrecy::stands_in(self.part(*part), bytes))
    }
}

fn is_secret(name: &[u8], named: &[String]) -> bool {
    secrecy::is_secret(name) || is_named(name, named)
}
