use super::*;
use crate::inspect::probe::Outcome;
use crate::inspect::testing::{
    CLIENT, SERVER, Talk, evidence, from_client, hex, named_in_all_pieces, never_named, probe,
    read, same_in_all_pieces, survives_mutations,
};
use crate::inspect::{EvidenceKind, Protocol};

const AMQP: Outcome = Outcome::Confirmed { protocol: Protocol::Amqp, initiator: None };
const LOGIN: EvidenceKind = EvidenceKind::AmqpLogin;
const DEFAULT: EvidenceKind = EvidenceKind::DefaultCredentials;

fn header(told: [u8; 4]) -> Vec<u8> {
    [b"AMQP", &told[..]].concat()
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn method(class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    let body = [&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat();
    [&[1, 0, 0][..], &long(&body), &[0xce]].concat()
}

fn start_ok(mechanism: &[u8], response: &[u8]) -> Vec<u8> {
    let properties = long(&[short(b"product"), vec![b'S'], long(b"WSO2 MB")].concat());
    let arguments = [properties, short(mechanism), long(response), short(b"en_US")].concat();
    method(10, 11, &arguments)
}

fn start() -> Vec<u8> {
    let mechanisms = [vec![0, 9], long(&[]), long(b"PLAIN AMQPLAIN"), long(b"en_US")].concat();
    method(10, 10, &mechanisms)
}

fn logins(talk: &[(Side, Vec<u8>)]) -> Vec<(EvidenceKind, u64, u64)> {
    let found = evidence(&read(Amqp::new(CLIENT), talk));
    same_in_all_pieces(|| Amqp::new(CLIENT), talk);
    survives_mutations(|| Amqp::new(CLIENT), talk);
    found
}

#[test]
fn plain_counts_before_0_10() {
    for told in [[0, 0, 9, 1], [1, 1, 0, 9], [1, 1, 8, 0]] {
        let talk = vec![
            (CLIENT, header(told)),
            (SERVER, start()),
            (CLIENT, start_ok(b"PLAIN", b"\0admin\0admin")),
            (SERVER, method(10, 30, &[0; 8])),
            (CLIENT, method(10, 31, &[0; 8])),
        ];
        assert_eq!(logins(&talk), [(LOGIN, 1, 3), (DEFAULT, 1, 3)]);
    }
}

#[test]
fn amqplain_and_a_late_response_count() {
    let table = [
        short(b"LOGIN"),
        vec![b'S'],
        long(b"guest"),
        short(b"PASSWORD"),
        vec![b'S'],
        long(b"canary"),
    ]
    .concat();
    let talk = vec![(CLIENT, header([0, 0, 9, 1])), (CLIENT, start_ok(b"AMQPLAIN", &table))];
    assert_eq!(logins(&talk), [(LOGIN, 1, 2)]);
    let talk = vec![
        (CLIENT, header([0, 0, 9, 1])),
        (CLIENT, start_ok(b"PLAIN", b"")),
        (CLIENT, method(10, 21, &long(b"\0joe\0canary"))),
    ];
    assert_eq!(logins(&talk), [(LOGIN, 1, 3)]);
}

#[test]
fn other_mechanisms_and_empty_passwords_do_not_count() {
    for (mechanism, response) in
        [(&b"EXTERNAL"[..], &b"x"[..]), (b"CRAM-MD5", b"joe 0123"), (b"PLAIN", b"\0joe\0")]
    {
        let talk = vec![(CLIENT, header([0, 0, 9, 1])), (CLIENT, start_ok(mechanism, response))];
        assert!(logins(&talk).is_empty());
    }
}

#[test]
fn plain_counts_in_0_10() {
    let arguments =
        [vec![1, 2, 7, 0], long(&[0; 4]), short(b"PLAIN"), long(b"\0joe\0canary")].concat();
    let len = u8::try_from(arguments.len() + 12).unwrap();
    let frame = [&[0x0f, 0, 0, len, 0, 0, 0, 0, 0, 0, 0, 0][..], &arguments].concat();
    let talk = vec![(CLIENT, header([1, 1, 0, 10])), (CLIENT, frame.clone())];
    assert_eq!(logins(&talk), [(LOGIN, 1, 2)]);
    named_in_all_pieces(from_client(Protocol::Amqp), CLIENT, &frame);
}

/// A SASL frame of 1.0 with a list of fields.
fn sasl(code: u8, fields: &[u8]) -> Vec<u8> {
    let list = [&[0xc0, u8::try_from(fields.len() + 1).unwrap(), 2][..], fields].concat();
    let body = [&[0, 0x53, code][..], &list].concat();
    [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], &[2, 1, 0, 0], &body].concat()
}

#[test]
fn plain_counts_in_1_0() {
    let fields = [vec![0xa3], short(b"PLAIN"), vec![0xa0], short(b"\0admin\0admin")].concat();
    let talk = vec![
        (CLIENT, header([3, 1, 0, 0])),
        (SERVER, header([3, 1, 0, 0])),
        (SERVER, sasl(0x40, &[&[0xa3][..], &short(b"PLAIN")].concat())),
        (CLIENT, sasl(0x41, &fields)),
        (CLIENT, header([0, 1, 0, 0])),
    ];
    assert_eq!(logins(&talk), [(LOGIN, 1, 4), (DEFAULT, 1, 4)]);
    let late = [vec![0xa3], short(b"PLAIN"), vec![0x40]].concat();
    let talk = vec![
        (CLIENT, header([3, 1, 0, 0])),
        (CLIENT, sasl(0x41, &late)),
        (CLIENT, sasl(0x43, &[&[0xa0][..], &short(b"\0joe\0canary")].concat())),
    ];
    assert_eq!(logins(&talk), [(LOGIN, 1, 3)]);
    for symbol in [&b"amqp:sasl-init:list"[..], b"amqp:sasl-mechanisms:list"] {
        for described in [[vec![0xa3], short(symbol)].concat(), [vec![0xb3], long(symbol)].concat()]
        {
            let coded = sasl(0x41, &fields);
            let body = [&[0][..], &described, &coded[11..]].concat();
            let len = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
            let frame = [&len[..], &[2, 1, 0, 0], &body].concat();
            let talk = vec![(CLIENT, header([3, 1, 0, 0])), (CLIENT, frame)];
            let expected = [(LOGIN, 1, 2), (DEFAULT, 1, 2)];
            let is_init = symbol.starts_with(b"amqp:sasl-init");
            assert_eq!(logins(&talk), &expected[..if is_init { 2 } else { 0 }]);
        }
    }
    let anonymous = [vec![0xa3], short(b"ANONYMOUS")].concat();
    let talk = vec![(CLIENT, header([3, 1, 0, 0])), (CLIENT, sasl(0x41, &anonymous))];
    assert!(logins(&talk).is_empty());
}

#[test]
fn nothing_counts_behind_the_header_for_tls() {
    let mut hello = hex("16030100c8 010000c4 0303");
    hello.resize(205, 7);
    let talk: Talk =
        vec![(CLIENT, header([2, 1, 0, 0])), (SERVER, header([2, 1, 0, 0])), (CLIENT, hello)];
    let facts = read(Amqp::new(CLIENT), &talk);
    assert!(facts.upgraded && facts.evidence.is_empty());
    same_in_all_pieces(|| Amqp::new(CLIENT), &talk);
    // Refused: the server says what it wants instead.
    let talk: Talk = vec![
        (CLIENT, header([2, 1, 0, 0])),
        (CLIENT, [header([0, 0, 9, 1]), start_ok(b"PLAIN", b"\0joe\0canary")].concat()),
    ];
    assert_eq!(logins(&talk), [(LOGIN, 1, 2)]);
    assert!(!read(Amqp::new(CLIENT), &talk).upgraded);
}

#[test]
fn headers_name_it_and_a_servers_only_for_itself() {
    for (told, _) in probe::HEADERS {
        named_in_all_pieces(AMQP, CLIENT, &header(told));
    }
    never_named(&[(CLIENT, header([9, 9, 9, 9]))]);
    let nonsense = [(CLIENT, b"\xff\xfe nonsense".to_vec()), (SERVER, header([0, 0, 9, 1]))];
    never_named(&nonsense);
    let http = [(CLIENT, b"GET / HTTP/1.1\r\n\r\n".to_vec()), (SERVER, header([0, 0, 9, 1]))];
    assert_eq!(probe([5672, 50_000], &http), from_client(Protocol::Http));
}

#[test]
fn frames_midway_name_it() {
    named_in_all_pieces(from_client(Protocol::Amqp), SERVER, &start());
    named_in_all_pieces(AMQP, CLIENT, &method(60, 40, &[0; 20]));
    named_in_all_pieces(AMQP, CLIENT, &hex("08 0000 00000000 ce"));
    let transfer = hex("00000016 02000000 005314 c009 0543 43 4043 42 4142 42");
    named_in_all_pieces(AMQP, CLIENT, &transfer);
    let mut wrong = method(60, 40, &[0; 20]);
    *wrong.last_mut().unwrap() = 0xcd;
    never_named(&[(CLIENT, wrong)]);
    never_named(&[(CLIENT, method(61, 40, &[0; 20]))]);
}
