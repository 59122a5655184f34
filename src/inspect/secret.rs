//! How a secret leaves a parser: as a keyed fingerprint, or not at all.
//!
//! No type here or to the right of `inspect` can hold a token or a password. A [`Fingerprint`] is 64 bits
//! of HMAC-SHA-256 (RFC 2104) under a key that is random for each run unless the user gives one: equal
//! tokens show as equal, and nothing leads back to them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The keyed fingerprint of a token, a key or a user name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes [`Fingerprint`]s under one key. Holds the key, and therefore has no `Debug`.
#[derive(Clone)]
pub struct Fingerprinter {
    keyed: Hmac<Sha256>,
}

impl Fingerprinter {
    /// Makes fingerprints under the given key, of any length.
    ///
    /// # Panics
    ///
    /// Never: HMAC takes a key of any length (RFC 2104 §3).
    pub fn new(key: &[u8]) -> Self {
        let keyed = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Self { keyed }
    }

    /// Returns the fingerprint of a secret.
    pub fn of(&self, secret: &[u8]) -> Fingerprint {
        Fingerprint(self.digest(secret))
    }

    /// Returns a number that follows from the key and a purpose, and from which nobody learns the key.
    pub fn seed(&self, purpose: &[u8]) -> u64 {
        // No token begins with a zero byte, so that no fingerprint is a seed.
        self.digest(&[b"\0seed:", purpose].concat())
    }

    fn digest(&self, bytes: &[u8]) -> u64 {
        let mut mac = self.keyed.clone();
        mac.update(bytes);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_secrets_under_one_key_are_equal_and_under_another_are_not() {
        let (one, two) = (Fingerprinter::new(b"one"), Fingerprinter::new(b"two"));
        assert_eq!(one.of(b"token"), one.of(b"token"));
        assert_ne!(one.of(b"token"), one.of(b"tokeN"));
        assert_ne!(one.of(b"token"), two.of(b"token"));
    }
}
