use super::*;
use crate::inspect::testing::{
    CLIENT, SERVER, Talk, at, evidence, from_client, hex, named_in_all_pieces, never_named, read,
    same_in_all_pieces, survives_mutations,
};
use crate::inspect::{Facts, Protocol, Sender};

const LOGIN: EvidenceKind = EvidenceKind::ThriftLogin;
const DEFAULT: EvidenceKind = EvidenceKind::DefaultCredentials;

fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_be_bytes()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&number(bytes.len())[..], bytes].concat()
}

fn strict(kind: u8, name: &str, arguments: &[u8]) -> Vec<u8> {
    [&[0x80, 1, 0, kind][..], &text(name.as_bytes()), &[0, 0, 0, 1], arguments].concat()
}

fn old(kind: u8, name: &str, arguments: &[u8]) -> Vec<u8> {
    [&text(name.as_bytes())[..], &[kind, 0, 0, 0, 1], arguments].concat()
}

fn compact(kind: u8, name: &str, arguments: &[u8]) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap();
    [&[0x82, kind << 5 | 1, 0x81, 1, len], name.as_bytes(), arguments].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&number(message.len())[..], message].concat()
}

/// Arguments of `connect`.
fn two(user: &str, password: &str) -> Vec<u8> {
    let field = |id: u8, value: &str| [&[11, 0, id][..], &text(value.as_bytes())].concat();
    [field(1, user), field(2, password), vec![0]].concat()
}

fn two_compact(user: &str, password: &str) -> Vec<u8> {
    let field =
        |value: &str| [&[0x18, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [field(user), field(password), vec![0]].concat()
}

/// Arguments of Cassandra's `login`.
fn request(user: &str, password: &str) -> Vec<u8> {
    let entry = |key: &str, value: &str| [text(key.as_bytes()), text(value.as_bytes())].concat();
    let map = [hex("0d 0001 0b0b 00000002"), entry("username", user), entry("password", password)];
    [hex("0c 0001"), map.concat(), vec![0, 0]].concat()
}

fn publish() -> Vec<u8> {
    let session = text(b"123e4567-e89b-12d3-a456-426614174000");
    strict(1, "publish", &[hex("0c 0001 0b 0001"), session, vec![0, 0]].concat())
}

fn logins(talk: &[(Side, Vec<u8>)]) -> Vec<(EvidenceKind, u64, u64)> {
    same_in_all_pieces(|| Thrift::new(CLIENT), talk);
    survives_mutations(|| Thrift::new(CLIENT), talk);
    evidence(&read(Thrift::new(CLIENT), talk))
}

#[test]
fn connect_counts_in_every_protocol_framed_or_not() {
    let messages = [
        strict(1, "connect", &two("admin", "admin")),
        old(1, "connect", &two("admin", "admin")),
        compact(1, "connect", &two_compact("admin", "admin")),
    ];
    for message in messages {
        for message in [message.clone(), framed(&message)] {
            let talk: Talk = vec![
                (CLIENT, publish()),
                (CLIENT, message),
                (SERVER, strict(2, "connect", &[0])),
                (CLIENT, publish()),
            ];
            assert_eq!(logins(&talk), [(LOGIN, 1, 2), (DEFAULT, 1, 2)]);
        }
    }
}

#[test]
fn a_login_counts_at_one_of_several_services() {
    for service in ["a", "Auth", "ThriftSecureEventTransmissionService", &"s".repeat(90)] {
        let name = format!("{service}:connect");
        let messages = [
            strict(1, &name, &two("admin", "canary")),
            old(1, &name, &two("admin", "canary")),
            compact(1, &name, &two_compact("admin", "canary")),
        ];
        for message in messages {
            let talk = [(CLIENT, publish()), (CLIENT, framed(&message))];
            assert_eq!(logins(&talk), [(LOGIN, 1, 2)], "{name}");
        }
    }
    let other = strict(1, "Auth:reconnect", &two("admin", "canary"));
    assert!(logins(&[(CLIENT, other)]).is_empty());
}

#[test]
fn cassandras_login_counts() {
    let message = framed(&strict(1, "login", &request("cassandra", "canary")));
    assert_eq!(logins(&[(CLIENT, message)]), [(LOGIN, 1, 1)]);
}

#[test]
fn what_only_bears_the_name_does_not_count() {
    let talk = vec![
        (CLIENT, strict(1, "connect", &[0])),
        (CLIENT, strict(1, "connect", &two("joe", ""))),
        (CLIENT, strict(1, "disconnect", &two("joe", "canary"))),
        (CLIENT, strict(1, "send", &two("connect", "login"))),
        (CLIENT, strict(2, "connect", &two("joe", "canary"))),
        (SERVER, strict(1, "connect", &two("joe", "canary"))),
    ];
    assert!(logins(&talk).is_empty());
}

#[test]
fn a_hole_is_told_and_the_search_goes_on() {
    let mut facts = Facts::default();
    let tools = crate::inspect::Tools {
        options: crate::inspect::Options::default(),
        fingerprinter: crate::inspect::secret::Fingerprinter::new(b"key"),
    };
    let mut context = tools.context(&mut facts);
    let mut thrift = Thrift::new(CLIENT);
    thrift.data(CLIENT, at(1), &publish(), &mut context);
    thrift.gap(CLIENT, 5, &mut context);
    thrift.data(CLIENT, at(2), &strict(1, "connect", &two("joe", "canary")), &mut context);
    let long = strict(1, "connect", &two("joe", &"canary".repeat(2000)));
    thrift.data(CLIENT, at(3), &long, &mut context);
    assert_eq!(evidence(&facts)[0].0, LOGIN);
    assert!(facts.uninspected.has(Uninspected::HOLE));
}

#[test]
fn a_message_names_it_in_every_protocol() {
    let outcome = from_client(Protocol::Thrift);
    for kind in [1, 4] {
        let arguments = two("admin", "canary");
        let compact = compact(kind, "emitBatch", &two_compact("a", "b"));
        for message in [
            strict(kind, "publish", &arguments),
            old(kind, "describe_version", &arguments),
            compact,
        ] {
            named_in_all_pieces(outcome, CLIENT, &message);
            named_in_all_pieces(outcome, CLIENT, &framed(&message));
        }
    }
    named_in_all_pieces(outcome, SERVER, &strict(2, "publish", &[0]));
    named_in_all_pieces(outcome, SERVER, &compact(3, "publish", &[0x18, 1, b'x', 0]));
    let batch = compact(4, "emitBatch", &[0x1c, 0, 0]);
    assert_eq!(datagram(&batch), Ok(Sender::Initiator));
}

#[test]
fn near_misses_name_nothing() {
    let good = strict(1, "publish", &[0]);
    for (place, value) in [(0, 0x81), (1, 2), (3, 5), (4, 1), (7, 0), (8, b' '), (19, 1)] {
        let mut wrong = good.clone();
        wrong[place] = value;
        never_named(&[(CLIENT, wrong)]);
    }
    never_named(&[(CLIENT, old(5, "publish", &[0]))]);
    never_named(&[(CLIENT, framed(&good[..10]))]);
    never_named(&[(CLIENT, hex("0000000a 0000"))]);
}
