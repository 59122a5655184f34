//! Tests of HTTP/2: what counts, however it is framed and packed, and what does not.

use super::*;
use crate::inspect::probe::Outcome;
use crate::inspect::testing::{
    CLIENT, SERVER, Talk, at, evidence, from_client, named_in_all_pieces, probe_from, read,
    same_in_all_pieces, survives_mutations,
};
use crate::inspect::{EvidenceKind as Kind, Facts, Protocol};

/// A literal that is not indexed, name and value plain.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127);
        out.push(u8::try_from(text.len()).unwrap());
        out.extend(text.as_bytes());
    }
    out
}

/// A literal that goes into the table.
fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut out = literal(name, value);
    out[0] = 0x40;
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![len[1], len[2], len[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

const GET: &[u8] = &[0x82, 0x84, 0x86];
const POST: &[u8] = &[0x83, 0x84, 0x86];
const FORM: &str = "application/x-www-form-urlencoded";

fn headers(stream: u32, flags: u8, parts: &[&[u8]]) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &parts.concat())
}

/// A GET with a token that goes into the table.
fn first_get() -> Vec<u8> {
    headers(1, 5, &[GET, &indexed("authorization", "Bearer abc")])
}

/// A GET whose token is one byte.
fn next_get(stream: u32) -> Vec<u8> {
    headers(stream, 5, &[GET, &[0xbe]])
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()
}

fn client(parts: &[Vec<u8>]) -> Talk {
    let mut stream = opening();
    stream.extend(parts.concat());
    vec![(CLIENT, stream)]
}

fn facts(talk: &Talk) -> Facts {
    same_in_all_pieces(|| Http2::new(CLIENT), talk);
    read(Http2::new(CLIENT), talk)
}

fn count(facts: &Facts, kind: Kind) -> u64 {
    facts.evidence.iter().find(|e| e.kind == kind).map_or(0, |e| e.count)
}

#[test]
fn a_token_of_one_byte_counts_from_the_second_request_on() {
    let facts = facts(&client(&[first_get(), next_get(3), next_get(5)]));
    assert_eq!((count(&facts, Kind::BearerToken), facts.requests), (3, 3));
    assert_eq!(evidence(&facts), [(Kind::BearerToken, 3, 1)]);
    assert_eq!(facts.evidence[0].secrets.len(), 1);
    assert!(facts.uninspected.is_empty());
}

#[test]
fn padding_priority_and_continuation_make_no_difference() {
    let block = [GET, &indexed("authorization", "Bearer abc")].concat();
    let padded = [&[3, 0, 0, 0, 0, 16][..], &block, &[0; 3]].concat();
    let (front, back) = block.split_at(9);
    let (middle, back) = back.split_at(1);
    let parts = [
        frame(kind::HEADERS, 0x2d, 1, &padded),
        frame(kind::HEADERS, 0x01, 3, front),
        frame(kind::CONTINUATION, 0, 3, middle),
        frame(kind::CONTINUATION, 4, 3, back),
        frame(0x42, 0xff, 0, b"unknown"),
        frame(kind::PING, 0, 0, &[0; 8]),
        next_get(5),
    ];
    let facts = facts(&client(&parts));
    assert_eq!((count(&facts, Kind::BearerToken), facts.requests), (3, 3));
}

#[test]
fn forms_in_data_of_interleaved_streams_are_read() {
    let form = literal("content-type", FORM);
    let parts = [
        headers(1, 4, &[POST, &form]),
        headers(3, 4, &[POST, &form]),
        headers(5, 4, &[POST]),
        frame(kind::DATA, 0, 1, b"access_to"),
        frame(kind::DATA, 8, 3, b"\x02grant_type=password&\0\0"),
        frame(kind::DATA, 1, 5, b"access_token=abc"),
        frame(kind::DATA, 1, 3, b"username=admin&password=admin"),
        frame(kind::DATA, 0, 1, b""),
        frame(kind::DATA, 0, 1, b"ken=abc"),
        headers(1, 5, &[&literal("authorization", "Bearer trailer")]),
    ];
    let facts = facts(&client(&parts));
    let counts = [Kind::BearerToken, Kind::PasswordGrant, Kind::DefaultCredentials];
    assert_eq!(counts.map(|kind| count(&facts, kind)), [1, 1, 1]);
    assert_eq!(facts.requests, 3);
}

#[test]
fn answers_find_their_requests_and_may_issue_tokens() {
    let ask = headers(3, 4, &[POST, &literal("content-type", FORM), &literal(":authority", "h")]);
    let json = literal("content-type", "application/json");
    let mut talk = client(&[
        first_get(),
        ask,
        frame(kind::DATA, 1, 3, b"grant_type=password&username=a&password=b"),
    ]);
    let server = [
        frame(kind::SETTINGS, 0, 0, &[]),
        headers(3, 4, &[&[0x88], &json]),
        headers(1, 5, &[&literal(":status", "401")]),
        frame(kind::DATA, 0, 3, b"{\"access_"),
        frame(kind::DATA, 1, 3, b"token\":\"abc\"}"),
    ];
    talk.push((SERVER, server.concat()));
    let facts = facts(&talk);
    let status = |kind| {
        let evidence = facts.evidence.iter().find(|e| e.kind == kind).unwrap();
        evidence.http.as_ref().unwrap().status
    };
    assert_eq!(status(Kind::BearerToken), Some(401));
    assert_eq!(status(Kind::PasswordGrant), Some(200));
    assert_eq!(status(Kind::TokenIssued), Some(200));
    let issued = facts.evidence.iter().find(|e| e.kind == Kind::TokenIssued).unwrap();
    assert_eq!(issued.http.as_ref().unwrap().host(), "h");
}

#[test]
fn near_misses_stay_silent() {
    let token = "Bearer abc";
    let mut talk = client(&[
        headers(1, 5, &[GET, &literal("x-authorization", token)]),
        headers(3, 5, &[GET, &literal("authorization", "Bearer ")]),
        headers(5, 4, &[POST, &literal("content-type", "application/grpc")]),
        frame(kind::DATA, 0, 5, b"access_token=abc&authorization: Bearer abc\r\n"),
        headers(5, 5, &[&literal("authorization", token)]),
        headers(7, 5, &[&[0x82, 0x86], &literal(":path", "/?access_token=")]),
    ]);
    let server = [
        frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]),
        frame(
            kind::PUSH_PROMISE,
            4,
            1,
            &[&[0, 0, 0, 2][..], GET, &literal("authorization", token)].concat(),
        ),
        headers(1, 4, &[&[0x88], &literal("authorization", token)]),
        frame(kind::DATA, 1, 1, b"{}"),
    ];
    talk.push((SERVER, server.concat()));
    let facts = facts(&talk);
    assert!(facts.evidence.is_empty(), "{:?}", facts.evidence);
    assert_eq!(facts.requests, 4);
}

#[test]
fn a_query_and_a_header_of_one_request_count_once() {
    let path = literal(":path", "/a?access_token=canary-1&x=2");
    let parts =
        [headers(1, 5, &[&[0x82, 0x86], &path, &literal("authorization", "bearer canary-1")])];
    let facts = facts(&client(&parts));
    assert_eq!(count(&facts, Kind::BearerToken), 1);
    let http = facts.evidence[0].http.as_ref().unwrap();
    assert_eq!((http.method(), http.path()), ("GET", "/a?access_token&x"));
    assert!(!format!("{facts:?}").contains("canary-1"));
}

#[test]
fn joined_midway_what_can_be_read_counts_and_the_rest_is_unknown() {
    let midway = || Http2::new(CLIENT).midway([true; 2]);
    let talk: Talk = vec![
        (CLIENT, b"rest of a frame".to_vec()),
        (CLIENT, next_get(7)),
        (CLIENT, headers(9, 5, &[GET, &indexed("authorization", "Bearer abc")])),
        (CLIENT, next_get(11)),
    ];
    let facts = read(midway(), &talk);
    assert_eq!((count(&facts, Kind::BearerToken), facts.requests), (2, 3));
    assert!(facts.uninspected.has(Uninspected::STATE));
    let known = read(midway(), &talk[2..]);
    assert_eq!(count(&known, Kind::BearerToken), 2);
    assert!(known.uninspected.is_empty());
    // However small the pieces are, the first one begins a frame.
    same_in_all_pieces(midway, &[(CLIENT, [next_get(7), next_get(9)].concat())]);
    let small: Talk =
        [headers(9, 5, &[GET, &indexed("authorization", "Bearer abc")]), next_get(11)]
            .concat()
            .iter()
            .map(|byte| (CLIENT, vec![*byte]))
            .collect();
    assert_eq!(count(&read(midway(), &small), Kind::BearerToken), 2);
    let from_start = client(&[first_get(), next_get(3)]);
    let facts = read(midway(), &from_start);
    assert_eq!(count(&facts, Kind::BearerToken), 2);
    assert!(facts.uninspected.is_empty(), "the preface was seen");
}

#[test]
fn what_is_too_much_is_a_limit_and_the_next_request_is_read() {
    let mut block = GET.to_vec();
    for _ in 0..1000 {
        block.extend(literal("x", &"y".repeat(100)));
    }
    let mut parts = vec![frame(kind::HEADERS, 1, 1, &block[..16_000])];
    for chunk in block[16_000..].chunks(16_000) {
        parts.push(frame(kind::CONTINUATION, 0, 1, chunk));
    }
    parts.push(frame(kind::CONTINUATION, 4, 1, &[]));
    parts.push(headers(3, 5, &[GET, &literal("authorization", "Bearer abc")]));
    let facts = read(Http2::new(CLIENT), &client(&parts));
    assert!(facts.uninspected.has(Uninspected::LIMIT));
    assert_eq!(count(&facts, Kind::BearerToken), 1);
}

#[test]
fn a_hole_in_data_is_skipped_and_one_elsewhere_ends_the_side() {
    let mut facts = Facts::default();
    let fingerprinter = crate::inspect::secret::Fingerprinter::new(b"key");
    let options = crate::inspect::Options::default();
    let mut context =
        Context { facts: &mut facts, fingerprinter: &fingerprinter, options: &options };
    let mut http2 = Http2::new(CLIENT);
    let data = frame(kind::DATA, 1, 1, &[7; 100]);
    let front = [opening(), headers(1, 4, &[POST]), data[..20].to_vec()].concat();
    http2.data(CLIENT, at(1), &front, &mut context);
    assert_eq!(http2.skippable(CLIENT), 89);
    http2.gap(CLIENT, 89, &mut context);
    let get = headers(3, 5, &[GET, &literal("authorization", "Bearer abc")]);
    http2.data(CLIENT, at(2), &get, &mut context);
    assert!(context.facts.uninspected.is_empty());
    http2.gap(CLIENT, 1, &mut context);
    http2.data(CLIENT, at(3), &get, &mut context);
    assert!(facts.uninspected.has(Uninspected::HOLE));
    assert_eq!(count(&facts, Kind::BearerToken), 1);
}

#[test]
fn the_preface_and_frames_name_the_flow() {
    named_in_all_pieces(from_client(Protocol::Http2), CLIENT, PREFACE);
    let settings = frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let answer = [settings.clone(), headers(1, 5, &[&[0x88]])].concat();
    named_in_all_pieces(from_client(Protocol::Http2), SERVER, &answer);
    // Settings alone say what the server speaks, and not its client.
    let http1 = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    let talk = [(SERVER, settings.clone()), (CLIENT, http1)];
    assert_eq!(probe_from(true, [8280, 50_000], &talk), from_client(Protocol::Http));
    let ports = [8280, 50_000];
    let midway = |side, bytes: &[u8]| probe_from(false, ports, &[(side, bytes.to_vec())]);
    assert_eq!(midway(CLIENT, &next_get(5)), from_client(Protocol::Http2));
    assert_eq!(midway(SERVER, &headers(5, 5, &[&[0x88]])), from_client(Protocol::Http2));
    let either = Outcome::Confirmed { protocol: Protocol::Http2, initiator: None };
    let ping = frame(kind::PING, 0, 0, &[1; 8]);
    assert_eq!(midway(CLIENT, &ping), either);
    for other in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 40], b"\0\0\x05\x01\x05\0\0\0\0hello", &settings[..9]]
    {
        assert!(!matches!(
            midway(CLIENT, other),
            Outcome::Confirmed { protocol: Protocol::Http2, .. }
        ));
    }
}

#[test]
fn mutations_do_not_panic() {
    let mut talk = client(&[
        first_get(),
        headers(3, 4, &[POST, &literal("content-type", FORM)]),
        frame(kind::DATA, 9, 3, b"\x02access_token=abc\0\0"),
        next_get(5),
    ]);
    talk.push((SERVER, headers(1, 5, &[&[0x88]])));
    survives_mutations(|| Http2::new(CLIENT), &talk);
    survives_mutations(|| Http2::new(CLIENT).midway([true; 2]), &talk);
}

/// `CONNECT b:80`.
fn connect(stream: u32) -> Vec<u8> {
    headers(stream, 4, &[&literal(":method", "CONNECT"), &literal(":authority", "b:80")])
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n";

#[test]
fn what_runs_through_a_connect_is_read_and_in_another_stream_is_not() {
    let (front, back) = REQUEST.split_at(20);
    let parts =
        [connect(1), data(1, 0, front), data(3, 0, REQUEST), data(1, 0, back), data(1, 1, REQUEST)];
    let mut talk = client(&parts[..1]);
    talk.push((SERVER, headers(1, 4, &[&[0x88]])));
    talk.push((CLIENT, parts[1..].concat()));
    talk.push((SERVER, data(1, 1, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")));
    let found = facts(&talk);
    assert_eq!((count(&found, Kind::BearerToken), found.requests), (2, 3));
    // Without the answer the bytes decide; a refused one has no tunnel; TLS inside is TLS.
    let alone = facts(&client(&parts));
    assert_eq!(count(&alone, Kind::BearerToken), 2);
    let mut refused = client(&parts[..1]);
    refused.push((SERVER, headers(1, 5, &[&[0x8c]])));
    refused.push((CLIENT, parts[1..].concat()));
    assert_eq!(count(&facts(&refused), Kind::BearerToken), 0);
    let mut hello = vec![22, 3, 1, 0, 48, 1, 0, 0, 44, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0x13, 1, 0x13, 2, 1, 0, 0]);
    hello.truncate(5 + 48);
    let tls = facts(&client(&[connect(1), data(1, 0, &hello), data(1, 0, REQUEST)]));
    assert!(tls.upgraded && tls.evidence.is_empty());
    // HTTP/2 through HTTP/2, and a WebSocket, whose frames present nothing.
    let inner = [opening(), first_get(), next_get(3)].concat();
    assert_eq!(count(&facts(&client(&[connect(1), data(1, 0, &inner)])), Kind::BearerToken), 2);
    let socket = headers(
        1,
        4,
        &[
            &literal(":method", "CONNECT"),
            &literal(":protocol", "websocket"),
            &literal("authorization", "Bearer a"),
        ],
    );
    let found = facts(&client(&[socket, data(1, 0, REQUEST)]));
    assert_eq!(count(&found, Kind::BearerToken), 1);
    let many: Vec<_> =
        (0..12).flat_map(|n| [connect(2 * n + 1), data(2 * n + 1, 0, REQUEST)]).collect();
    let found = facts(&client(&many));
    assert_eq!(count(&found, Kind::BearerToken), 8);
    assert!(found.uninspected.has(Uninspected::LIMIT));
    survives_mutations(|| Http2::new(CLIENT), &talk);
}
