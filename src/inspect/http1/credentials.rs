//! Which credentials a request's head presents (RFC 6750 §2, RFC 7617, RFC 7616; WSO2's and IBM's own headers).

use super::describe::Description;
use super::form::percent_decoded;
use super::head::{Beginnings, Framing, Method, for_each_line, is, trim};
use crate::inspect::secrecy::basic;
use crate::inspect::secret::Fingerprint;
use crate::inspect::{Context, EvidenceKind, Facts, api_connect, jwt, login};
use crate::packet::At;

/// Longest token that is remembered to know it again.
const KNOWN_LEN_MAX: usize = 8 << 10;

/// Credentials of one head, at most one of a kind: each request counts once. Kept from request to
/// request, as clients present one token again and again. Knows tokens, and therefore has no `Debug`.
#[derive(Default)]
pub(in crate::inspect) struct Presented {
    /// What the head says of its message.
    pub(in crate::inspect) framing: Framing,
    found: Vec<Found>,
    has_line: bool,
    /// The tokens that were presented last, by kind.
    known: Vec<(EvidenceKind, Vec<u8>, Known)>,
    /// One of them is new: it may stand in what is said of an earlier request.
    has_new: bool,
    /// The password of the body at hand.
    password: Vec<u8>,
}

/// What is remembered of a token.
#[derive(Clone, Copy)]
struct Known {
    fingerprint: Fingerprint,
    unsigned: bool,
    exp: Option<i64>,
}

/// What a token that is remembered costs beside its bytes.
const KNOWN_COST: usize = size_of::<(EvidenceKind, Vec<u8>, Known)>();

/// One credential.
struct Found {
    kind: EvidenceKind,
    secret: Option<Fingerprint>,
    place: &'static str,
    user: Option<String>,
    jwt: Option<Box<crate::inspect::facts::JwtFacts>>,
}

impl Presented {
    /// Returns the memory of what is remembered, in bytes.
    pub(in crate::inspect) fn held_bytes(&self) -> usize {
        let known = self.known.iter().map(|(_, token, _)| token.capacity() + KNOWN_COST);
        self.found.capacity() * size_of::<Found>() + known.sum::<usize>() + self.password.capacity()
    }

    /// Forgets the last head.
    pub(in crate::inspect) fn clear(&mut self) {
        self.framing = Framing::default();
        self.found.clear();
        self.has_line = false;
    }

    /// Evaluates whole lines of a head; may be called again with the next ones. Returns the head's length,
    /// where its end is there.
    pub(super) fn lines(&mut self, lines: &[u8], at: At, context: &Context<'_>) -> Option<usize> {
        let mut line: &[u8] = &[];
        let end = for_each_line(
            lines,
            |first| line = first,
            if context.options.auth_headers.is_empty() { &WANTED } else { &Beginnings::ALL },
            |name, value| self.header(name, &value, at, context),
        );
        if !std::mem::replace(&mut self.has_line, true) && !line.is_empty() {
            let (method, target) = request_line(line);
            self.request(method, target, at, context);
        }
        end
    }

    /// Returns what was presented.
    pub(in crate::inspect) fn kinds(&self) -> Firsts {
        let mut kinds = Firsts::default();
        for found in &self.found {
            kinds.add(found.kind);
        }
        kinds
    }

    /// Takes a kind back: it is counted elsewhere.
    pub(super) fn forget(&mut self, kind: EvidenceKind) {
        self.found.retain(|found| found.kind != kind);
    }

    /// Counts what was presented. Returns the evidence whose first request this is, for its status.
    pub(in crate::inspect) fn report(
        &mut self,
        at: At,
        facts: &mut Facts,
        describe: impl FnOnce() -> Description,
    ) -> Firsts {
        let mut firsts = Firsts::default();
        if self.found.is_empty() {
            return firsts;
        }
        if std::mem::take(&mut self.has_new) {
            self.mask_earlier(facts);
        }
        let Self { found, known, password, .. } = self;
        let mut describe = Some(describe);
        let mut shown = None;
        for found in found.drain(..) {
            let evidence = facts.observe(found.kind, at, found.secret);
            if evidence.user.is_none() {
                evidence.user = found.user;
            }
            if evidence.jwt.is_none() {
                evidence.jwt = found.jwt;
            }
            if evidence.http.is_none() {
                if let Some(describe) = describe.take() {
                    let mut description = describe();
                    // Other requests of the connection presented these.
                    for secret in known.iter().map(|(_, token, _)| token).chain([&*password]) {
                        description.secret(secret);
                    }
                    shown = Some(description.shown());
                }
                evidence.http = shown.as_ref().map(|shown| Box::new(shown.in_place(found.place)));
                firsts.add(found.kind);
            }
        }
        firsts
    }

    /// Masks what is presented now in what was said of earlier requests.
    fn mask_earlier(&self, facts: &mut Facts) {
        for http in facts.evidence.iter_mut().filter_map(|evidence| evidence.http.as_deref_mut()) {
            for (_, token, _) in &self.known {
                http.mask(token);
            }
        }
    }

    /// Takes a credential that is counted, and of which nothing more is known.
    pub(super) fn add(
        &mut self,
        kind: EvidenceKind,
        secret: Option<Fingerprint>,
        place: &'static str,
    ) {
        if !self.found.iter().any(|found| found.kind == kind) {
            self.found.push(Found { kind, secret, place, user: None, jwt: None });
        }
    }

    /// Takes a credential that may be a JWT.
    pub(super) fn token(
        &mut self,
        kind: EvidenceKind,
        token: &[u8],
        place: &'static str,
        at: At,
        context: &Context<'_>,
    ) {
        if self.found.iter().any(|found| found.kind == kind) {
            return;
        }
        let place_of = self.known.iter().position(|(known, ..)| *known == kind);
        let is_same = |at: &usize| self.known[*at].1 == token;
        let known = place_of.filter(is_same).map(|at| self.known[at].2);
        let mut jwt = None;
        let known = if let Some(known) = known {
            known
        } else {
            jwt = jwt::read(token).map(Box::new);
            let known = Known {
                fingerprint: context.fingerprinter.of(token),
                unsigned: jwt.as_deref().is_some_and(jwt::is_unsigned),
                exp: jwt.as_ref().and_then(|jwt| jwt.exp),
            };
            if token.len() <= KNOWN_LEN_MAX {
                self.has_new = true;
                let at = place_of.unwrap_or(self.known.len());
                if place_of.is_none() {
                    self.known.push((kind, Vec::new(), known));
                }
                let (_, bytes, facts) = &mut self.known[at];
                bytes.clear();
                bytes.extend_from_slice(token);
                *facts = known;
            }
            known
        };
        let expired = known.exp.is_some_and(|exp| exp < at.time.0.div_euclid(1_000_000_000));
        for (kind, holds) in [
            (kind, true),
            (EvidenceKind::JwtUnsigned, known.unsigned),
            (EvidenceKind::TokenExpired, expired),
        ] {
            if holds && !self.found.iter().any(|found| found.kind == kind) {
                let (secret, jwt) = (Some(known.fingerprint), jwt.clone());
                self.found.push(Found { kind, secret, place, user: None, jwt });
            }
        }
    }

    /// Takes Basic credentials.
    fn basic(&mut self, kind: EvidenceKind, credentials: &[u8], context: &Context<'_>) {
        let plain = basic(credentials).unwrap_or_default();
        let colon = memchr::memchr(b':', &plain).unwrap_or(plain.len());
        let password = plain.get(colon + 1..).unwrap_or(&[]);
        self.login(kind, &plain[..colon], password, "header", context);
    }

    /// Takes a login, whose user and password may be such as a product ships with. A `UsernameToken` without a
    /// password has a digest of it.
    pub(super) fn login(
        &mut self,
        kind: EvidenceKind,
        user: &[u8],
        password: &[u8],
        place: &'static str,
        context: &Context<'_>,
    ) {
        if kind == EvidenceKind::WsSecurity {
            self.password = password.to_vec();
        }
        let is_digest = kind == EvidenceKind::WsSecurity && password.is_empty();
        let kind = if is_digest { EvidenceKind::DigestCredentials } else { kind };
        let is_named =
            |kind| context.facts.evidence.iter().any(|e| e.kind == kind && e.user.is_some());
        let default = login::is_default(user, password).then_some(EvidenceKind::DefaultCredentials);
        for kind in [Some(kind), default].into_iter().flatten() {
            if !self.found.iter().any(|found| found.kind == kind) {
                let user = (!user.is_empty() && !is_named(kind)).then(|| context.user(user));
                self.found.push(Found { kind, secret: None, place, user, jwt: None });
            }
        }
    }

    /// Takes method and target.
    pub(in crate::inspect) fn request(
        &mut self,
        method: &[u8],
        target: &[u8],
        at: At,
        context: &Context<'_>,
    ) {
        self.framing.method = Method::of(method);
        let Some(query) = memchr::memchr(b'?', target) else { return };
        for parameter in target[query + 1..].split(|byte| *byte == b'&') {
            let Some(equals) = memchr::memchr(b'=', parameter) else { continue };
            let kind = match &*percent_decoded(&parameter[..equals]) {
                b"access_token" => Some(EvidenceKind::BearerToken),
                b"apikey" => Some(EvidenceKind::ApiKey),
                name => api_connect::in_query(name, target),
            };
            let Some(kind) = kind else { continue };
            let value = &parameter[equals + 1..];
            let value = value.split(|byte| *byte == b'#').next().unwrap_or(value);
            let value = percent_decoded(value);
            let value = trim(&value);
            if !value.is_empty() {
                self.token(kind, value, "query", at, context);
            }
        }
    }

    /// Takes a header: name without white space around it, unfolded value. [`WANTED`] must let it pass.
    pub(in crate::inspect) fn header(
        &mut self,
        name: &[u8],
        value: &[u8],
        at: At,
        context: &Context<'_>,
    ) {
        self.framing.note(name, value);
        let kind = match name.len() {
            6 if is(name, b"apikey") => EvidenceKind::ApiKey,
            6 if is(name, b"cookie") => return self.cookies(value, at, context),
            12 if is(name, b"internal-key") => EvidenceKind::InternalKey,
            13 if is(name, b"authorization") => return self.authorization(value, at, context),
            15 if is(name, b"x-jwt-assertion") => EvidenceKind::BackendJwt,
            15 | 19 if api_connect::is_key(name) => EvidenceKind::ApiKey,
            19 if is(name, b"proxy-authorization") => {
                let (scheme, secret) = scheme(value);
                if is(scheme, b"basic") && !secret.is_empty() {
                    self.basic(EvidenceKind::ProxyCredentials, secret, context);
                } else if !secret.is_empty() {
                    self.add(EvidenceKind::ProxyCredentials, None, "header");
                }
                return;
            }
            _ if is_named(name, &context.options.auth_headers) => {
                return self.named(value, at, context);
            }
            _ => return,
        };
        let value = unquoted(value);
        if !value.is_empty() {
            self.token(kind, value, "header", at, context);
        }
    }

    /// A header that the operator names stands for Authorization; a value without a scheme is a token.
    fn named(&mut self, value: &[u8], at: At, context: &Context<'_>) {
        let (scheme, _) = scheme(value);
        let token = unquoted(value);
        if is(scheme, b"bearer") || is(scheme, b"basic") || is(scheme, b"digest") {
            self.authorization(value, at, context);
        } else if !token.is_empty() {
            self.token(EvidenceKind::BearerToken, token, "header", at, context);
        }
    }

    /// One value may present several: WSO2's gateway takes each part between commas for itself.
    fn authorization(&mut self, value: &[u8], at: At, context: &Context<'_>) {
        if memchr::memchr(b',', value).is_none() {
            self.credential(value, at, context);
            return;
        }
        for part in parts(value) {
            self.credential(part, at, context);
        }
    }

    fn credential(&mut self, value: &[u8], at: At, context: &Context<'_>) {
        let (scheme, secret) = scheme(value);
        if secret.is_empty() {
            return;
        }
        if is(scheme, b"bearer") {
            let token = unquoted(secret);
            if !token.is_empty() {
                self.token(EvidenceKind::BearerToken, token, "header", at, context);
            }
        } else if is(scheme, b"basic") {
            self.basic(EvidenceKind::BasicCredentials, secret, context);
        } else if is(scheme, b"digest") {
            // Its parameters have names, of which the first stands here.
            let user = secret.strip_prefix(b"username=").map_or(&b""[..], unquoted);
            self.login(EvidenceKind::DigestCredentials, user, &[], "header", context);
        }
    }

    /// Takes the target of a redirection: a token may stand in its fragment or its query.
    pub(super) fn redirected(&mut self, location: &[u8], at: At, context: &Context<'_>) {
        for parameter in location.split(|byte| matches!(byte, b'#' | b'?' | b'&')) {
            if let Some(token) = parameter.strip_prefix(b"access_token=")
                && !trim(token).is_empty()
            {
                let token = percent_decoded(trim(token));
                self.token(EvidenceKind::TokenIssued, &token, "header", at, context);
                self.forget(EvidenceKind::JwtUnsigned);
                self.forget(EvidenceKind::TokenExpired);
            }
        }
    }

    fn cookies(&mut self, value: &[u8], at: At, context: &Context<'_>) {
        for cookie in value.split(|byte| *byte == b';') {
            let Some(equals) = memchr::memchr(b'=', cookie) else { continue };
            let value = unquoted(trim(&cookie[equals + 1..]));
            if is_session(trim(&cookie[..equals])) && !value.is_empty() {
                self.token(EvidenceKind::SessionCookie, value, "header", at, context);
            }
        }
    }
}

/// How headers begin that frame a message or may present something.
const WANTED: Beginnings = Framing::WANTED.and(&[*b"ap", *b"au", *b"in", *b"pr", *b"x-"]);

/// Tells whether a cookie is a session of these products: the servlet container's, the single sign-on's of
/// the identity server, and the halves of a token that publisher and portal keep.
fn is_session(name: &[u8]) -> bool {
    let known: [&[u8]; 4] = [b"JSESSIONID", b"commonAuthId", b"samlssoTokenId", b"JSESSIONIDSSO"];
    let halves: [&[u8]; 4] =
        [b"AM_ACC_TOKEN_", b"AM_REF_TOKEN_", b"WSO2_AM_TOKEN_", b"WSO2_AM_REFRESH_TOKEN_"];
    known.contains(&name) || halves.iter().any(|start| name.starts_with(start))
}

/// A set of kinds of evidence: mostly of those that a request is the first one of.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::inspect) struct Firsts(u64);

impl Firsts {
    /// Adds one kind.
    pub(in crate::inspect) fn add(&mut self, kind: EvidenceKind) {
        self.0 |= 1_u64 << kind as u32;
    }

    /// Tells whether a kind is among them.
    pub(in crate::inspect) fn has(self, kind: EvidenceKind) -> bool {
        self.0 & 1_u64 << kind as u32 != 0
    }

    /// Adds those of another part of the request.
    pub(in crate::inspect) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Tells whether there are none.
    pub(in crate::inspect) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Notes the answer to the request.
    pub(in crate::inspect) fn answered(self, status: u16, facts: &mut Facts) {
        if self.is_empty() {
            return;
        }
        for evidence in &mut facts.evidence {
            if self.has(evidence.kind)
                && let Some(http) = &mut evidence.http
            {
                http.status = Some(status);
            }
        }
    }
}

/// Tells whether a header is one that the operator names.
pub(super) fn is_named(name: &[u8], named: &[String]) -> bool {
    named.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Splits a request line: the method, and all between it and the version, odd as it may be.
pub(super) fn request_line(line: &[u8]) -> (&[u8], &[u8]) {
    let line = trim(line);
    let method_len = memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len());
    let (method, target) = line.split_at(method_len);
    let target = target.trim_ascii();
    match super::probe::version_at(target) {
        Some(version) => (method, target[..version].trim_ascii_end()),
        None => (method, target),
    }
}

/// Ends a request line that was cut behind its last whole parameter, which another one or the target's end
/// follows; tells whether there is one.
pub(super) fn end_cut_line(line: &mut Vec<u8>) -> bool {
    let Some(query) = memchr::memchr(b'?', line) else { return false };
    let ends = |byte: &u8| matches!(byte, b'&' | b' ' | b'\t' | b'#');
    let Some(last) = line[query..].iter().rposition(ends) else { return false };
    line.truncate(query + last);
    line.push(b'\n');
    true
}

/// Splits a credential into its scheme and what is behind it (RFC 9110 §11.4).
fn scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let len = value.iter().position(|byte| *byte <= b' ').unwrap_or(value.len());
    let (scheme, secret) = value.split_at(len);
    (scheme, trim(secret))
}

/// Takes off quotes around a whole value, and what is around the text inside.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => trim(inner),
        [b'"' | b'\''] => &[],
        _ => value,
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
        .map(trim)
}
