//! Finds an issued token in a JSON answer (RFC 6749 §5.1), without building a document.

/// Longest name of a member that matters.
const NAME_LEN_MAX: usize = 32;

/// Depth of objects and arrays that is followed.
const DEPTH_MAX: usize = 64;

/// Returns the first non-empty token that the answer issues, of a beginning of it.
///
/// The names are RFC 6749's at the top, and those of WSO2's own interfaces at the top or one below
/// (`{"token":{"accessToken":…}}`). A member deeper inside is an echo or an example.
pub(super) fn issued_token(json: &[u8]) -> Option<Vec<u8>> {
    // Most answers hold no token, and need not be read for that.
    memchr::memmem::find(json, b"oken")?;
    let mut is_object = [false; DEPTH_MAX];
    let mut depth = 0;
    let mut name: &[u8] = &[];
    let mut is_value = false;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                *is_object.get_mut(depth)? = *byte == b'{';
                depth += 1;
                (name, is_value) = (&[], false);
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                is_value = false;
            }
            b':' => is_value = true,
            b',' => (name, is_value) = (&[], false),
            b'"' => {
                let len = string_len(&json[at..])?;
                let text = &json[at..at + len];
                at += len + 1;
                if is_value {
                    if is_token_name(name, depth) && !text.is_empty() {
                        return Some(unescaped(text));
                    }
                } else if depth > 0 && is_object[depth - 1] {
                    name = text;
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the length of a string up to its closing quote.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn is_token_name(name: &[u8], depth: usize) -> bool {
    if name.len() > NAME_LEN_MAX {
        return false;
    }
    match unescaped(name).as_slice() {
        b"access_token" | b"refresh_token" => depth == 1,
        b"accessToken" | b"refreshToken" => depth <= 2,
        _ => false,
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    if memchr::memchr(b'\\', text).is_none() {
        return text.to_vec();
    }
    let quoted = [b"\"", text, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).map_or_else(|_| text.to_vec(), String::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_where_an_answer_issues_them() {
        for answer in [
            r#"{"access_token":"abc"}"#,
            r#" {"scope":"a \"b\"", "access_token" : "abc", "x": [1"#,
            r#"{"a":{"b":[{}]},"refresh_token":"abc"}"#,
            r#"{"access\u005ftoken":"abc"}"#,
            r#"{"keyType":"SANDBOX","token":{"accessToken":"abc"}}"#,
        ] {
            assert_eq!(issued_token(answer.as_bytes()).as_deref(), Some(&b"abc"[..]), "{answer}");
        }
    }

    #[test]
    fn near_misses_are_none() {
        for answer in [
            r#"{"access_token":""}"#,
            r#"{"access_token":null,"token_type":"Bearer"}"#,
            r#"{"access_token":{"type":"string"}}"#,
            r#"{"access_token":["abc"]}"#,
            r#"{"error":"no \"access_token\":\"abc\" here"}"#,
            r#"{"args":{"access_token":"abc"}}"#,
            r#"["access_token","abc"]"#,
            r#"{"names":"access_token","x":"abc"}"#,
            r#"{"access_token":"ab"#,
            r#"{"access_token":"abc\"#,
            "access_token",
            "]]]]\"token",
        ] {
            assert!(issued_token(answer.as_bytes()).is_none(), "{answer}");
        }
        let deep = "[".repeat(100) + r#"{"access_token":"abc"}"#;
        assert!(issued_token(deep.as_bytes()).is_none());
    }
}
