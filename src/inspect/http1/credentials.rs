//! Which credentials a head presents (RFC 6750 §2, RFC 7617; WSO2's API key headers).

use std::borrow::Cow;

use super::form::percent_decoded;
use super::head::{Framing, for_each_line};
use crate::inspect::facts::HttpContext;
use crate::inspect::secret::Fingerprint;
use crate::inspect::{Context, EvidenceKind};
use crate::packet::At;

/// Characters of a request's text that a finding shows.
const TEXT_LEN_MAX: usize = 256;

/// Credentials of one head, at most one of a kind: each request counts once.
#[derive(Default)]
pub(super) struct Presented {
    /// What the head says of its message.
    pub(super) framing: Framing,
    found: Vec<Found>,
    target: Vec<u8>,
}

struct Found {
    kind: EvidenceKind,
    secret: Option<Fingerprint>,
    place: &'static str,
}

impl Presented {
    /// Evaluates whole lines of a head; may be called again with the next ones.
    pub(super) fn lines(&mut self, lines: &[u8], context: &Context<'_>) {
        let mut request_line: &[u8] = &[];
        let is_first = self.target.is_empty();
        for_each_line(
            lines,
            |line| request_line = line,
            |name, value| {
                self.framing.note(name, &value);
                self.header(name, &value, context);
            },
        );
        if is_first && !request_line.is_empty() {
            self.request_line(request_line, context);
        }
    }

    /// Tells whether an OAuth token was presented.
    pub(super) fn has_bearer(&self) -> bool {
        self.found.iter().any(|found| found.kind == EvidenceKind::BearerToken)
    }

    /// Tells whether anything was presented.
    pub(super) fn is_any(&self) -> bool {
        !self.found.is_empty()
    }

    /// Counts what was presented; tells whether that was anything.
    pub(super) fn report(&self, at: At, head: &[u8], context: &mut Context<'_>) -> bool {
        for found in &self.found {
            let evidence = context.facts.observe(found.kind, at, found.secret);
            if evidence.http.is_none() {
                evidence.http = Some(Box::new(describe(head, found.place)));
            }
        }
        self.is_any()
    }

    fn add(&mut self, kind: EvidenceKind, secret: Option<Fingerprint>, place: &'static str) {
        if !self.found.iter().any(|found| found.kind == kind) {
            self.found.push(Found { kind, secret, place });
        }
    }

    fn request_line(&mut self, line: &[u8], context: &Context<'_>) {
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|w| !w.is_empty());
        let (method, target) = (words.next().unwrap_or(&[]), words.next().unwrap_or(b"/"));
        self.framing.note_method(method);
        self.target = target.iter().copied().take(1).collect();
        let Some(query) = memchr::memchr(b'?', target) else { return };
        for parameter in target[query + 1..].split(|byte| *byte == b'&') {
            let (name, value) = match memchr::memchr(b'=', parameter) {
                Some(equals) => (&parameter[..equals], &parameter[equals + 1..]),
                None => continue,
            };
            let kind = match percent_decoded(name).as_slice() {
                b"access_token" => EvidenceKind::BearerToken,
                b"apikey" => EvidenceKind::ApiKey,
                _ => continue,
            };
            let value = value.split(|byte| *byte == b'#').next().unwrap_or(value);
            if !value.is_empty() {
                let secret = context.fingerprinter.of(&percent_decoded(value));
                self.add(kind, Some(secret), "query");
            }
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8], context: &Context<'_>) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let kind = match name.len() {
            6 if is(b"apikey") => EvidenceKind::ApiKey,
            12 if is(b"internal-key") => EvidenceKind::InternalKey,
            13 if is(b"authorization") => return self.authorization(value, context),
            15 if is(b"x-jwt-assertion") => EvidenceKind::BackendJwt,
            19 if is(b"proxy-authorization") => EvidenceKind::ProxyCredentials,
            _ if context.options.auth_headers.iter().any(|known| is(known.as_bytes())) => {
                EvidenceKind::NamedAuthHeader
            }
            _ => return,
        };
        if !value.is_empty() {
            // A proxy's credentials are a password as often as a token: no fingerprint.
            let secret =
                (kind != EvidenceKind::ProxyCredentials).then(|| context.fingerprinter.of(value));
            self.add(kind, secret, "header");
        }
    }

    /// One value may present several: WSO2's gateway takes each part between commas for itself.
    fn authorization(&mut self, value: &[u8], context: &Context<'_>) {
        for part in parts(value) {
            let scheme_len =
                part.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(part.len());
            let (scheme, secret) = part.split_at(scheme_len);
            let secret = secret.trim_ascii();
            if secret.is_empty() {
                continue;
            }
            if scheme.eq_ignore_ascii_case(b"bearer") {
                let secret = context.fingerprinter.of(secret);
                self.add(EvidenceKind::BearerToken, Some(secret), "header");
            } else if scheme.eq_ignore_ascii_case(b"basic") {
                self.add(EvidenceKind::BasicCredentials, None, "header");
                // admin:admin, which every Carbon product ships with.
                if secret == b"YWRtaW46YWRtaW4=" {
                    self.add(EvidenceKind::DefaultCredentials, None, "header");
                }
            } else if scheme.eq_ignore_ascii_case(b"digest") {
                self.add(EvidenceKind::DigestCredentials, None, "header");
            }
        }
    }
}

/// Splits a value at the commas outside quotes.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value
        .split(move |byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        })
        .map(<[u8]>::trim_ascii)
}

/// Says which request it was, without what must not be said.
pub(super) fn describe(head: &[u8], place: &'static str) -> HttpContext {
    let mut context = HttpContext { place, ..HttpContext::default() };
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    let mut request_line: &[u8] = &[];
    let mut shown: [Cow<'_, [u8]>; 3] = Default::default();
    for_each_line(
        head,
        |line| request_line = line,
        |name, value| {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("host") {
                shown[0] = value;
            } else if is("x-forwarded-for") || (is("forwarded") && shown[1].is_empty()) {
                shown[1] = value;
            } else if is("user-agent") {
                shown[2] = value;
            } else if is("authorization") || is("apikey") || is("internal-key") {
                let words = value.split(|byte| matches!(byte, b' ' | b'\t' | b','));
                secrets.extend(words.filter(|word| word.len() > 7).map(<[u8]>::to_vec));
            }
        },
    );
    let mut words =
        request_line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let method = words.next().unwrap_or(&[]);
    let target = words.next().unwrap_or(&[]);
    if let Some(query) = memchr::memchr(b'?', target) {
        let values = target[query + 1..].split(|byte| *byte == b'&').filter_map(|parameter| {
            let equals = memchr::memchr(b'=', parameter)?;
            Some(parameter[equals + 1..].to_vec()).filter(|value| value.len() > 7)
        });
        secrets.extend(values);
    }
    context.method = text(method, &secrets);
    context.host = text(&shown[0], &secrets);
    context.path = text(&without_values(target), &secrets);
    context.forwarded_for = text(&shown[1], &secrets);
    context.user_agent = text(&shown[2], &secrets);
    context
}

/// Returns a target with the names of its query's parameters, and no values.
fn without_values(target: &[u8]) -> Vec<u8> {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    // The user part of an absolute form is a credential.
    let path = match (path.windows(3).position(|w| w == b"://"), memchr::memchr(b'@', path)) {
        (Some(scheme), Some(at)) if at > scheme => [&path[..scheme + 3], &path[at + 1..]].concat(),
        _ => path.to_vec(),
    };
    // A segment that is a JWT is not shown.
    let segments = path.split(|byte| *byte == b'/').map(|segment| {
        let is_token = segment.starts_with(b"eyJ") || segment.len() > 64;
        if is_token { b"(masked)".as_slice() } else { segment }
    });
    let mut out = segments.collect::<Vec<_>>().join(&b'/');
    let Some(query) = query else { return out };
    for (index, parameter) in query.split(|byte| *byte == b'&').enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        let name_len = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
        let name = &parameter[..name_len];
        out.extend_from_slice(if name.len() > 64 { b"(masked)" } else { name });
    }
    out
}

/// Returns text of the wire, cut; nothing where a secret of the same request stands in it.
fn text(bytes: &[u8], secrets: &[Vec<u8>]) -> String {
    if secrets.iter().any(|secret| memchr::memmem::find(bytes, secret).is_some()) {
        return "(masked)".to_owned();
    }
    String::from_utf8_lossy(bytes).chars().take(TEXT_LEN_MAX).collect()
}
