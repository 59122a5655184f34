//! What may be said of a login: who, never the password; whether it is one that a product ships with.

use super::{Context, EvidenceKind};
use crate::packet::At;

/// Longest user name that is shown.
const USER_LEN_MAX: usize = 128;

/// User names with the passwords that come with the products and with the brokers, directories and stores
/// beside them: WSO2's super-tenant, `RabbitMQ`, `ApacheDS`, Cassandra.
const DEFAULTS: [(&[u8], &[u8]); 4] = [
    (b"admin", b"admin"),
    (b"guest", b"guest"),
    (b"uid=admin,ou=system", b"secret"),
    (b"cassandra", b"cassandra"),
];

/// Tells whether user and password are such as a product ships with.
///
/// A distinguished name is known by its first value: `uid=admin,ou=system` is `admin`.
pub(super) fn is_default(user: &[u8], password: &[u8]) -> bool {
    let short = first_value(user);
    DEFAULTS.iter().any(|(name, default)| {
        *default == password
            && (user.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name))
    })
}

/// Returns the value of a distinguished name's first part, and of any other name itself up to a tenant's
/// domain: `admin@carbon.super` is `admin`.
fn first_value(user: &[u8]) -> &[u8] {
    if let Some(equals) = user.iter().position(|&byte| byte == b'=') {
        let value = &user[equals + 1..];
        let end = value.iter().position(|&byte| byte == b',').unwrap_or(value.len());
        return value[..end].trim_ascii();
    }
    user.strip_suffix(b"@carbon.super").unwrap_or(user)
}

impl Context<'_> {
    /// Counts a login with a password in clear: by its kind, and as a default one where it is that.
    ///
    /// An empty password is no credential (RFC 4513 §5.1.2 says so of LDAP) and is not counted.
    pub(super) fn login(&mut self, kind: EvidenceKind, at: At, user: &[u8], password: &[u8]) {
        if password.is_empty() {
            return;
        }
        let name = (!user.is_empty()).then(|| self.user(user));
        let kinds =
            [Some(kind), is_default(user, password).then_some(EvidenceKind::DefaultCredentials)];
        for kind in kinds.into_iter().flatten() {
            let evidence = self.facts.observe(kind, at, None);
            if evidence.user.is_none() {
                evidence.user.clone_from(&name);
            }
        }
    }

    /// Counts a login by SASL PLAIN: whom to act for, who, password, each behind a zero (RFC 4616 §2).
    pub(super) fn plain(&mut self, kind: EvidenceKind, at: At, response: &[u8]) {
        let mut parts = response.splitn(3, |byte| *byte == 0);
        if let (Some(_), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) {
            self.login(kind, at, user, password);
        }
    }

    /// Returns what may be reported of a user name: itself if the operator said so, else its fingerprint.
    pub(super) fn user(&self, name: &[u8]) -> String {
        if self.options.show_users {
            super::bytes::wire_text(name, USER_LEN_MAX)
        } else {
            self.fingerprinter.of(name).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_credentials_are_known_in_their_spellings() {
        assert!(is_default(b"admin", b"admin"));
        assert!(is_default(b"admin@carbon.super", b"admin"));
        assert!(is_default(b"uid=admin,ou=system", b"admin"));
        assert!(is_default(b"uid=admin,ou=system", b"secret"));
        assert!(is_default(b"cn = Admin ,dc=example,dc=org", b"admin"));
        assert!(!is_default(b"admin", b"Admin"));
        assert!(!is_default(b"other", b"admin"));
        assert!(!is_default(b"admin", b""));
    }
}
