//! A URL-encoded form in a request's body, parameter by parameter.

use crate::inspect::{Context, EvidenceKind};
use crate::packet::At;

/// Bytes of a name that are kept; no name that matters is longer, even percent-encoded.
const NAME_LEN_MAX: usize = 64;

/// Bytes of a value that are kept; a longer token counts, and has the fingerprint of its beginning.
const VALUE_LEN_MAX: usize = 16 << 10;

/// Reads a form. Holds the value at hand until it is whole, and therefore has no `Debug`.
pub(super) struct Form {
    at: At,
    head: Vec<u8>,
    has_bearer: bool,
    name: Vec<u8>,
    value: Vec<u8>,
    in_value: bool,
}

impl Form {
    /// Begins behind the head of a request.
    pub(super) fn new(at: At, has_bearer: bool, head: &[u8]) -> Self {
        Self {
            at,
            head: head.to_vec(),
            has_bearer,
            name: Vec::new(),
            value: Vec::new(),
            in_value: false,
        }
    }

    /// Takes the next bytes of the form.
    pub(super) fn content(&mut self, bytes: &[u8], context: &mut Context<'_>) {
        for byte in bytes {
            match byte {
                b'&' => self.parameter(context),
                b'=' if !self.in_value => self.in_value = true,
                byte if self.in_value && self.value.len() < VALUE_LEN_MAX => self.value.push(*byte),
                byte if !self.in_value && self.name.len() <= NAME_LEN_MAX => self.name.push(*byte),
                _ => {}
            }
        }
    }

    /// Takes the last parameter: the body is whole.
    pub(super) fn end(&mut self, context: &mut Context<'_>) {
        self.parameter(context);
    }

    fn parameter(&mut self, context: &mut Context<'_>) {
        let (name, value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        self.in_value = false;
        let name = percent_decoded(name.trim_ascii());
        let value = percent_decoded(value.trim_ascii());
        if value.is_empty() {
            return;
        }
        let kind = match name.as_slice() {
            b"access_token" if !self.has_bearer => EvidenceKind::BearerToken,
            b"client_secret" => EvidenceKind::ClientSecret,
            _ => return,
        };
        self.has_bearer |= kind == EvidenceKind::BearerToken;
        let secret = (kind == EvidenceKind::BearerToken).then(|| context.fingerprinter.of(&value));
        let evidence = context.facts.observe(kind, self.at, secret);
        if evidence.http.is_none() {
            evidence.http = Some(Box::new(super::credentials::describe(&self.head, "form")));
        }
    }
}

/// Decodes `%41` and `+` (WHATWG URL, application/x-www-form-urlencoded parsing).
pub(super) fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, behind)) = rest.split_first() {
        let hex = |digit: Option<&u8>| digit.and_then(|d| char::from(*d).to_digit(16));
        match (byte, hex(behind.first()), hex(behind.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
                rest = &behind[2..];
                continue;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        rest = behind;
    }
    out
}
