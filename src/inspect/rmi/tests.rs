use super::*;
use crate::inspect::facts::LearnedEndpoint;
use crate::inspect::testing::{
    CLIENT, SERVER, Talk, evidence, from_client, hex, named_in_all_pieces, never_named, read,
    same_in_all_pieces, survives_mutations,
};
use crate::inspect::{Facts, Protocol};

const CLEAR: EvidenceKind = EvidenceKind::JmxClear;
const LOGIN: EvidenceKind = EvidenceKind::JmxLogin;
const OPEN: EvidenceKind = EvidenceKind::JmxNoAuth;
const DEFAULT: EvidenceKind = EvidenceKind::DefaultCredentials;

fn utf(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn opening() -> Talk {
    let ack = [&[0x4e][..], &utf("10.0.0.9"), &50_000_u32.to_be_bytes()].concat();
    let client = [utf("10.0.0.9"), vec![0; 4]].concat();
    vec![(CLIENT, b"JRMI\0\x02\x4b".to_vec()), (SERVER, ack), (CLIENT, client)]
}

fn call(object: u64, operation: u32, hash: u64, arguments: &[u8]) -> Vec<u8> {
    let head = [&CALL[..], &object.to_be_bytes(), &[0; 14], &operation.to_be_bytes()].concat();
    [&head, &hash.to_be_bytes()[..], arguments].concat()
}

fn answer(code: u8, object: &[u8]) -> Vec<u8> {
    [&RETURN[..], &[code], &[7; 14], object].concat()
}

fn lookup() -> Vec<u8> {
    call(0, 2, REGISTRY, &[&[0x74][..], &utf("jmxrmi")].concat())
}

fn new_client(argument: &[u8]) -> Vec<u8> {
    call(0x1234_5678, u32::MAX, NEW_CLIENT, argument)
}

fn strings(elements: &[u8]) -> Vec<u8> {
    let class = [&[0x75, 0x72][..], &utf("[Ljava.lang.String;")].concat();
    [class, hex("add256e7e91d7b47 020000 70 78 70 00000002"), elements.to_vec()].concat()
}

fn login(user: &str, password: &str) -> Vec<u8> {
    new_client(&strings(&[vec![0x74], utf(user), vec![0x74], utf(password)].concat()))
}

/// A stub of JMX's server, before what it refers to.
fn stub(reference: &[u8]) -> Vec<u8> {
    let class =
        [&[0x73, 0x72][..], &utf("javax.management.remote.rmi.RMIServerImpl_Stub")].concat();
    let block = [&[0x77, u8::try_from(reference.len()).unwrap()][..], reference].concat();
    [class, hex("0000000000000002 020000 78 70"), block].concat()
}

fn plain_reference(host: &str, port: u32) -> Vec<u8> {
    [utf("UnicastRef"), utf(host), port.to_be_bytes().to_vec(), vec![0; 22], vec![1]].concat()
}

fn tls_reference(factory: &str) -> Vec<u8> {
    let port = 20_222_u32.to_be_bytes();
    let front = [&utf("UnicastRef2")[..], &[1], &utf("gw.example.org"), &port].concat();
    [stub(&front), vec![0x73, 0x72], utf(factory), hex("0000000000000001 020000 78 70")].concat()
}

fn facts_of(talk: &[(Side, Vec<u8>)]) -> Facts {
    read(Rmi::new(CLIENT, false), talk)
}

fn learned(facts: &Facts) -> Vec<(&str, u16, bool)> {
    facts.learned.iter().map(|it: &LearnedEndpoint| (it.host.as_str(), it.port, it.tls)).collect()
}

fn with(rest: Talk) -> Talk {
    let mut talk = opening();
    talk.extend(rest);
    talk
}

#[test]
fn a_lookup_teaches_where_the_server_is() {
    let talk = with(vec![
        (CLIENT, lookup()),
        (SERVER, answer(1, &stub(&plain_reference("127.0.0.1", 21_111)))),
        (CLIENT, vec![0x54; 15]),
    ]);
    let facts = facts_of(&talk);
    assert_eq!(learned(&facts), [("127.0.0.1", 21_111, false)]);
    assert_eq!(evidence(&facts), [(CLEAR, 1, 1)]);
    assert_eq!(facts.learned[0].at.frame, 5);
    same_in_all_pieces(|| Rmi::new(CLIENT, false), &talk);
    survives_mutations(|| Rmi::new(CLIENT, false), &talk);
}

#[test]
fn a_factory_for_tls_is_known_by_its_class() {
    for (factory, tls) in
        [("javax.rmi.ssl.SslRMIClientSocketFactory", true), ("org.example.Compressing", false)]
    {
        let talk = with(vec![(CLIENT, lookup()), (SERVER, answer(1, &tls_reference(factory)))]);
        assert_eq!(learned(&facts_of(&talk)), [("gw.example.org", 20_222, tls)]);
        same_in_all_pieces(|| Rmi::new(CLIENT, false), &talk);
    }
}

#[test]
fn a_bind_teaches_and_a_list_or_a_refusal_does_not() {
    let reference = plain_reference("node-1", 11_111);
    let bind = [&[0x74][..], &utf("jmxrmi"), &stub(&reference)].concat();
    for operation in [0, 3] {
        let talk = with(vec![(CLIENT, call(0, operation, REGISTRY, &bind))]);
        assert_eq!(learned(&facts_of(&talk)), [("node-1", 11_111, false)]);
    }
    let list =
        with(vec![(CLIENT, call(0, 1, REGISTRY, &[])), (SERVER, answer(1, &stub(&reference)))]);
    assert!(facts_of(&list).learned.is_empty());
    let refused = with(vec![(CLIENT, lookup()), (SERVER, answer(2, &stub(&reference)))]);
    assert!(facts_of(&refused).learned.is_empty());
    for port in [0, 65_536, u32::MAX] {
        let odd = stub(&plain_reference("node-1", port));
        let talk = with(vec![(CLIENT, lookup()), (SERVER, answer(1, &odd))]);
        assert!(facts_of(&talk).learned.is_empty());
    }
}

#[test]
fn a_reply_that_names_many_ports_teaches_one() {
    let many: Vec<u8> =
        (1..400).flat_map(|port| stub(&plain_reference("10.0.0.2", port))).collect();
    let talk = with(vec![(CLIENT, lookup()), (SERVER, answer(1, &many))]);
    assert_eq!(learned(&facts_of(&talk)), [("10.0.0.2", 1, false)]);
    let lookups: Talk = (1..400)
        .flat_map(|port| {
            let reply = answer(1, &stub(&plain_reference("10.0.0.2", port)));
            [(CLIENT, lookup()), (SERVER, reply)]
        })
        .collect();
    assert_eq!(facts_of(&with(lookups)).learned.len(), crate::inspect::facts::LEARNED_MAX);
}

#[test]
fn credentials_count_accepted_or_not() {
    let talk = with(vec![
        (CLIENT, login("admin", "canary")),
        (SERVER, answer(2, &[&[0x73, 0x72][..], &utf("java.lang.SecurityException")].concat())),
        (CLIENT, login("admin", "admin")),
        (SERVER, answer(1, &stub(&plain_reference("10.0.0.2", 11_111)))),
    ]);
    assert_eq!(evidence(&facts_of(&talk)), [(CLEAR, 1, 1), (LOGIN, 2, 4), (DEFAULT, 1, 6)]);
    same_in_all_pieces(|| Rmi::new(CLIENT, false), &talk);
    survives_mutations(|| Rmi::new(CLIENT, false), &talk);
    // An annotated class takes a handle more.
    let place = [&[0x74][..], &utf("http://10.0.0.1/classes/")].concat();
    let mut annotated = strings(&[vec![0x74], utf("admin"), hex("71 007e0003")].concat());
    let at = annotated.len() - 8 - 5 - 7;
    annotated.splice(at..=at, place);
    let talk = with(vec![(CLIENT, new_client(&annotated))]);
    assert_eq!(evidence(&facts_of(&talk)), [(CLEAR, 1, 1), (LOGIN, 1, 4), (DEFAULT, 1, 4)]);
    // Java writes a string once; the second time it refers to it.
    let same = strings(&[vec![0x74], utf("admin"), hex("71 007e0002")].concat());
    let talk = with(vec![(CLIENT, new_client(&same))]);
    assert_eq!(evidence(&facts_of(&talk)), [(CLEAR, 1, 1), (LOGIN, 1, 4), (DEFAULT, 1, 4)]);
}

#[test]
fn nothing_offered_and_let_in_is_open() {
    let admitted = answer(1, &stub(&plain_reference("10.0.0.2", 11_111)));
    let mut talk = with(vec![(CLIENT, new_client(&[0x70])), (SERVER, admitted.clone())]);
    assert_eq!(evidence(&facts_of(&talk)), [(CLEAR, 1, 1), (OPEN, 1, 4)]);
    same_in_all_pieces(|| Rmi::new(CLIENT, false), &talk);
    // The sides may be captured out of order.
    talk.swap(3, 4);
    assert_eq!(evidence(&facts_of(&talk)), [(CLEAR, 1, 1), (OPEN, 1, 5)]);
    let refused = with(vec![(CLIENT, new_client(&[0x70])), (SERVER, answer(2, b""))]);
    assert_eq!(evidence(&facts_of(&refused)), [(CLEAR, 1, 1)]);
    let unanswered = with(vec![(CLIENT, new_client(&[0x70]))]);
    assert_eq!(evidence(&facts_of(&unanswered)), [(CLEAR, 1, 1)]);
    // Joined midway, an earlier answer is not this call's.
    let midway = [(SERVER, answer(1, b"")), (CLIENT, new_client(&[0x70]))];
    let facts = read(Rmi::new(CLIENT, true), &midway);
    assert_eq!(evidence(&facts), [(CLEAR, 1, 1)]);
}

#[test]
fn openings_and_operations_name_it() {
    let outcome = from_client(Protocol::Rmi);
    named_in_all_pieces(outcome, CLIENT, b"JRMI\0\x02\x4b");
    named_in_all_pieces(outcome, CLIENT, &lookup()[..7]);
    named_in_all_pieces(outcome, SERVER, &answer(1, b"")[..7]);
    named_in_all_pieces(outcome, SERVER, &opening()[1].1);
    never_named(&[(CLIENT, b"JRMI\0\x02\x40".to_vec())]);
    never_named(&[(CLIENT, b"JRMP\0\x02\x4b".to_vec())]);
    never_named(&[(CLIENT, hex("50aced0005 7721"))]);
    never_named(&[(SERVER, b"N\0\x05hello\0\0\0\0".to_vec())]);
}

#[test]
fn a_header_that_the_server_does_not_answer_in_kind_is_no_session() {
    let header = (CLIENT, b"JRMI\0\x02\x4b".to_vec());
    let count = |answer: &[u8]| {
        let talk = [header.clone(), (SERVER, answer.to_vec())];
        evidence(&facts_of(&talk)).len()
    };
    assert_eq!(count(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 0);
    assert_eq!(count(b"\x15\x03\x03\0\x02\x02\x50"), 0);
    // Begins as a sign of life does.
    assert_eq!(count(b"SSH-2.0-OpenSSH_9.2\r\n"), 0);
    // Refused (`ProtocolNack`).
    assert_eq!(count(b"\x4f"), 0);
    assert_eq!(count(b"\x4e\0\x0810.0.0.9\0\0\xc3\x50"), 1);
    // The answer was not captured.
    assert_eq!(evidence(&facts_of(std::slice::from_ref(&header))), [(CLEAR, 1, 1)]);
    let [_, _, (side, endpoint)] = &opening()[..] else { panic!("three messages") };
    let talk = [header, (*side, endpoint.clone())];
    assert_eq!(evidence(&facts_of(&talk)), [(CLEAR, 1, 1)]);
}
