//! What a finding says of the request it was seen in.

use std::sync::Arc;

use super::secrecy::SECRET_LEN_MIN;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "(masked)";

/// Whose request it was, where it went and how it was answered. Text as on the wire, cut, not escaped.
///
/// The texts lie one behind another in one allocation, as a million flows may have them; whatever one request
/// presents shares it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpContext {
    text: Arc<str>,
    /// Where each text but the last one ends.
    ends: [u16; 4],
    /// Where the credential was: `header`, `query`, `form`.
    pub place: &'static str,
    /// Status of the answer, once seen.
    pub status: Option<u16>,
}

impl HttpContext {
    /// Returns its memory, in bytes; `before` is counted already.
    pub(super) fn held_bytes(&self, before: Option<&Self>) -> usize {
        let shares = before.is_some_and(|before| Arc::ptr_eq(&before.text, &self.text));
        size_of::<Self>() + if shares { 0 } else { self.text.len() }
    }

    /// Returns the request's method.
    pub fn method(&self) -> &str {
        self.text(0)
    }

    /// Returns the Host header or the authority.
    pub fn host(&self) -> &str {
        self.text(1)
    }

    /// Returns the path, with the names of the query's parameters and without their values.
    pub fn path(&self) -> &str {
        self.text(2)
    }

    /// Returns the client that a proxy names: `X-Forwarded-For` or `Forwarded`.
    pub fn forwarded_for(&self) -> &str {
        self.text(3)
    }

    /// Returns the User-Agent.
    pub fn user_agent(&self) -> &str {
        self.text(4)
    }

    /// Returns the same for a credential in another place.
    pub(super) fn in_place(&self, place: &'static str) -> Self {
        Self { place, ..self.clone() }
    }

    /// Masks a secret that another request presented, where it stands in a text.
    pub(super) fn mask(&mut self, secret: &[u8]) {
        // A shorter one is too often part of something else; texts that were cut may hold a part of a longer one.
        let Some(secret) = str::from_utf8(secret).ok().filter(|it| it.len() >= SECRET_LEN_MIN)
        else {
            return;
        };
        if !self.text.contains(secret) {
            return;
        }
        let mut writer = Writer::new();
        for index in 0..=self.ends.len() {
            writer.next(|out| out.push_str(&self.text(index).replace(secret, MASK)));
        }
        *self = Self { place: self.place, status: self.status, ..writer.end() };
    }

    fn text(&self, index: usize) -> &str {
        let end = |index: usize| self.ends.get(index).map_or(self.text.len(), |end| (*end).into());
        let start = index.checked_sub(1).map_or(0, end);
        self.text.get(start..end(index)).unwrap_or("")
    }
}

/// Writes the texts of a context in their order: method, host, path, forwarded for, user agent.
#[derive(Default)]
pub(super) struct Writer {
    text: String,
    ends: [u16; 4],
    done: usize,
}

impl Writer {
    /// Begins with room for what requests usually have.
    pub(super) fn new() -> Self {
        Self { text: String::with_capacity(256), ..Self::default() }
    }

    /// Writes the next text.
    pub(super) fn next(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        if let Some(end) = self.ends.get_mut(self.done) {
            *end = u16::try_from(self.text.len()).unwrap_or(u16::MAX);
        }
        self.done += 1;
    }

    /// Returns the context.
    pub(super) fn end(self) -> HttpContext {
        let text = self.text.into();
        HttpContext { text, ends: self.ends, place: "", status: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_comes_back() {
        let mut writer = Writer::new();
        for text in ["GET", "", "/ä", "10.0.0.1", "curl"] {
            writer.next(|out| out.push_str(text));
        }
        let context = writer.end();
        let texts = [context.method(), context.host(), context.path()];
        assert_eq!(texts, ["GET", "", "/ä"]);
        assert_eq!([context.forwarded_for(), context.user_agent()], ["10.0.0.1", "curl"]);
        assert_eq!(HttpContext::default().user_agent(), "");
    }

    #[test]
    fn a_secret_goes_and_the_other_texts_stay() {
        let mut writer = Writer::new();
        for text in ["GET", "gw", "/a/secret-1/b", "10.0.0.1", "x secret-1"] {
            writer.next(|out| out.push_str(text));
        }
        let mut context = HttpContext { place: "query", status: Some(200), ..writer.end() };
        let before = context.clone();
        context.mask(b"other-1");
        context.mask(b"gw");
        assert_eq!(context, before);
        context.mask(b"secret-1");
        assert_eq!((context.host(), context.path()), ("gw", "/a/(masked)/b"));
        assert_eq!((context.forwarded_for(), context.user_agent()), ("10.0.0.1", "x (masked)"));
        assert_eq!((context.place, context.status), ("query", Some(200)));
    }
}
