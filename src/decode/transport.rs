//! TCP, UDP and what ICMP errors quote.

use crate::packet::{Span, TcpFlags, TcpHeader, Transport};

use super::Stop;
use super::ip::protocol;
use super::walk::{Body, Found, Segment, Step, Walk, be16, narrow};

/// A TCP header without options, in bytes.
const TCP_LEN: usize = 20;

/// The UDP header, in bytes.
const UDP_LEN: usize = 8;

impl Walk<'_> {
    /// TCP (RFC 9293 §3.1). The ports are enough: a cut frame keeps them, and so does one whose data
    /// offset cannot be; that one has no payload and no flags, so that it is counted and nothing more.
    pub(super) fn tcp(&mut self) -> Result<Step, Stop> {
        let ports = self.ports()?;
        let rest = self.rest();
        let word =
            |at| rest.get(at..).and_then(<[u8]>::first_chunk).map(|&b| u32::from_be_bytes(b));
        let header_len = rest.get(12).map_or(TCP_LEN, |byte| usize::from(byte >> 4) * 4);
        if header_len < TCP_LEN || header_len > self.wire_end.saturating_sub(self.at) {
            return self.end(self.bare(ports, Transport::Tcp));
        }
        let window = rest.get(14..).and_then(<[u8]>::first_chunk);
        let tcp = TcpHeader {
            seq: word(4).unwrap_or(0),
            ack: word(8).unwrap_or(0),
            window: window.map_or(0, |&bytes| be16(bytes)),
            flags: TcpFlags(rest.get(13).copied().unwrap_or(0)),
        };
        let (payload, cut_len) = self.payload(header_len);
        self.end(Body { ports, transport: Transport::Tcp, tcp, payload, cut_len })
    }

    /// UDP (RFC 768). A length of 0 is a jumbogram's (RFC 2675 §4) or left to the network card.
    pub(super) fn udp(&mut self) -> Result<Step, Stop> {
        let ports = self.ports()?;
        let bare = self.bare(ports, Transport::Udp);
        let wire_len = self.wire_end.saturating_sub(self.at);
        let stated = self.rest().get(4..).and_then(<[u8]>::first_chunk);
        let stated = stated.map_or(0, |&bytes| usize::from(be16(bytes)));
        if wire_len < UDP_LEN || (1..UDP_LEN).contains(&stated) {
            return self.end(bare);
        }
        if (UDP_LEN..wire_len).contains(&stated) {
            self.limit(stated);
        }
        let (payload, cut_len) = self.payload(UDP_LEN);
        let body = Body { payload, cut_len, ..bare };
        match self.rules.tunnel(ports) {
            Some(tunnel) if !self.is_quote && payload.len > 0 => {
                self.keep_outer(self.segment(body)?);
                self.skip(UDP_LEN)?;
                self.udp_tunnel(tunnel)
            }
            _ => self.end(body),
        }
    }

    /// An ICMP or `ICMPv6` message (RFC 792, RFC 4443). It joins no flow; an error that says that a packet
    /// was refused quotes its beginning.
    pub(super) fn icmp(&mut self, number: u8) -> Result<Step, Stop> {
        if self.is_quote {
            return Err(Stop::Icmp);
        }
        let is_refusal = match (number, self.peek::<2>()) {
            // Net, host, protocol, port unreachable, and three kinds of prohibited; not "fragmentation
            // needed" (4), which refuses nothing.
            (protocol::ICMP, Ok([3, code])) => matches!(code, 0..=3 | 9 | 10 | 13),
            // No route, prohibited, address and port unreachable, policy, reject route.
            (protocol::ICMPV6, Ok([1, code])) => matches!(code, 0 | 1 | 3..=6),
            _ => false,
        };
        if !is_refusal {
            return Err(Stop::Icmp);
        }
        self.skip(8).map_err(|_| Stop::Icmp)?;
        let wire_len = self.wire_end.saturating_sub(self.at);
        let mut quote = Walk::new(self.rest(), wire_len, self.rules);
        quote.is_quote = true;
        match quote.run(Step::Ip) {
            Ok(Found::Segment(segment)) => {
                let depth = self.layers.depth();
                Ok(Step::End(Found::Refused(Segment { depth, ..segment })))
            }
            _ => Err(Stop::Icmp),
        }
    }

    fn ports(&self) -> Result<[u16; 2], Stop> {
        let &[a, b, c, d] = self.peek::<4>()?;
        Ok([be16([a, b]), be16([c, d])])
    }

    /// Returns a packet of which nothing but the ports is known.
    fn bare(&self, ports: [u16; 2], transport: Transport) -> Body {
        let payload = Span { start: narrow(self.end), len: 0 };
        Body { ports, transport, tcp: TcpHeader::default(), payload, cut_len: 0 }
    }

    fn segment(&self, body: Body) -> Result<Segment, Stop> {
        let ends = self.ends.ok_or(Stop::Malformed)?;
        Ok(Segment { ends, body, depth: self.layers.depth() })
    }

    fn end(&self, body: Body) -> Result<Step, Stop> {
        self.segment(body).map(|segment| Step::End(Found::Segment(segment)))
    }

    /// Returns where the payload after a header lies, and how much of it was cut.
    fn payload(&self, header_len: usize) -> (Span, u32) {
        let begin = self.at + header_len;
        let start = begin.min(self.end);
        let cut = self.wire_end.saturating_sub(self.end.max(begin));
        (Span { start: narrow(start), len: narrow(self.end - start) }, narrow(cut))
    }
}
