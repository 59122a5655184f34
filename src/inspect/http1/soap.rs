//! Finds a `UsernameToken` in a SOAP message (WS-Security UsernameToken Profile 1.1.1 §3).
//!
//! Goes over the tags of the message's header and no further: comments, quoted markup and the body are
//! not asked.

use super::head::trim;

/// What a message's beginning holds.
pub(super) enum Found {
    /// A user with a password, or with its digest.
    Token {
        /// The name.
        user: Vec<u8>,
        /// The password; empty where a digest of it stands there.
        password: Vec<u8>,
    },
    /// No token, or one without a password.
    Nothing,
    /// The header goes on behind what is there.
    Unfinished,
}

/// Which element's text is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Other,
    Token,
    User,
    Password,
}

/// Looks for the token.
pub(super) fn username_token(xml: &[u8]) -> Found {
    let (mut user, mut password) = (Vec::new(), Vec::new());
    let mut inside = Inside::Other;
    let (mut is_envelope, mut is_digest) = (false, false);
    let mut rest = xml;
    loop {
        let Some(open) = memchr::memchr(b'<', rest) else { return Found::Unfinished };
        let (text, behind) = (&rest[..open], &rest[open + 1..]);
        match inside {
            Inside::User => user.extend_from_slice(text),
            Inside::Password => password.extend_from_slice(text),
            Inside::Other | Inside::Token => {}
        }
        let Some((markup, behind)) = markup(behind) else { return Found::Unfinished };
        rest = behind;
        let token = |user: &[u8], password: &[u8], is_digest| {
            let password = if is_digest { Vec::new() } else { trimmed(password) };
            Found::Token { user: trimmed(user), password }
        };
        let (name, is_end) = match markup {
            Markup::Text(text) => {
                match inside {
                    Inside::User => user.extend_from_slice(text),
                    Inside::Password => password.extend_from_slice(text),
                    Inside::Other | Inside::Token => {}
                }
                continue;
            }
            Markup::Skip => continue,
            Markup::Start(name, tag) => {
                // The profile's name for the type ends so (§3.1); without one it is a password's text.
                is_digest |= name == b"Password" && memchr::memmem::find(tag, DIGEST).is_some();
                (name, false)
            }
            Markup::End(name) => (name, true),
        };
        inside = match (inside, name, is_end) {
            (_, b"Body", _) | (_, b"Header" | b"Envelope", true) => return Found::Nothing,
            (_, b"Envelope", false) => {
                is_envelope = true;
                Inside::Other
            }
            _ if !is_envelope => return Found::Nothing,
            (Inside::Other, b"UsernameToken", false) | (Inside::User, b"Username", true) => {
                Inside::Token
            }
            (Inside::Token, b"Username", false) => Inside::User,
            (Inside::Token, b"Password", false) => Inside::Password,
            (Inside::Password, b"Password", true) => {
                if !trim(&password).is_empty() && !trim(&user).is_empty() {
                    return token(&user, &password, is_digest);
                }
                Inside::Token
            }
            (_, b"UsernameToken", true) => {
                if !trim(&password).is_empty() {
                    return token(&user, &password, is_digest);
                }
                Inside::Other
            }
            (inside, ..) => inside,
        };
    }
}

/// What the type of a digest ends with.
const DIGEST: &[u8] = b"#PasswordDigest";

fn trimmed(text: &[u8]) -> Vec<u8> {
    trim(text).to_vec()
}

/// What begins with `<`.
enum Markup<'a> {
    /// A start tag's local name, and all of it.
    Start(&'a [u8], &'a [u8]),
    /// An end tag's local name.
    End(&'a [u8]),
    /// A CDATA section's text.
    Text(&'a [u8]),
    /// A comment, an instruction, a declaration, an empty element.
    Skip,
}

/// Reads markup behind its `<`; returns it and what follows.
fn markup(bytes: &[u8]) -> Option<(Markup<'_>, &[u8])> {
    let until = |skip: usize, end: &[u8]| {
        let body = bytes.get(skip..)?;
        let len = memchr::memmem::find(body, end)?;
        Some((&body[..len], &body[len + end.len()..]))
    };
    if bytes.starts_with(b"!--") {
        return until(3, b"-->").map(|(_, rest)| (Markup::Skip, rest));
    }
    if bytes.starts_with(b"![CDATA[") {
        return until(8, b"]]>").map(|(text, rest)| (Markup::Text(text), rest));
    }
    if bytes.starts_with(b"?") {
        return until(1, b"?>").map(|(_, rest)| (Markup::Skip, rest));
    }
    let (mut at, mut quote) = (0, None);
    loop {
        let byte = *bytes.get(at)?;
        match (byte, quote) {
            (b'>', None) => break,
            (b'"' | b'\'', None) => quote = Some(byte),
            (byte, Some(open)) if byte == open => quote = None,
            _ => {}
        }
        at += 1;
    }
    let (tag, rest) = (&bytes[..at], &bytes[at + 1..]);
    let markup = match tag {
        [b'!', ..] => Markup::Skip,
        [b'/', tag @ ..] => Markup::End(local_name(tag)),
        // An empty element is nobody's name and no password, and the body is one that ends the header.
        [tag @ .., b'/'] if local_name(tag) != b"Body" => Markup::Skip,
        tag => Markup::Start(local_name(tag), tag),
    };
    Some((markup, rest))
}

/// Returns a tag's name without its prefix.
fn local_name(tag: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'/';
    let name = tag.split(is_end).next().unwrap_or(tag);
    name.rsplit(|byte| *byte == b':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "<wsse:UsernameToken wsu:Id='a>b'><wsse:Username>admin</wsse:Username>\
        <wsse:Password Type=\"x#PasswordText\">admin</wsse:Password></wsse:UsernameToken>";

    fn envelope(header: &str, body: &str) -> String {
        format!(
            "<?xml version='1.0'?>\n<s:Envelope xmlns:s='x'><s:Header><wsse:Security>{header}\
             </wsse:Security></s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
    }

    fn found(xml: &str) -> Option<(String, String)> {
        match username_token(xml.as_bytes()) {
            Found::Token { user, password } => {
                Some((String::from_utf8(user).unwrap(), String::from_utf8(password).unwrap()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_token_in_the_header_is_found_in_its_spellings() {
        let admin = Some(("admin".to_owned(), "admin".to_owned()));
        assert_eq!(found(&envelope(TOKEN, "")), admin);
        let odd = "<!-- > --><UsernameToken ><Password><![CDATA[admin]]></Password><Created/>\
            <Username > admin</Username ></UsernameToken >";
        assert_eq!(found(&envelope(odd, "")), admin);
        assert_eq!(
            found(&format!("--part\r\nContent-Type: x\r\n\r\n{}", envelope(TOKEN, ""))),
            admin
        );
    }

    #[test]
    fn a_digest_is_no_password() {
        let digest = TOKEN.replace("x#PasswordText", "x#PasswordDigest");
        assert_eq!(found(&envelope(&digest, "")), Some(("admin".to_owned(), String::new())));
    }

    #[test]
    fn near_misses_are_none() {
        let empty = TOKEN.replace(">admin</wsse:Password", "></wsse:Password");
        for xml in [
            envelope("", TOKEN),
            envelope(&format!("<!-- {TOKEN} -->"), ""),
            envelope(&format!("<![CDATA[{TOKEN}]]>"), ""),
            envelope(&empty, ""),
            TOKEN.to_owned(),
            format!("<other>{TOKEN}</other>"),
        ] {
            assert!(found(&xml).is_none(), "{xml}");
        }
        let whole = envelope(TOKEN, "");
        let end = whole.find("</wsse:Password").unwrap();
        for len in 0..=end {
            assert!(found(&whole[..len]).is_none());
        }
    }
}
