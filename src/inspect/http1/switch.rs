//! What a connection goes on with after an Upgrade or a CONNECT.

use crate::inspect::http2::Http2;
use crate::inspect::tunnel::Tunnel;
use crate::inspect::websocket::WebSocket;
use crate::inspect::{Context, Inspector, Progress};
use crate::packet::{At, Side};

/// Which protocol a request asked to go on with.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::inspect) enum Upgrade {
    /// None.
    #[default]
    None,
    /// `WebSocket` (RFC 6455).
    WebSocket,
    /// HTTP/2 (RFC 7540 §3.2).
    Http2,
    /// Any other, or whatever a tunnel carries.
    Other,
}

impl Upgrade {
    /// Reads the header's value: the protocol that is known among those that are offered.
    pub(super) fn of(value: &[u8]) -> Self {
        let mut upgrade = Self::None;
        for offer in value.split(|byte| *byte == b',').map(super::head::trim) {
            let name = offer.split(|byte| *byte == b'/').next().unwrap_or(offer);
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            match upgrade {
                _ if is(b"websocket") => return Self::WebSocket,
                Self::None | Self::Other if is(b"h2c") => upgrade = Self::Http2,
                Self::None if !name.is_empty() => upgrade = Self::Other,
                _ => {}
            }
        }
        upgrade
    }
}

/// The reader of what follows.
pub(super) enum Next {
    /// HTTP/2, whose stream 1 is the request that asked.
    Http2(Box<Http2>),
    /// To be recognised.
    Tunnel(Box<Tunnel>),
    /// WebSocket.
    WebSocket(Box<WebSocket>),
}

impl Inspector for Next {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http2(http2) => http2.data(side, at, bytes, context),
            Self::Tunnel(tunnel) => tunnel.data(side, at, bytes, context),
            Self::WebSocket(frames) => frames.data(side, at, bytes, context),
        }
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http2(http2) => http2.gap(side, len, context),
            Self::Tunnel(tunnel) => tunnel.gap(side, len, context),
            Self::WebSocket(frames) => frames.gap(side, len, context),
        }
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        match self {
            Self::Http2(http2) => http2.close(side, context),
            Self::Tunnel(tunnel) => tunnel.close(side, context),
            Self::WebSocket(frames) => frames.close(side, context),
        }
    }

    fn skippable(&self, side: Side) -> u64 {
        match self {
            Self::Http2(http2) => http2.skippable(side),
            Self::Tunnel(tunnel) => tunnel.skippable(side),
            Self::WebSocket(frames) => frames.skippable(side),
        }
    }
}
