//! What a JSON Web Token says of itself (RFC 7519), without what would let anybody use it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::bytes::wire_text;
use super::facts::JwtFacts;

/// Longest token that is looked into: servers refuse heads above some 48 KiB.
const TOKEN_LEN_MAX: usize = 48 << 10;

/// Characters that are kept of a text.
const TEXT_LEN_MAX: usize = 256;

/// Bytes of the shortest part with the dot before it: `{"a":1}`, encoded.
const PART_LEN_MIN: usize = 11;

/// Reads a token that is a JWT: three parts between dots, or five when it is encrypted (RFC 7516 §7.1),
/// of which the first is a JSON object that names an algorithm.
pub(super) fn read(token: &[u8]) -> Option<JwtFacts> {
    if token.len() > TOKEN_LEN_MAX || !token.starts_with(b"ey") {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (head, claims) = (parts.next()?, parts.next()?);
    let is_encrypted = match parts.count() {
        1 => false,
        3 => true,
        _ => return None,
    };
    let head = object(head)?;
    let alg = text(head.get("alg")?)?;
    let claims = if is_encrypted { None } else { object(claims) };
    let claim = |name| claims.as_ref().and_then(|claims| claims.get(name));
    Some(JwtFacts {
        alg,
        iss: claim("iss").and_then(text).unwrap_or_default(),
        exp: claim("exp").and_then(seconds),
    })
}

/// Tells whether the token has no signature: algorithm `none`, in any case (RFC 7518 §3.6).
pub(super) fn is_unsigned(jwt: &JwtFacts) -> bool {
    jwt.alg.eq_ignore_ascii_case("none")
}

/// Tells whether a credential looks like a JWT or a part of one.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(b"eyJ")
        || (bytes.len() >= PART_LEN_MIN
            && memchr::memchr_iter(b'.', bytes).any(|dot| bytes[dot + 1..].starts_with(b"eyJ")))
}

/// Decodes one part: base64url, whose padding some add.
fn object(part: &[u8]) -> Option<Value> {
    let end = part.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let json = URL_SAFE_NO_PAD.decode(&part[..end]).ok()?;
    serde_json::from_slice(&json).ok().filter(Value::is_object)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| wire_text(text.as_bytes(), TEXT_LEN_MAX))
}

/// Returns a date in seconds (RFC 7519 §2), which may have a fraction; some issuers write it as text.
fn seconds(value: &Value) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a date beyond 64 bits is as far as they go"
    )]
    let whole = |number: f64| number.is_finite().then_some(number as i64);
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in crate::inspect) fn token(head: &str, claims: &str, signature: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{signature}", part(head), part(claims))
    }

    #[test]
    fn a_token_tells_algorithm_issuer_and_expiry() {
        let token =
            token(r#"{"alg":"RS256"}"#, r#"{"iss":"https://is/","exp":17.5,"sub":"a"}"#, "s");
        let facts = read(token.as_bytes()).expect("a token");
        assert_eq!((facts.alg.as_str(), facts.iss.as_str()), ("RS256", "https://is/"));
        assert_eq!(facts.exp, Some(17));
        assert!(!is_unsigned(&facts));
        let facts =
            read(format!("{}=.e30=.", URL_SAFE_NO_PAD.encode(r#"{"alg":"nOnE"}"#)).as_bytes());
        assert!(facts.is_some_and(|facts| is_unsigned(&facts)));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let good = token(r#"{"alg":"RS256"}"#, "{}", "s");
        for bad in
            ["", "ey", "eyJ.eyJ.x", "abc.def.ghi", &good[..good.len() - 2], &format!("{good}.x")]
        {
            assert!(read(bad.as_bytes()).is_none(), "{bad}");
        }
        let deep = token(r#"{"alg":"RS256"}"#, &"[".repeat(9000), "s");
        assert_eq!(read(deep.as_bytes()).map(|facts| facts.exp), Some(None));
        assert!(read(&vec![b'e'; 1 << 20]).is_none());
    }
}
