use super::*;
use crate::inspect::Protocol;
use crate::inspect::probe::Outcome;
use crate::inspect::testing::{
    CLIENT, SERVER, Talk, from_client, hex, named_in_all_pieces, probe_from, read, read_with,
    same_in_all_pieces, survives_mutations,
};

fn with_len(width: usize, bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_be_bytes()[8 - width..], bytes].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], with_len(3, body).as_slice()].concat()
}

fn in_record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], with_len(2, body).as_slice()].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_len(2, data)].concat()
}

fn client_hello_body() -> Vec<u8> {
    let name = [&[0], with_len(2, b"gw.example.org").as_slice()].concat();
    let extensions = [
        extension(0x0a0a, &[]),
        // As long as a post-quantum key share.
        extension(51, &[7; 1300]),
        extension(0, &with_len(2, &name)),
        extension(16, &with_len(2, b"\x02h2\x08http/1.1")),
        extension(43, &[6, 0x5a, 0x5a, 3, 4, 3, 3]),
    ]
    .concat();
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend(with_len(1, &[8; 32]));
    body.extend(with_len(2, &[0x13, 1, 0xc0, 0x2f]));
    body.extend(with_len(1, &[0]));
    body.extend(with_len(2, &extensions));
    body
}

fn server_hello(version: u16, extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([9; 32]);
    body.extend([0, 0xc0, 0x2f, 0]);
    body.extend(with_len(2, extensions));
    message(2, &body)
}

/// Subject and issuer C=US, ST=CA, L=Mountain View, O=WSO2, CN=localhost; valid from 2026-11-24 02:46:47
/// to 2036-11-21 02:46:47.
fn product_certificate() -> Vec<u8> {
    hex("308201fe308201a5a003020102021453e18f1647335b04678a96fef8dc5face07e2270300a06082a8648ce3d04030230
        55310b3009060355040613025553310b300906035504080c0243413116301406035504070c0d4d6f756e7461696e2056
        696577310d300b060355040a0c0457534f323112301006035504030c096c6f63616c686f7374301e170d323631313234
        3032343634375a170d3336313132313032343634375a3055310b3009060355040613025553310b300906035504080c02
        43413116301406035504070c0d4d6f756e7461696e2056696577310d300b060355040a0c0457534f3231123010060355
        04030c096c6f63616c686f73743059301306072a8648ce3d020106082a8648ce3d0301070342000487d26852bc43d5b3
        089b8ebe660b57d6f0db5c6a23de5c32b51842dd6b0d6554c58e5982cdd6ba15e201522b80d331fbce806bd50b3eafd6
        dd4c41b543828767a3533051301d0603551d0e04160414bac2c58bb1fe714657c53f5f0c00d6df18371bde301f060355
        1d23041830168014bac2c58bb1fe714657c53f5f0c00d6df18371bde300f0603551d130101ff040530030101ff300a06
        082a8648ce3d040302034700304402201ca5e6e3e75847730da33d2dd03ffb7feb22b7a8ff36050218a421e7f39dad95
        02205e5c2d249c3fe81e34ae4051e39138f755332bd18cb83adf4cea2c514febe6c4")
}

fn client_hello() -> Vec<u8> {
    in_record(22, &message(1, &client_hello_body()))
}

/// A TLS 1.2 handshake whose server asks for a client certificate.
fn tls_1_2() -> Talk {
    let chain = with_len(3, &with_len(3, &product_certificate()));
    let flight = [
        server_hello(0x0303, &[]),
        message(11, &chain),
        message(12, &[1; 300]),
        message(13, &[1, 64, 0, 0, 0, 0]),
        message(14, &[]),
    ]
    .concat();
    vec![(CLIENT, client_hello()), (SERVER, in_record(22, &flight))]
}

#[test]
fn a_handshake_of_tls_1_2_tells_names_version_suite_and_certificate() {
    let (facts, enough) =
        read_with(Tls::new(CLIENT), &tls_1_2(), &super::super::Options::default());
    assert_eq!(enough, Some(2));
    let tls = facts.tls.unwrap();
    assert_eq!(tls.sni.as_deref(), Some("gw.example.org"));
    assert_eq!(tls.alpn, ["h2", "http/1.1"]);
    assert_eq!((tls.version, tls.negotiated), (Some(0x0303), true));
    assert_eq!(tls.cipher, Some(0xc02f));
    assert_eq!(tls.client_certificate, Some(true));
    let certificate = tls.certificate.unwrap();
    assert!(certificate.self_signed && certificate.product_default && !certificate.expired);
    assert_eq!(certificate.subject, "C=US, ST=CA, L=Mountain View, O=WSO2, CN=localhost");
}

#[test]
fn every_split_tells_the_same() {
    same_in_all_pieces(|| Tls::new(CLIENT), &tls_1_2());
}

#[test]
fn a_hello_over_many_records_tells_the_same() {
    let pieces: Vec<u8> =
        message(1, &client_hello_body()).chunks(7).flat_map(|piece| in_record(22, piece)).collect();
    let facts = read(Tls::new(CLIENT), &[(CLIENT, pieces)]);
    assert_eq!(facts.tls.unwrap().sni.as_deref(), Some("gw.example.org"));
}

#[test]
fn a_certificate_is_expired_by_the_packets_time() {
    let body = with_len(3, &with_len(3, &product_certificate()));
    let at = |seconds: i64| crate::packet::Timestamp(seconds * 1_000_000_000);
    // 2036-11-21 02:46:47 UTC.
    assert!(!certificate::leaf(&body, at(2_110_848_407)).unwrap().expired);
    assert!(certificate::leaf(&body, at(2_110_848_408)).unwrap().expired);
}

#[test]
fn a_server_without_a_certificate_request_does_not_ask() {
    let flight = [server_hello(0x0301, &[]), message(14, &[])].concat();
    let facts = read(Tls::new(CLIENT), &[(SERVER, in_record(22, &flight))]);
    let tls = facts.tls.unwrap();
    assert_eq!((tls.version, tls.client_certificate), (Some(0x0301), Some(false)));
}

#[test]
fn the_server_of_tls_1_3_chooses_by_extension_and_that_is_enough() {
    let hello = in_record(22, &server_hello(0x0303, &extension(43, &[3, 4])));
    let talk = [(CLIENT, client_hello()), (SERVER, hello)];
    let (facts, enough) = read_with(Tls::new(CLIENT), &talk, &super::super::Options::default());
    assert_eq!(enough, Some(2));
    assert_eq!(facts.tls.unwrap().version, Some(0x0304));
}

#[test]
fn a_clear_answer_to_a_client_hello_ends_it() {
    let talk = [(CLIENT, client_hello()), (SERVER, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())];
    let (facts, enough) = read_with(Tls::new(CLIENT), &talk, &super::super::Options::default());
    assert_eq!(enough, Some(2));
    let tls = facts.tls.unwrap();
    assert_eq!((tls.version, tls.negotiated), (Some(0x0304), false));
}

#[test]
fn one_side_alone_is_enough_in_the_end() {
    let bulk = in_record(23, &[0x5c; 16_000]);
    let mut talk = vec![(CLIENT, client_hello())];
    talk.extend((0..8).map(|_| (CLIENT, bulk.clone())));
    let (_, enough) = read_with(Tls::new(CLIENT), &talk, &super::super::Options::default());
    assert_eq!(enough, Some(6));
}

#[test]
fn a_hello_cut_by_a_hole_keeps_the_name_before_it() {
    let bytes = client_hello();
    let mut facts = crate::inspect::Facts::default();
    let fingerprinter = crate::inspect::secret::Fingerprinter::new(b"key");
    let options = crate::inspect::Options::default();
    let mut context =
        Context { facts: &mut facts, fingerprinter: &fingerprinter, options: &options };
    let mut tls = Tls::new(CLIENT);
    tls.data(CLIENT, At::default(), &bytes[..bytes.len() - 4], &mut context);
    tls.gap(CLIENT, 4, &mut context);
    assert!(facts.uninspected.has(Uninspected::HOLE));
    assert_eq!(facts.tls.unwrap().sni.as_deref(), Some("gw.example.org"));
}

#[test]
fn hellos_name_the_flow_however_they_are_cut() {
    named_in_all_pieces(from_client(Protocol::Tls), CLIENT, &client_hello()[..60]);
    let server = in_record(22, &server_hello(0x0303, &[]));
    named_in_all_pieces(from_client(Protocol::Tls), SERVER, &server);
    let pieces: Vec<u8> =
        message(1, &client_hello_body()).chunks(1).flat_map(|b| in_record(22, b)).collect();
    named_in_all_pieces(from_client(Protocol::Tls), CLIENT, &pieces[..30]);
}

#[test]
fn an_sslv2_hello_is_tls_and_tells_its_version() {
    let mut hello = vec![0x80, 9 + 6 + 16, 1, 3, 1, 0, 6, 0, 0, 0, 16];
    hello.extend([0, 0, 4, 1, 0, 0x80]);
    hello.extend([3; 16]);
    named_in_all_pieces(from_client(Protocol::Tls), CLIENT, &hello);
    let facts = read(Tls::new(CLIENT), &[(CLIENT, hello.clone())]);
    assert_eq!(facts.tls.unwrap().version, Some(0x0301));
    same_in_all_pieces(|| Tls::new(CLIENT), &[(CLIENT, hello)]);
}

#[test]
fn records_of_a_connection_joined_midway_are_tls() {
    let cipher: Vec<u8> = (0..200_u8).map(|n| n.wrapping_mul(167)).collect();
    let record = in_record(23, &cipher);
    let tls = Outcome::Confirmed { protocol: Protocol::Tls, initiator: None };
    let midway = |talk: &[(Side, Vec<u8>)]| probe_from(false, [443, 50_000], talk);
    assert_eq!(midway(&[(CLIENT, record.clone())]), tls);
    assert_eq!(midway(&[(SERVER, record[..60].to_vec())]), tls);
    assert_eq!(midway(&[(CLIENT, record[..9].to_vec()), (SERVER, record[..9].to_vec())]), tls);
    assert_eq!(midway(&[(CLIENT, [&record[..], &record[..]].concat())]), tls);
    assert_ne!(midway(&[(CLIENT, record[..20].to_vec())]), tls);
    let text = [&[23, 3, 3, 0x40, 0][..], &[b'a'; 200]].concat();
    assert_ne!(midway(&[(CLIENT, text)]), tls);
    let followed = [&in_record(23, b"short")[..], b"GET / HTTP/1.1\r\n"].concat();
    assert_ne!(midway(&[(CLIENT, followed)]), tls);
}

#[test]
fn an_alert_to_what_is_no_tls_does_not_name_the_flow() {
    let alert = vec![21, 3, 1, 0, 2, 2, 10];
    let named = Outcome::Confirmed { protocol: Protocol::Tls, initiator: Some(CLIENT) };
    assert_eq!(probe_from(true, [443, 50_000], &[(SERVER, alert.clone())]), named);
    let answered = [(CLIENT, b"\x01\x02nonsense".to_vec()), (SERVER, alert)];
    assert_ne!(probe_from(true, [443, 50_000], &answered), named);
}

#[test]
fn mutations_do_not_panic() {
    survives_mutations(|| Tls::new(CLIENT), &tls_1_2());
}
