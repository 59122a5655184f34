//! A URL-encoded form in a request's body, parameter by parameter (WHATWG URL,
//! application/x-www-form-urlencoded).

use super::credentials::Presented;
use super::describe::Description;
use super::head::trim;
pub(super) use crate::inspect::secrecy::percent_decoded;
use crate::inspect::{Context, EvidenceKind, login};
use crate::packet::At;

/// Bytes of a name that are kept; no name that matters is longer, even percent-encoded.
const NAME_LEN_MAX: usize = 64;

/// Bytes of a value that are kept; a longer token counts, and has the fingerprint of its beginning.
const VALUE_LEN_MAX: usize = 16 << 10;

/// Reads a form. Holds values until it is whole, and therefore has no `Debug`.
#[derive(Default)]
pub(super) struct Form {
    name: Vec<u8>,
    value: Vec<u8>,
    in_value: bool,
    access_token: Option<Vec<u8>>,
    client_secret: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    is_grant: bool,
    is_password_grant: bool,
}

impl Form {
    /// Returns the memory of what is held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let values = [&self.access_token, &self.client_secret, &self.user, &self.password];
        let values = values.into_iter().flatten().map(Vec::capacity);
        self.name.capacity() + self.value.capacity() + values.sum::<usize>()
    }

    /// Takes the next bytes of the form.
    pub(super) fn content(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = if self.in_value {
                memchr::memchr(b'&', rest)
            } else {
                memchr::memchr2(b'&', b'=', rest)
            };
            let part = &rest[..end.unwrap_or(rest.len())];
            let (kept, max) = if self.in_value {
                (&mut self.value, VALUE_LEN_MAX)
            } else {
                (&mut self.name, NAME_LEN_MAX + 1)
            };
            kept.extend_from_slice(&part[..part.len().min(max - kept.len().min(max))]);
            let Some(end) = end else { return };
            if rest[end] == b'&' {
                self.parameter();
            } else {
                self.in_value = true;
            }
            rest = &rest[end + 1..];
        }
    }

    fn parameter(&mut self) {
        self.in_value = false;
        {
            let (name, value) =
                (percent_decoded(trim(&self.name)), percent_decoded(trim(&self.value)));
            let value = trim(&value);
            let place = match &*name {
                b"access_token" => Some(&mut self.access_token),
                b"client_secret" => Some(&mut self.client_secret),
                b"username" | b"j_username" | b"userName" | b"user" => Some(&mut self.user),
                b"password" | b"j_password" => Some(&mut self.password),
                b"grant_type" => {
                    self.is_grant = true;
                    self.is_password_grant |= value == b"password";
                    None
                }
                _ => None,
            };
            if let Some(place) = place.filter(|place| place.is_none() && !value.is_empty()) {
                *place = Some(value.to_vec());
            }
        }
        self.name.clear();
        self.value.clear();
    }

    /// Hands over what the form presents; `whole` tells that its last parameter is complete.
    pub(super) fn end(
        mut self,
        whole: bool,
        at: At,
        presented: &mut Presented,
        context: &Context<'_>,
    ) -> Self {
        if whole {
            self.parameter();
        }
        if let Some(token) = &self.access_token {
            presented.token(EvidenceKind::BearerToken, token, "form", at, context);
        }
        if self.client_secret.is_some() {
            presented.add(EvidenceKind::ClientSecret, None, "form");
        }
        if let Some(password) = &self.password {
            let user = self.user.as_deref();
            // A password without a user's name is none that logs in.
            let kind = match (self.is_password_grant, self.is_grant, user) {
                (true, ..) => Some(EvidenceKind::PasswordGrant),
                (false, false, Some(_)) => Some(EvidenceKind::FormLogin),
                _ => None,
            };
            if let Some(kind) = kind {
                presented.login(kind, user.unwrap_or(&[]), password, "form", context);
            }
        }
        self
    }

    /// Names what must not be shown.
    pub(super) fn mask(&self, description: &mut Description) {
        let user = self.user.as_deref().unwrap_or(&[]);
        // A password that everybody knows only masks paths such as `/carbon/admin`.
        let is_known = self.password.as_ref().is_some_and(|known| login::is_default(user, known));
        let password = if is_known { &None } else { &self.password };
        let secrets = [&self.access_token, &self.client_secret, password];
        for secret in secrets.into_iter().flatten() {
            description.secret(secret);
        }
    }
}
