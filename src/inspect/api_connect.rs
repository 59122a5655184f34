//! How a client of IBM API Connect names itself (IBM, Defining API key security scheme components): by its id,
//! or by id and secret, each in a header or in the query.

use super::EvidenceKind;
use super::http1::is;

/// Words in paths of OAuth's and `OpenID` Connect's own endpoints.
const OAUTH_PATHS: [&[u8]; 6] = [b"auth", b"oidc", b"token", b"login", b"logout", b"consent"];

/// Parameters of requests to these (RFC 6749 §4; `OpenID` Connect RP-Initiated Logout §2).
const OAUTH_PARAMETERS: [&[u8]; 6] = [
    b"grant_type",
    b"response_type",
    b"redirect_uri",
    b"scope",
    b"id_token_hint",
    b"post_logout_redirect_uri",
];

/// Tells whether a header is one of the client's two.
pub(super) fn is_key(name: &[u8]) -> bool {
    is(name, b"x-ibm-client-id") || is(name, b"x-ibm-client-secret")
}

/// Tells what a parameter of a query presents, if it is the client's secret. Its id alone is none: many an
/// application has a parameter of that name, and OAuth shows it to everybody (RFC 6749 §2.2).
///
/// At OAuth's endpoints the secret is that of a client of OAuth.
pub(super) fn in_query(name: &[u8], target: &[u8]) -> Option<EvidenceKind> {
    match name {
        b"client_secret" if is_oauth(target) => Some(EvidenceKind::ClientSecret),
        b"client_secret" => Some(EvidenceKind::ApiKey),
        _ => None,
    }
}

fn is_oauth(target: &[u8]) -> bool {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[][..]),
    };
    let has = |word: &[u8]| path.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    let is_named = |parameter: &[u8]| {
        let name = parameter.split(|byte| *byte == b'=').next().unwrap_or(parameter);
        OAUTH_PARAMETERS.contains(&name)
    };
    OAUTH_PATHS.into_iter().any(has) || query.split(|byte| *byte == b'&').any(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_clients_own_wherever_it_stands() {
        let secret = |target: &[u8]| in_query(b"client_secret", target);
        assert_eq!(secret(b"/pets?client_secret=x"), Some(EvidenceKind::ApiKey));
        for target in [
            &b"/oauth2/token?client_secret=x"[..],
            b"/OIDC/logout?client_secret=x",
            b"/authenticationendpoint/login.do?client_secret=x",
            b"/x?client_secret=x&grant_type=password",
            b"/x?scope=a&client_secret=x",
        ] {
            assert_eq!(secret(target), Some(EvidenceKind::ClientSecret), "{target:?}");
        }
        for target in [&b"/pets?client_id=x"[..], b"/oauth2/authorize?client_id=x"] {
            assert_eq!(in_query(b"client_id", target), None, "{target:?}");
        }
        assert_eq!(in_query(b"client", b"/pets?client=x"), None);
        assert!(is_key(b"X-IBM-Client-Id") && is_key(b"x-ibm-client-secret"));
        assert!(!is_key(b"X-Client-Id"));
    }
}
