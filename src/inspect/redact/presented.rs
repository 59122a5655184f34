//! What a client presented, to overwrite it where else it stands: in Host, in a path, in its User-Agent.

use std::collections::VecDeque;

use super::{FILL, head};
use crate::inspect::{jwt, secrecy};

/// Secrets that are remembered of one side; the oldest goes first. A head has a few.
const SECRETS_MAX: usize = 64;

/// Longest secret that is remembered: what servers take as a head.
const SECRET_LEN_MAX: usize = 64 << 10;

/// Secrets of one side. Holds them, and therefore has no `Debug`.
#[derive(Default)]
pub(super) struct Presented(VecDeque<Vec<u8>>);

impl Presented {
    /// Learns what a target's query presents.
    pub(super) fn target(&mut self, target: &[u8]) {
        secrecy::of_query(target, |secret| self.add(secret));
    }

    /// Learns what a header presents.
    pub(super) fn header(&mut self, name: &[u8], value: &[u8]) {
        if secrecy::is_secret(name) {
            secrecy::of_header(value, |secret| self.add(secret));
        }
    }

    /// Learns what a value presents whose header is not known by its name.
    pub(super) fn unnamed(&mut self, value: &[u8]) {
        secrecy::of_header(value, |secret| self.add(secret));
    }

    fn add(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        if !(3..=SECRET_LEN_MAX).contains(&secret.len())
            || self.0.iter().any(|known| known == secret)
        {
            return;
        }
        if self.0.len() >= SECRETS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(secret.to_vec());
    }

    /// Tells whether a secret stands in some text.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.0.iter().any(|secret| secrecy::stands_in(secret, text))
    }

    /// Overwrites in a value that is shown: what was presented, users before a host, what stands behind a
    /// scheme, and JWTs.
    pub(super) fn overwrite(&self, value: &mut [u8]) {
        if self.is_in(value.trim_ascii()) {
            fill(value);
            return;
        }
        let is_gap = |byte: &u8| byte.is_ascii_whitespace() || b",;=\"()".contains(byte);
        let mut is_secret = false;
        for word in value.split_mut(is_gap).filter(|word| !word.is_empty()) {
            let user_len = memchr::memrchr(b'@', word).unwrap_or(0);
            fill(&mut word[..user_len]);
            if is_secret || jwt::looks_like(word) || self.is_in(word) {
                fill(word);
            }
            is_secret = head::is_scheme(word);
        }
    }

    /// Overwrites the parts of a target in which a secret stands, as it is or percent-encoded.
    pub(super) fn overwrite_target(&self, target: &[u8], shown: &mut [u8]) {
        let mut at = 0;
        for word in target.split(|byte| b"/?&;=#".contains(byte)) {
            if self.is_in(&secrecy::percent_decoded(word)) {
                shown[at..at + word.len()].fill(FILL);
            }
            at += word.len() + 1;
        }
    }
}

/// Overwrites everything but white space.
fn fill(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| !byte.is_ascii_whitespace()) {
        *byte = FILL;
    }
}
