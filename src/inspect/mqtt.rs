//! MQTT 3.1, 3.1.1 and 5 (OASIS): a CONNECT with a password. It comes first and once, so that is all.

use super::bytes::Reader;
use super::frames::{Frame, Frames, Next, Size};
use super::look::{Fault, Look, OrShort, any_of, ensure, verdict};
use super::probe::Start;
use super::{Context, EvidenceKind, Inspector, Probe, Progress, Sender, Uninspected};
use crate::packet::{At, Side};

/// Bytes of a CONNECT that are held: the will may take 64 KiB, and the password is behind it.
const HELD_MAX: usize = 72 << 10;

/// Ports that MQTT is used on: a connection joined midway there needs less to be believed.
const PORTS: [u16; 3] = [1883, 1886, 8883];

/// Packets in a row that tell a connection joined midway.
const PACKETS_MIN: usize = 2;

/// CONNECT and CONNACK in the first byte.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;

/// Flags of a CONNECT (MQTT 3.1.1 §3.1.2.3).
const HAS_USER: u8 = 0x80;
const HAS_PASSWORD: u8 = 0x40;
const HAS_WILL: u8 = 0x04;

/// Looks at the first bytes of one side.
pub(super) fn probe(start: &Start<'_>) -> Probe {
    verdict(any_of(&[connect(start.bytes), connack(start.bytes), midway(start)]))
}

/// CONNECT: length, name of the protocol, level.
fn connect(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[CONNECT])?;
    ensure(reader.varint(4)? >= 12)?;
    protocol(&mut reader)?;
    Ok(Sender::Initiator)
}

/// Takes name and level and returns the level, without the bit that bridges set.
fn protocol(reader: &mut Reader<'_>) -> Look<u8> {
    reader.expect(&[0])?;
    let level = if reader.expect_u8(|len| matches!(len, 4 | 6))? == 4 {
        reader.expect(b"MQTT")?;
        reader.expect_u8(|level| matches!(level & 0x7f, 4 | 5))
    } else {
        reader.expect(b"MQIsdp")?;
        reader.expect_u8(|level| level & 0x7f == 3)
    };
    level.map(|level| level & 0x7f)
}

/// CONNACK: flag and code, then the next packet or nothing; or properties of version 5.
fn connack(bytes: &[u8]) -> Look {
    let mut reader = Reader::new(bytes);
    reader.expect(&[CONNACK])?;
    let len = reader.varint(2)?;
    ensure(len >= 2)?;
    reader.expect_u8(|flags| flags <= 1)?;
    let code = reader.u8().or_short()?;
    if len == 2 {
        ensure(code <= 5)?;
        // Four bytes are little: what follows must be a packet that only a server sends.
        let next = reader.expect_u8(|next| matches!(next >> 4, 3..=7 | 9 | 11 | 13))?;
        ensure(next >> 4 == 3 || next & 0x0f == u8::from(next >> 4 == 6) * 2)?;
        let next_len = reader.varint(4)?;
        ensure(if next >> 4 == 13 { next_len == 0 } else { next_len >= 2 })?;
    } else {
        ensure(matches!(code, 0 | 0x80..=0x9f))?;
        let properties = reader.varint(2)?;
        ensure(properties < len)?;
        // Identifiers that a CONNACK may have (MQTT 5 §3.2.2.3).
        let known = |id| matches!(id, 17 | 18 | 19 | 21 | 22 | 26 | 28 | 31 | 33 | 34 | 36..=42);
        reader.expect_u8(known)?;
        ensure(properties + 3 == len || properties + 4 == len)?;
    }
    Ok(Sender::Responder)
}

/// Packets in the middle of a connection, on a port of MQTT's: several in a row whose flags fit.
fn midway(start: &Start<'_>) -> Look {
    ensure(!start.from_first && start.ports.iter().any(|port| PORTS.contains(port)))?;
    let mut reader = Reader::new(start.bytes);
    let mut whole = 0;
    let mut has_topic = false;
    while !reader.is_empty() {
        let first = reader.u8().or_short()?;
        let fits = match first >> 4 {
            3 => first & 0x06 != 0x06,
            6 | 8 | 10 => first & 0x0f == 2,
            4 | 5 | 7 | 9 | 11..=14 => first % 16 == 0,
            _ => false,
        };
        ensure(fits)?;
        let len = usize::try_from(reader.varint(4)?).unwrap_or(usize::MAX);
        let mut body = Reader::new(&reader.rest()[..reader.rest().len().min(len)]);
        if first >> 4 == 3 {
            let topic_len = usize::from(body.u16().or_short()?);
            ensure(topic_len + 2 <= len)?;
            let topic = body.take_upto(topic_len);
            ensure(super::bytes::is_text(topic) && !topic.contains(&b'#'))?;
            has_topic |= topic_len > 0;
        } else if matches!(first >> 4, 12 | 13) {
            ensure(len == 0)?;
        }
        reader.take(len).or_short()?;
        whole += 1;
    }
    if whole >= PACKETS_MIN || whole == 1 && has_topic {
        return Ok(Sender::Either);
    }
    Err(Fault::Short)
}

/// MQTT's reader.
pub struct Mqtt {
    client: Side,
    requests: Frames,
}

impl Mqtt {
    /// Begins with the side that connects.
    pub fn new(client: Side) -> Self {
        Self { client, requests: Frames::new(HELD_MAX) }
    }

    /// Returns the memory of what is held until more comes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.requests.held_bytes()
    }
}

/// What a CONNECT says of its credentials.
struct Login<'a> {
    user: &'a [u8],
    /// `None` when it has none.
    password: Option<&'a [u8]>,
}

/// Parses a CONNECT, whose packet header is before it.
fn login<'a>(packet: &'a [u8]) -> Look<Login<'a>> {
    let mut reader = Reader::new(packet);
    reader.expect(&[CONNECT])?;
    reader.varint(4)?;
    let level = protocol(&mut reader)?;
    let flags = reader.u8().or_short()?;
    let _keep_alive = reader.u16().or_short()?;
    let properties = |reader: &mut Reader<'a>| {
        if level < 5 {
            return Ok(());
        }
        let len = usize::try_from(reader.varint(4)?).unwrap_or(usize::MAX);
        reader.take(len).or_short().map(|_| ())
    };
    properties(&mut reader)?;
    let _client = reader.bytes16().or_short()?;
    if flags & HAS_WILL != 0 {
        properties(&mut reader)?;
        let (_topic, _message) = (reader.bytes16().or_short()?, reader.bytes16().or_short()?);
    }
    let user = if flags & HAS_USER == 0 { &[][..] } else { reader.bytes16().or_short()? };
    let password =
        if flags & HAS_PASSWORD == 0 { None } else { Some(reader.bytes16().or_short()?) };
    Ok(Login { user, password })
}

fn size(head: &[u8]) -> Size {
    let mut reader = Reader::new(head);
    if reader.u8().is_some_and(|first| matches!(first >> 4, 0 | 15) && first != 0xf0) {
        return Size::Bad;
    }
    match reader.varint(4) {
        Ok(len) => Size::Is((head.len() - reader.rest().len()) as u64 + len),
        Err(Fault::Short) => Size::Need((head.len() + 1).max(2)),
        Err(Fault::Bad) => Size::Bad,
    }
}

/// Reads one packet of the client's; only a CONNECT is of interest.
fn read(frame: &Frame<'_>, context: &mut Context<'_>) {
    match login(frame.bytes) {
        Ok(Login { user, password: Some(password) }) => {
            context.login(EvidenceKind::MqttLogin, frame.at, user, password);
        }
        Err(Fault::Short) if !frame.is_whole() => {
            context.facts.uninspected.add(Uninspected::LIMIT);
        }
        _ => {}
    }
}

impl Inspector for Mqtt {
    fn data(&mut self, side: Side, at: At, bytes: &[u8], context: &mut Context<'_>) -> Progress {
        if side != self.client {
            return Progress::More;
        }
        let mut is_first_read = false;
        self.requests.push(bytes, at, size, |frame| {
            read(&frame, context);
            is_first_read = true;
            Next::Stop
        });
        if is_first_read || self.requests.is_lost() { Progress::Enough } else { Progress::More }
    }

    fn gap(&mut self, side: Side, len: u64, context: &mut Context<'_>) -> Progress {
        if side == self.client && !self.requests.gap(len) {
            context.facts.uninspected.add(Uninspected::HOLE);
            return Progress::Enough;
        }
        Progress::More
    }

    fn close(&mut self, side: Side, context: &mut Context<'_>) -> Progress {
        if side != self.client {
            return Progress::More;
        }
        if let Some(frame) = self.requests.cut() {
            read(&frame, context);
        }
        Progress::Enough
    }

    fn skippable(&self, side: Side) -> u64 {
        if side == self.client { 0 } else { u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Protocol;
    use crate::inspect::probe::Outcome;
    use crate::inspect::testing::{
        CLIENT, SERVER, evidence, from_client, hex, named_in_all_pieces, never_named, probe_from,
        same_in_all_pieces, survives_mutations,
    };

    fn text(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    /// A CONNECT with a will, and credentials as its flags say.
    fn connect_of(name: &[u8], level: u8, credentials: &[&[u8]], will_len: usize) -> Vec<u8> {
        let flags = [0x06, 0x86, 0xc6][credentials.len()];
        let mut body = [&text(name)[..], &[level, flags, 0, 60]].concat();
        if level == 5 {
            body.extend([5, 0x11, 0, 0, 0, 60]);
        }
        body.extend(text(b"gw1"));
        if level == 5 {
            body.extend([2, 1, 1]);
        }
        body.extend([text(b"last/will"), text(&vec![b'w'; will_len])].concat());
        for credential in credentials {
            body.extend(text(credential));
        }
        let mut packet = vec![CONNECT];
        let mut left = body.len();
        while left >= 0x80 {
            packet.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
            left >>= 7;
        }
        packet.push(u8::try_from(left).unwrap());
        packet.extend(body);
        packet
    }

    const VERSIONS: [(&[u8], u8); 3] = [(b"MQIsdp", 3), (b"MQTT", 4), (b"MQTT", 5)];

    #[test]
    fn a_password_counts_in_every_version() {
        for (name, level) in VERSIONS {
            let talk = vec![
                (CLIENT, connect_of(name, level, &[b"admin", b"admin"], 200)),
                (SERVER, hex("20020000")),
                (CLIENT, hex("c000")),
            ];
            let facts = crate::inspect::testing::read(Mqtt::new(CLIENT), &talk);
            let expected =
                [(EvidenceKind::MqttLogin, 1, 1), (EvidenceKind::DefaultCredentials, 1, 1)];
            assert_eq!(evidence(&facts), expected, "level {level}");
            same_in_all_pieces(|| Mqtt::new(CLIENT), &talk);
            survives_mutations(|| Mqtt::new(CLIENT), &talk);
        }
        let long = [(CLIENT, connect_of(b"MQTT", 4, &[b"joe", b"canary"], 65_535))];
        let facts = crate::inspect::testing::read(Mqtt::new(CLIENT), &long);
        assert_eq!(evidence(&facts), [(EvidenceKind::MqttLogin, 1, 1)]);
    }

    #[test]
    fn none_counts_without_a_password() {
        let credentials: [&[&[u8]]; 3] = [&[], &[b"joe"], &[b"joe", b""]];
        for credentials in credentials {
            let talk = [(CLIENT, connect_of(b"MQTT", 4, credentials, 3))];
            let facts = crate::inspect::testing::read(Mqtt::new(CLIENT), &talk);
            assert!(facts.evidence.is_empty());
        }
    }

    #[test]
    fn a_connect_names_it_and_so_does_its_answer() {
        for (name, level) in VERSIONS {
            let packet = connect_of(name, level, &[], 150);
            named_in_all_pieces(from_client(Protocol::Mqtt), CLIENT, &packet);
        }
        named_in_all_pieces(from_client(Protocol::Mqtt), SERVER, &hex("20020000 9003 0001 00"));
        named_in_all_pieces(from_client(Protocol::Mqtt), SERVER, &hex("2009000006 22000a 210014"));
    }

    #[test]
    fn packets_midway_name_it_on_its_port() {
        let publish = [&[0x30, 0x0c][..], &text(b"a/temp"), b"21.5"].concat();
        let outcome = Outcome::Confirmed { protocol: Protocol::Mqtt, initiator: None };
        let talk = [(CLIENT, publish)];
        assert_eq!(probe_from(false, [1883, 50_000], &talk), outcome);
        assert_ne!(probe_from(false, [9000, 50_000], &talk), outcome);
        assert_ne!(probe_from(true, [1883, 50_000], &talk), outcome);
    }

    #[test]
    fn near_misses_name_nothing() {
        let good = connect_of(b"MQTT", 4, &[], 3);
        for (place, value) in [(0, 0x11), (1, 2), (3, 5), (4, b'm'), (8, 6), (8, 3)] {
            let mut wrong = good.clone();
            wrong[place] = value;
            never_named(&[(CLIENT, wrong)]);
        }
        never_named(&[(SERVER, hex("20020000"))]);
        never_named(&[(SERVER, hex("20020000 ffff"))]);
    }
}
