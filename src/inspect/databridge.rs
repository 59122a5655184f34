//! WSO2's binary databridge (`BinaryEventSender.java`, `BinaryDataReceiver.java`): type, size, body. A login
//! in clear carries a password; events are passed over.

use super::bytes::{Reader, is_text, is_uuid};
use super::frames::{Frame, Frames, Next, Size};
use super::look::{Fault, Look, OrShort, any_of, ensure, verdict};
use super::probe::Start;
use super::{Context, EvidenceKind, Inspector, Probe, Progress, Sender, Uninspected};
use crate::packet::{At, Side};

/// Largest frame that is believed: a batch of events has some megabytes at most.
const SIZE_MAX: u32 = 64 << 20;

/// Longest user name or password that is believed.
const NAME_LEN_MAX: u32 = 1024;

/// Bytes of one frame that are held: a login's two strings.
const HELD_MAX: usize = 4 << 10;

/// Length of type and size.
const HEADER_LEN: u64 = 5;

/// Frames of the client.
mod kind {
    pub(super) const LOGIN: u8 = 0;
    pub(super) const LOGOUT: u8 = 1;
    pub(super) const PUBLISH: u8 = 2;
}

/// Looks at the first bytes of one side.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[request(start.bytes), answer(start.bytes)]))
}

fn request(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    let kind = reader.expect_u8(|kind| kind <= kind::PUBLISH)?;
    let size = reader.u32().or_short()?;
    // Two lengths and a user name; a session; a session and a count.
    let size_min = match kind {
        kind::LOGIN => 9,
        kind::LOGOUT => 40,
        _ => 44,
    };
    ensure((size_min..=SIZE_MAX).contains(&size))?;
    let first = reader.u32().or_short()?;
    match kind {
        kind::LOGIN => {
            ensure((1..=NAME_LEN_MAX).contains(&first))?;
            let password_len = reader.u32().or_short()?;
            ensure(password_len <= NAME_LEN_MAX && size == 8 + first + password_len)?;
            // A long name does not fit into what is kept.
            let shown = (first as usize).min(256);
            let name = &reader.rest()[..reader.rest().len().min(shown)];
            ensure(is_text(name))?;
            reader.take(shown).or_short()?;
        }
        kind::LOGOUT => {
            ensure(size == 40 && first == 36)?;
            session(&mut reader)?;
        }
        _ => {
            ensure(size >= 44 && first == 36)?;
            session(&mut reader)?;
        }
    }
    Ok(Sender::Initiator)
}

/// Takes a session's identifier: a UUID.
fn session(reader: &mut Reader<'_>) -> Look<()> {
    let id = reader.expect_all(36, |byte| byte.is_ascii_hexdigit() || byte == b'-')?;
    ensure(is_uuid(id))
}

/// An answer that tells the session, or an error by its class; "0" alone says nothing.
fn answer(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    match reader.u8().or_short()? {
        2 => {
            ensure(reader.u32().or_short()? == 36)?;
            session(&mut reader)?;
        }
        1 => {
            let class_len = reader.u32().or_short()?;
            ensure((20..=512).contains(&class_len))?;
            ensure(reader.u32().or_short()? <= 1 << 20)?;
            reader.expect(b"org.wso2.carbon.databridge.")?;
        }
        _ => return Err(Fault::Bad),
    }
    Ok(Sender::Responder)
}

/// The databridge's reader.
pub struct Databridge {
    client: Side,
    requests: Frames,
}

impl Databridge {
    /// Begins with the side that publishes.
    pub fn new(client: Side) -> Self {
        Self { client, requests: Frames::new(HELD_MAX) }
    }

    /// Returns the memory of what is held until more comes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.requests.held_bytes()
    }
}

/// Counts a login.
fn read(frame: &Frame<'_>, context: &mut Context<'_>) {
    let mut reader = Reader::new(frame.bytes);
    if reader.u8() != Some(kind::LOGIN) {
        return;
    }
    let mut credentials = || {
        let [_, user_len, password_len] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let user = reader.take_upto(usize::try_from(user_len).ok()?);
        Some((user, reader.take_upto(usize::try_from(password_len).ok()?), password_len))
    };
    match credentials() {
        Some((user, password, _)) if !password.is_empty() => {
            context.login(EvidenceKind::DatabridgeLogin, frame.at, user, password);
        }
        Some((_, _, 1..)) => context.facts.uninspected.add(Uninspected::LIMIT),
        _ => {}
    }
}

fn size(head: &[u8]) -> Size {
    match head {
        [kind, ..] if *kind > kind::PUBLISH => Size::Bad,
        [_, a, b, c, d, ..] => match u32::from_be_bytes([*a, *b, *c, *d]) {
            size @ 0..=SIZE_MAX => Size::Is(HEADER_LEN + u64::from(size)),
            _ => Size::Bad,
        },
        _ => Size::Need(5),
    }
}

impl Inspector for Databridge {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        if side != self.client {
            return Progress::More;
        }
        if self.requests.is_lost() && request(bytes).is_ok() {
            self.requests = Frames::new(HELD_MAX);
        }
        self.requests.push(bytes, at, size, |frame| {
            read(&frame, context);
            Next::Go
        });
        Progress::More
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        if side == self.client && !self.requests.gap(len) {
            context.facts.uninspected.add(Uninspected::HOLE);
        }
        Progress::More
    }

    fn close(&mut self, _side: Side, _context: &mut Context<'_>) -> Progress {
        Progress::More
    }

    fn skippable(&self, side: Side) -> u64 {
        if side != self.client {
            return u64::MAX;
        }
        // A lost side waits for a frame to begin.
        if self.requests.is_lost() { 0 } else { self.requests.skippable() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Protocol;
    use crate::inspect::testing::{
        CLIENT, SERVER, Talk, evidence, from_client, named_in_all_pieces, never_named,
        same_in_all_pieces, survives_mutations,
    };

    const SESSION: &[u8] = b"123e4567-e89b-12d3-a456-426614174000";

    fn number(value: usize) -> [u8; 4] {
        u32::try_from(value).unwrap().to_be_bytes()
    }

    fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[kind], &number(body.len())[..], &body].concat()
    }

    fn login(user: &[u8], password: &[u8]) -> Vec<u8> {
        frame(0, &[&number(user.len()), &number(password.len()), user, password])
    }

    fn publish(payload: &[u8]) -> Vec<u8> {
        let stream = b"org.wso2.throttle.request.stream:1.0.0";
        let event = [&[0; 8][..], &number(stream.len()), stream, payload].concat();
        let events = [&number(1)[..], &number(event.len()), &event].concat();
        frame(2, &[&number(36), SESSION, &events])
    }

    fn talk() -> Talk {
        vec![
            (CLIENT, login(b"admin", b"admin")),
            (SERVER, [&[2][..], &number(36), SESSION].concat()),
            (CLIENT, publish(&[0; 6000])),
            (SERVER, vec![0]),
            (CLIENT, login(b"publisher", b"canary")),
            (CLIENT, frame(1, &[&number(36), SESSION])),
        ]
    }

    #[test]
    fn logins_count_and_events_are_passed_over() {
        let facts = crate::inspect::testing::read(Databridge::new(CLIENT), &talk());
        let expected =
            [(EvidenceKind::DatabridgeLogin, 2, 1), (EvidenceKind::DefaultCredentials, 1, 1)];
        assert_eq!(evidence(&facts), expected);
        let mut short = talk();
        short[2].1 = publish(&[0; 40]);
        same_in_all_pieces(|| Databridge::new(CLIENT), &short);
        survives_mutations(|| Databridge::new(CLIENT), &short);
    }

    #[test]
    fn every_frame_names_it() {
        let outcome = from_client(Protocol::Databridge);
        named_in_all_pieces(outcome, CLIENT, &login(b"admin", b"canary"));
        named_in_all_pieces(outcome, CLIENT, &publish(b"x"));
        named_in_all_pieces(outcome, CLIENT, &frame(1, &[&number(36), SESSION]));
        named_in_all_pieces(outcome, SERVER, &talk()[1].1);
        let class = b"org.wso2.carbon.databridge.commons.exception.AuthenticationException";
        let error = [&[1][..], &number(class.len()), &number(4), class, b"none"].concat();
        named_in_all_pieces(outcome, SERVER, &error);
    }

    #[test]
    fn lengths_must_agree() {
        for place in [0, 4, 8, 12] {
            let mut wrong = login(b"admin", b"canary");
            wrong[place] ^= 1;
            never_named(&[(CLIENT, wrong)]);
        }
        never_named(&[(CLIENT, login(b"ad\0in", b"canary"))]);
        never_named(&[(CLIENT, vec![0; 64])]);
        never_named(&[(SERVER, vec![0])]);
    }
}
