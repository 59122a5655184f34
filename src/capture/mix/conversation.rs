//! One made-up connection, packet by packet.

#![expect(clippy::cast_possible_truncation, reason = "made-up numbers are meant to be cut")]

use std::collections::VecDeque;
use std::fmt::Write;

use super::{Dice, Recipe};
use crate::packet::TcpFlags;

const ACK: u8 = TcpFlags::ACK;
const PSH: u8 = 0x08;

/// Payload of a full segment on Ethernet with TCP time stamps.
const SEGMENT_LEN: usize = 1448;

/// What one step added to the traffic.
#[derive(Default)]
pub(super) struct Step {
    /// Requests whose head ended with it.
    pub(super) requests: u64,
    /// Of these, with a bearer token.
    pub(super) tokens: u64,
    /// Nothing follows.
    pub(super) over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Opaque,
}

/// A connection between a client and a server.
pub(super) struct Conversation {
    kind: Kind,
    client: [u8; 4],
    server: [u8; 4],
    ports: [u16; 2],
    /// Next sequence number of client and server.
    next: [u32; 2],
    waiting: VecDeque<Segment>,
    rounds: u64,
    small: bool,
    is_new: bool,
    has_token: bool,
    serial: u64,
    ident: u16,
}

/// A segment that is still to be sent.
struct Segment {
    from_client: bool,
    flags: u8,
    seq: u32,
    payload: Vec<u8>,
    requests: u64,
    tokens: u64,
}

impl Conversation {
    /// Opens a connection of so many exchanges.
    pub(super) fn begin(recipe: Recipe, serial: u64, rounds: u64, dice: &mut Dice) -> Self {
        let small = recipe == Recipe::Small;
        let (kind, port) = match (small, dice.below(100)) {
            (false, 0..67) => (Kind::Http, 8280),
            (false, 67..88) => (Kind::Opaque, 8243),
            (false, 88..95) => (Kind::Opaque, 9443),
            (false, _) => (Kind::Opaque, 9711),
            (true, roll) => (Kind::Opaque, [7611, 9611, 5672, 9999, 40_404][roll as usize % 5]),
        };
        let client = [10, 20, (serial >> 8) as u8 & 0x3f, serial as u8];
        let server = [10, 0, 3, 10 + dice.below(4) as u8];
        let client_port = 1024 + ((serial >> 14) * 7 + dice.below(60_000)) as u16 % 60_000;
        let mut it = Self {
            kind,
            client,
            server,
            ports: [client_port, port],
            next: [dice.roll() as u32, dice.roll() as u32],
            waiting: VecDeque::new(),
            rounds,
            small,
            is_new: true,
            has_token: false,
            serial,
            ident: 0,
        };
        it.add(true, TcpFlags::SYN, Vec::new());
        it.add(false, TcpFlags::SYN | ACK, Vec::new());
        it.add(true, ACK, Vec::new());
        it
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn has_token(&self) -> bool {
        self.has_token
    }

    /// Sends the next packet.
    pub(super) fn step(&mut self, out: &mut Vec<u8>, dice: &mut Dice) -> Step {
        self.is_new = false;
        if self.waiting.is_empty() {
            self.rounds -= 1;
            match self.kind {
                Kind::Http => self.http_exchange(dice),
                Kind::Opaque => self.opaque_exchange(dice),
            }
            if self.rounds == 0 {
                self.add(true, ACK | TcpFlags::FIN, Vec::new());
                self.add(false, ACK | TcpFlags::FIN, Vec::new());
                self.add(true, ACK, Vec::new());
            }
        }
        let Some(segment) = self.waiting.pop_front() else { return Step::default() };
        self.write(&segment, out);
        self.has_token |= segment.tokens > 0;
        let over = self.waiting.is_empty() && self.rounds == 0;
        Step { requests: segment.requests, tokens: segment.tokens, over }
    }

    fn http_exchange(&mut self, dice: &mut Dice) {
        let token = dice.percent(30);
        let mut head = format!(
            "GET /pizzashack/1.0.0/menu/{} HTTP/1.1\r\nHost: gw.example.org:8280\r\n\
             User-Agent: Apache-HttpClient/4.5.13 (Java/11.0.19)\r\nAccept: application/json\r\n\
             Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\
             X-Request-Id: {:016x}\r\n",
            dice.below(100_000),
            dice.roll()
        );
        let name_at = head.len();
        if token {
            head.push_str("Authorization: Bearer canary");
            for _ in 0..24 {
                let _ = write!(head, "{:08x}", self.serial.wrapping_mul(0x9e37_79b9) as u32);
            }
            head.push_str("\r\n");
        }
        let _ = write!(head, "activityid: {:032x}\r\n\r\n", dice.roll());
        let cut = match dice.below(100) {
            // One token in ten is split, and four of these inside the header's name.
            0..4 => Some(name_at + 1 + dice.below(12) as usize),
            4..10 => Some(name_at + 14 + dice.below(60) as usize),
            _ => None,
        };
        match cut.filter(|cut| *cut < head.len()) {
            None => self.add(true, ACK | PSH, head.into_bytes()),
            Some(cut) => {
                let rest = head.split_off(cut);
                self.add(true, ACK, head.into_bytes());
                self.add(true, ACK | PSH, rest.into_bytes());
                if dice.percent(9) {
                    let last = self.waiting.len() - 1;
                    self.waiting.swap(last - 1, last);
                }
            }
        }
        if let Some(last) = self.waiting.back_mut() {
            last.requests = 1;
            last.tokens = u64::from(token);
        }
        if dice.percent(1) {
            self.repeat_last();
        }
        self.add(false, ACK, Vec::new());
        let body_len = 600 + dice.below(5600) as usize;
        let mut response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: WSO2-PassThrough-HTTP\r\n\
             Content-Length: {body_len}\r\n\r\n"
        )
        .into_bytes();
        let line =
            b"{\"name\":\"BBQ Chicken Bacon\",\"price\":\"27.99\",\"icon\":\"/images/6.png\"},";
        response.extend(line.iter().cycle().take(body_len));
        for chunk in response.chunks(SEGMENT_LEN) {
            self.add(false, ACK, chunk.to_vec());
        }
        self.add(true, ACK, Vec::new());
        if response.len() > 2 * SEGMENT_LEN {
            self.add(true, ACK, Vec::new());
        }
    }

    fn opaque_exchange(&mut self, dice: &mut Dice) {
        let sizes: &[u64] = if self.small { &[10, 20] } else { &[700, 1448, 1448, 900] };
        for (index, size) in sizes.iter().enumerate() {
            let from_client = index == 0;
            let len = (size / 2 + dice.below(*size)).clamp(8, SEGMENT_LEN as u64) as usize;
            let payload = if self.small { binary(len, dice) } else { tls_record(len, dice) };
            self.add(from_client, ACK | PSH, payload);
        }
        if !self.small {
            self.add(true, ACK, Vec::new());
            self.add(false, ACK, Vec::new());
        }
    }

    /// Sends the last segment again: the same bytes, counted in nothing.
    fn repeat_last(&mut self) {
        let Some(last) = self.waiting.back() else { return };
        let again = Segment {
            from_client: last.from_client,
            flags: last.flags,
            seq: last.seq,
            payload: last.payload.clone(),
            requests: 0,
            tokens: 0,
        };
        self.waiting.push_back(again);
    }

    fn add(&mut self, from_client: bool, flags: u8, payload: Vec<u8>) {
        let next = &mut self.next[usize::from(!from_client)];
        let seq = *next;
        let spent = u32::from(flags & (TcpFlags::SYN | TcpFlags::FIN) != 0);
        *next = next.wrapping_add(payload.len() as u32 + spent);
        self.waiting.push_back(Segment {
            from_client,
            flags,
            seq,
            payload,
            requests: 0,
            tokens: 0,
        });
    }

    fn write(&mut self, segment: &Segment, out: &mut Vec<u8>) {
        let (src, dst, ports) = if segment.from_client {
            (self.client, self.server, self.ports)
        } else {
            (self.server, self.client, [self.ports[1], self.ports[0]])
        };
        let ack =
            if segment.flags & ACK == 0 { 0 } else { self.next[usize::from(segment.from_client)] };
        self.ident = self.ident.wrapping_add(1);
        out.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        let ip_len = (20 + 20 + segment.payload.len()) as u16;
        out.extend_from_slice(&[0x45, 0]);
        out.extend_from_slice(&ip_len.to_be_bytes());
        out.extend_from_slice(&self.ident.to_be_bytes());
        out.extend_from_slice(&[0x40, 0, 64, 6, 0, 0]);
        out.extend_from_slice(&src);
        out.extend_from_slice(&dst);
        out.extend_from_slice(&ports[0].to_be_bytes());
        out.extend_from_slice(&ports[1].to_be_bytes());
        out.extend_from_slice(&segment.seq.to_be_bytes());
        out.extend_from_slice(&ack.to_be_bytes());
        out.extend_from_slice(&[0x50, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
        out.extend_from_slice(&segment.payload);
    }
}

/// An application data record of TLS 1.2 (RFC 5246 §6.2.3) that fills a segment.
fn tls_record(len: usize, dice: &mut Dice) -> Vec<u8> {
    let body = (len.max(6) - 5) as u16;
    let mut record = vec![0x17, 3, 3];
    record.extend_from_slice(&body.to_be_bytes());
    record.extend(binary(usize::from(body), dice));
    record
}

/// Bytes that are no protocol: the first one is no letter and no length.
fn binary(len: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&(dice.roll() | 0x80).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
