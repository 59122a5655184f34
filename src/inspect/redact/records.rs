//! TLS, SSH and syslog: records and lines that say how long they are.

use super::{FILL, Step, filled};
use crate::inspect::proxy::{self, Lead};

/// The longest record (RFC 8446 §5.2, with what RFC 5246 §6.2.3 allows more).
const RECORD_LEN_MAX: usize = (1 << 14) + 2_048;

/// The longest packet that SSH must take (RFC 4253 §6.1).
const PACKET_LEN_MAX: u32 = 35_000;

/// The longest greeting (RFC 4253 §4.2).
const GREETING_LEN_MAX: usize = 255;

const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const HEARTBEAT: u8 = 24;
}

/// Tells whether bytes begin a record of TLS, as far as they are there.
pub(super) fn is_record(bytes: &[u8]) -> bool {
    let is_kind = |kind| (content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT).contains(&kind);
    match *bytes {
        [kind, 3, minor, a, b, ..] => {
            let len = usize::from(u16::from_be_bytes([a, b]));
            is_kind(kind) && minor <= 4 && len <= RECORD_LEN_MAX
        }
        [kind, 3, minor, ..] => is_kind(kind) && minor <= 4,
        [kind, 3] | [kind] => is_kind(kind),
        _ => false,
    }
}

/// Tells whether bytes begin a record of TLS that opens a connection, with its version.
pub(super) fn is_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [content::HANDSHAKE, 3, 0..=4, ..])
}

/// Shows handshakes and alerts; the application's data are overwritten, though they are encrypted: a cipher
/// suite may have none.
pub(super) fn tls(held: &[u8]) -> Step {
    // The hello of SSL 2 (RFC 5246 appendix E.2).
    if let [a, b, 1, 3 | 0, ..] = *held
        && a >= 0x80
    {
        let len = u16::from_be_bytes([a & 0x7f, b]);
        return Step::Pass(held[..2].to_vec(), u64::from(len), true);
    }
    if held.len() < 5 {
        return if is_record(held) || held[0] >= 0x80 { Step::More } else { Step::Stop };
    }
    if !is_record(held) {
        return Step::Stop;
    }
    let len = u64::from(u16::from_be_bytes([held[3], held[4]]));
    Step::Pass(held[..5].to_vec(), len, held[0] <= content::HANDSHAKE)
}

/// One side of SSH: its greeting, the offer of algorithms, then what is encrypted.
#[derive(Default)]
pub(super) struct Ssh {
    is_greeted: bool,
    has_offered: bool,
}

impl Ssh {
    pub(super) fn step(&mut self, held: &[u8]) -> Step {
        if self.has_offered {
            return Step::Stop;
        }
        if self.is_greeted {
            let Some(head) = held.first_chunk::<6>() else { return Step::More };
            let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            self.has_offered = true;
            // Only the offer (SSH_MSG_KEXINIT) is known to be in clear.
            if !(2..=PACKET_LEN_MAX).contains(&len) || head[5] != 20 {
                return Step::Stop;
            }
            return Step::Pass(head.to_vec(), u64::from(len - 2), true);
        }
        let Some(end) = held.iter().position(|byte| *byte == b'\n') else { return Step::More };
        let line = &held[..=end];
        self.is_greeted = line.starts_with(b"SSH-");
        if self.is_greeted && line.len() <= GREETING_LEN_MAX {
            return Step::Show(line.to_vec());
        }
        // Other lines may come before it.
        Step::Show([filled(line.len() - 1).as_slice(), b"\n"].concat())
    }
}

/// Shows the priority of each line (RFC 5424 §6.2.1), and where its words are.
pub(super) fn syslog(held: &[u8]) -> Step {
    match held.iter().position(|byte| matches!(byte, b'\n' | 0)) {
        Some(end) => Step::Show(syslog_line(&held[..=end])),
        None => Step::More,
    }
}

/// Shows one line.
pub(super) fn syslog_line(line: &[u8]) -> Vec<u8> {
    let mut shown: Vec<u8> =
        line.iter().map(|&byte| if b" \n\r\0".contains(&byte) { byte } else { FILL }).collect();
    // Framed by its length (RFC 6587 §3.4.1), or at once.
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let count_len = line.iter().take(6).take_while(|byte| is_digit(byte)).count();
    let begin = if count_len > 0 && line.get(count_len) == Some(&b' ') { count_len + 1 } else { 0 };
    let digits = line.iter().skip(begin + 1).take(4).take_while(|byte| is_digit(byte)).count();
    if line.get(begin) == Some(&b'<') && line.get(begin + 1 + digits) == Some(&b'>') && digits <= 3
    {
        let text_at = begin + digits + 2;
        let text = &line[text_at..];
        // A version (RFC 5424 §6.2.2) or a month (RFC 3164 §4.1.2) tells what it is.
        let is_month = |word: &[u8]| word[3] == b' ' && MONTHS.chunks(3).any(|m| m == &word[..3]);
        let more = if text.starts_with(b"1 ") {
            2
        } else if text.get(..4).is_some_and(is_month) {
            4
        } else {
            0
        };
        let end = text_at + more;
        shown[..end].copy_from_slice(&line[..end]);
    }
    shown
}

/// Shows what a load balancer puts before a connection's own bytes: addresses and ports, and no word of what
/// version 2 adds to them (the PROXY protocol).
pub(super) fn proxy_header(held: &[u8]) -> Option<Step> {
    const HEADER_LEN: usize = 16;
    let len = match proxy::lead(held) {
        Lead::Header(len) => len,
        Lead::Partial => return Some(Step::More),
        Lead::None => return None,
    };
    let mut out = held[..len].to_vec();
    if held[0] == b'P' {
        let is_plain = |byte: &u8| byte.is_ascii_hexdigit() || b".: TCPUNKOWRXY\r\n".contains(byte);
        return out.iter().all(is_plain).then_some(Step::Show(out));
    }
    let addresses_len = match held[HEADER_LEN - 3] >> 4 {
        1 => 12,
        2 => 36,
        _ => 0,
    };
    out.iter_mut().skip(HEADER_LEN + addresses_len).for_each(|byte| *byte = FILL);
    Some(Step::Show(out))
}
