//! The reader of a recognised protocol.

use super::http1::Http1;
use super::http2::Http2;
use super::tls::Tls;
use super::{Context, Inspector, Progress, Protocol};
use crate::packet::{At, Side};

/// One protocol's reader. An enum and not a trait object: it lives in place, and `match` says what there is.
pub enum Inspection {
    /// HTTP/1.
    Http(Box<Http1>),
    /// HTTP/2 in clear.
    Http2(Box<Http2>),
    /// TLS, until it encrypts.
    Tls(Tls),
    /// Recognised, and nothing of it is read.
    Named,
}

impl Inspection {
    /// Begins to read a protocol whose client is on the given side; `midway` tells for each side whether
    /// its stream was joined after its beginning.
    pub fn begin(protocol: Protocol, client: Side, midway: [bool; 2]) -> Self {
        match protocol {
            Protocol::Http => Self::Http(Box::new(Http1::new(client).midway(midway))),
            Protocol::Http2 => Self::Http2(Box::new(Http2::new(client).midway(midway))),
            Protocol::Tls => Self::Tls(Tls::new(client)),
            _ => Self::Named,
        }
    }

    /// Begins to read what runs inside another conversation, at a depth of so many around it.
    pub(super) fn nested(protocol: Protocol, client: Side, depth: u8) -> Self {
        match protocol {
            Protocol::Http => Self::Http(Box::new(Http1::new(client).nested(depth))),
            _ => Self::begin(protocol, client, [false; 2]),
        }
    }
}

impl Inspector for Inspection {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http(http) => http.data(side, at, bytes, context),
            Self::Http2(http2) => http2.data(side, at, bytes, context),
            Self::Tls(tls) => tls.data(side, at, bytes, context),
            Self::Named => Progress::Enough,
        }
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http(http) => http.gap(side, len, context),
            Self::Http2(http2) => http2.gap(side, len, context),
            Self::Tls(tls) => tls.gap(side, len, context),
            Self::Named => Progress::Enough,
        }
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http(http) => http.close(side, context),
            Self::Http2(http2) => http2.close(side, context),
            Self::Tls(tls) => tls.close(side, context),
            Self::Named => Progress::Enough,
        }
    }

    fn skippable(&self, side: Side) -> u64 {
        match self {
            Self::Http(http) => http.skippable(side),
            Self::Http2(http2) => http2.skippable(side),
            Self::Tls(tls) => tls.skippable(side),
            Self::Named => u64::MAX,
        }
    }
}
