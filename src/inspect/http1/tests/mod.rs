//! Tests of HTTP/1: what counts, in any pieces, and what does not.

mod captures;
mod context;
mod conversations;
mod credentials;

use proptest::prelude::*;

use super::*;
use crate::flow::tcp::Tcp;
use crate::flow::testing::{CLIENT, SERVER, tcp};
use crate::inspect::connection::Connection;
use crate::inspect::secret::Fingerprinter;
use crate::inspect::testing;
use crate::inspect::{EvidenceKind, Facts, Options, Protocol, Tools};
use crate::packet::{TcpFlags, Timestamp};

fn tools() -> Tools {
    Tools { options: Options::default(), fingerprinter: Fingerprinter::new(b"test") }
}

/// Reads pieces of both sides; `true` is the client's.
fn read(pieces: &[(bool, &[u8])]) -> Facts {
    let (tools, mut facts) = (tools(), Facts::default());
    let mut http = Http1::new(Side::Low);
    for (index, (from_client, bytes)) in pieces.iter().enumerate() {
        let side = if *from_client { Side::Low } else { Side::High };
        let at = At { frame: index as u64 + 1, time: Timestamp(0) };
        http.data(side, at, bytes, &mut tools.context(&mut facts));
    }
    for side in Side::BOTH {
        http.close(side, &mut tools.context(&mut facts));
    }
    facts
}

/// Sends pieces of both sides as packets of one connection, from its handshake or without it.
fn converse(pieces: &[(bool, &[u8])], midway: bool) -> Facts {
    let tools = tools();
    let mut connection = Connection::new();
    let mut next = [100_u32, 900];
    let mut handshake = Tcp::default();
    if !midway {
        // The client is the high side.
        handshake.counted(Side::Low, Some(next[1] - 1), None);
        handshake.counted(Side::High, Some(next[0] - 1), None);
    }
    let ports = {
        let packet = tcp(CLIENT, SERVER, 0, 0, 0, 0);
        [Side::Low, Side::High].map(|side| packet.key.port(side))
    };
    for (index, (from_client, bytes)) in pieces.iter().enumerate() {
        let (from, to) = if *from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let side = usize::from(!from_client);
        let len = u32::try_from(bytes.len()).unwrap();
        let mut packet = tcp(from, to, TcpFlags::ACK, next[side], 0, len);
        packet.at = At { frame: index as u64 + 1, time: Timestamp(0) };
        next[side] += len;
        connection.packet(&packet, bytes, &handshake, &tools);
    }
    connection.finish(ports, &tools)
}

/// Reads a conversation in every way that must make no difference, and gives its facts as they are whole.
fn in_all_ways(pieces: &[(bool, &[u8])]) -> Facts {
    let counts = |facts: &Facts| {
        let mut counts: Vec<_> = facts.evidence.iter().map(|e| (e.kind, e.count)).collect();
        counts.sort_unstable();
        (counts, facts.requests, facts.protocol, facts.uninspected)
    };
    let whole = converse(pieces, false);
    for (index, (from_client, bytes)) in pieces.iter().enumerate() {
        for at in 1..bytes.len() {
            let mut cut = pieces.to_vec();
            cut.splice(index..=index, [(*from_client, &bytes[..at]), (*from_client, &bytes[at..])]);
            assert_eq!(counts(&converse(&cut, false)), counts(&whole), "piece {index} at {at}");
        }
    }
    let single: Vec<_> = pieces
        .iter()
        .flat_map(|(from_client, bytes)| bytes.chunks(1).map(|byte| (*from_client, byte)))
        .collect();
    assert_eq!(counts(&converse(&single, false)), counts(&whole), "in single bytes");
    whole
}

fn count(facts: &Facts, kind: EvidenceKind) -> u64 {
    facts.evidence.iter().find(|e| e.kind == kind).map_or(0, |e| e.count)
}

fn bearers(request: &str) -> u64 {
    count(&read(&[(true, request.as_bytes())]), EvidenceKind::BearerToken)
}

/// Streams of one client, with the number of requests that present a token.
const TOKENS: &[(&str, u64)] = &[
    ("GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\nauthorization:bEARER\tabc\n\n", 1),
    ("\r\n\r\nGET / HTTP/1.1\r\nAuthorization : Bearer   abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\nAuthorization:\r\n Bearer\r\n\tabc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\nAuthorization: Basic eDp5\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\nAuthorization: Basic eDp5, Bearer abc\r\n\r\n", 1),
    ("GET /a?x=1&access_token=abc HTTP/1.1\r\nHost: h\r\n\r\n", 1),
    ("GET http://h/a?%61ccess_token=abc HTTP/1.0\r\n\r\n", 1),
    ("GET /?access_token=a HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    (
        "POST / HTTP/1.1\r\nContent-Type: Application/X-WWW-Form-URLencoded; charset=x\r\n\
      Content-Length: 18\r\n\r\na=b&access_token=cGET / HTTP/1.1\r\n\r\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\
      Content-Type: application/x-www-form-urlencoded\r\n\r\n\
      5;x=y\r\nacces\r\n0c\r\ns_token=abcd\r\n0\r\nT: x\r\n\r\n\
      GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\n\
      Authorization: Bearer abc\r\n\r\nGET / HTTP/1.1\r\nAuthorization: Bearer abd\r\n\r\n",
        2,
    ),
    ("GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\nX: unfini", 1),
    ("Authorization: Bearer abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\n Authorization: Bearer abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\nX: y\rAuthorization: Bearer abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\r\nAuthorization: Bearer abc\r\r\n\r\r\n", 1),
    ("GET / HTTP/1.1\r\n\0Authorization\0:\0Bearer\x0babc\0\r\n\r\n", 1),
    ("\u{feff}GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("\0GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("GET / HTTP/1.2\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("GET /\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("GET http://h/\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("FOO /x\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("M-SEARCH * HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    ("GET /a b?access_token=abc HTTP/1.1\r\n\r\n", 1),
    ("GET\t/?access_token=abc\tHTTP/1.1\r\n\r\n", 1),
    ("GET /?access_token=abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\nAuthorization: Bearer \"abc\"\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\nAuthorization: Bearer\t \t abc\r\n\r\n", 1),
    ("GET / HTTP/1.1\r\nauthorization: Bearer\r\nAUTHORIZATION: bearer abc\r\n\r\n", 1),
    (
        "POST / HTTP/1.1\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n\
      3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\nabc\
      GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 300\r\n\r\nabc\
      GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc\
      GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip,\r\n chunked\r\n\r\n\
      0x3\r\nabc\r\n0000\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n",
        1,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n\
      GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n",
        1,
    ),
    ("get  /  http/1.1\r\nAuthorization: Bearer abc\r\n\r\n", 1),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nAuthorization: Bearer a\r\n\r\n",
        1,
    ),
];

/// Streams of one client that present nothing.
const NEAR_MISSES: &[&str] = &[
    "GET / HTTP/1.1\r\nAuthorization: Bearer\r\n\r\n",
    "GET / HTTP/1.1\r\nAuthorization: Bearer  \t\r\n\r\n",
    "GET / HTTP/1.1\r\nX-Authorization: Bearer abc\r\n\r\n",
    "GET / HTTP/1.1\r\nAuthorization: Bear",
    "GET /?access_token= HTTP/1.1\r\n\r\n",
    "GET /?access_token=&x=access_token HTTP/1.1\r\n\r\n",
    "GET /access_token=abc HTTP/1.1\r\n\r\n",
    "GET /?xaccess_token=abc HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nWWW-Authenticate: Bearer realm=x\r\n\r\n",
    "GET / HTTP/1.1\r\nSec-WebSocket-Protocol: v1, authorization.bearer.abc\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\nAuthorization: Bearer abc\r\n",
    "POST / HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\naccess_token=abc",
    "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 13\r\n\r\n\
     access_token=",
    "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 30\r\n\r\n\
     access_token=cut",
    "POST / HTTP/1.1\r\nContent-Type: multipart/form-data\r\nContent-Length: 16\r\n\r\naccess_token=abc",
    "GET / HTTP/1.1\r\nX: y\r\n Authorization: Bearer abc\r\n\r\n",
    "GET / HTTP/1.1\r\nAuthorization: Bearer \"\"\r\n\r\n",
    "GET / HTTP/1.1\r\nAuthorization: Bearers abc\r\n\r\n",
    "GET / HTTP/1.1\r\nAuthorization: xBearer abc\r\n\r\n",
    "GET / HTTP/1.1\r\nProxy-Authorization: Bearer abc\r\n\r\n",
    "GET / HTTP/1.1\r\nReferer: /?access_token=abc\r\n\r\n",
    "GET / HTTP/1.1\r\nAuthorization: Bearer\r\n",
    "GET /?x=a%26access_token=abc HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 16\r\n\r\n\
     access_token=abc",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2b\r\nGET / HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n\
     \r\n0\r\nAuthorization: Bearer abc\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 43\r\n\r\nGET / HTTP/1.1\r\nAuthorization: Bearer xx\r\n\r\n",
    "GET / HTTP/1.1\r\nAuthorization: Digest username=\"a, Bearer b\"\r\n\r\n",
];

#[test]
fn every_presented_token_counts_once_a_request() {
    for (stream, expected) in TOKENS {
        assert_eq!(bearers(stream), *expected, "{stream:?}");
        let connected = in_all_ways(&[(true, stream.as_bytes())]);
        assert_eq!(count(&connected, EvidenceKind::BearerToken), *expected, "{stream:?}");
    }
}

#[test]
fn near_misses_stay_silent() {
    for stream in NEAR_MISSES {
        assert_eq!(bearers(stream), 0, "{stream:?}");
        let connected = in_all_ways(&[(true, stream.as_bytes())]);
        assert_eq!(count(&connected, EvidenceKind::BearerToken), 0, "{stream:?}");
    }
}

#[test]
fn every_split_into_two_pieces_and_into_bytes_gives_the_same() {
    let near = NEAR_MISSES.iter().map(|stream| (*stream, 0));
    for (stream, expected) in TOKENS.iter().copied().chain(near) {
        let bytes = stream.as_bytes();
        for cut in 1..bytes.len() {
            let facts = read(&[(true, &bytes[..cut]), (true, &bytes[cut..])]);
            assert_eq!(count(&facts, EvidenceKind::BearerToken), expected, "{stream:?} at {cut}");
        }
        let single: Vec<_> = bytes.chunks(1).map(|byte| (true, byte)).collect();
        assert_eq!(count(&read(&single), EvidenceKind::BearerToken), expected, "{stream:?}");
    }
}

#[test]
fn a_token_behind_more_headers_than_are_held_counts() {
    let filler = "X-Filler: 0123456789012345678901234567890123456789\r\n".repeat(4000);
    let stream = format!("GET / HTTP/1.1\r\n{filler}Authorization: Bearer abc\r\n{filler}\r\n");
    for len in [stream.len(), 1460, 7] {
        let pieces: Vec<_> = stream.as_bytes().chunks(len).map(|piece| (true, piece)).collect();
        let facts = read(&pieces);
        assert_eq!(count(&facts, EvidenceKind::BearerToken), 1);
        assert_eq!(facts.requests, 1);
        assert!(facts.uninspected.is_empty());
    }
}

#[test]
fn the_first_frame_is_where_the_request_begins() {
    let facts = read(&[
        (true, b"GET / HTTP/1.1\r\n\r\n\r\n"),
        (true, b"GET / HT"),
        (true, b"TP/1.1\r\nAuthorization: Bearer abc\r\n\r\n"),
    ]);
    assert_eq!(facts.evidence[0].first.frame, 2);
    assert_eq!(facts.requests, 2);
}

#[test]
fn responses_and_what_follows_an_upgrade_present_nothing() {
    let facts = read(&[
        (true, b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        (false, b"HTTP/1.1 101 Switching Protocols\r\nAuthorization: Bearer abc\r\n\r\n"),
        (true, b"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n"),
    ]);
    assert!(facts.evidence.is_empty());
    assert_eq!(facts.protocol, Some(Protocol::WebSocket));
}

#[test]
fn a_refused_upgrade_and_a_clear_tunnel_go_on_as_http() {
    let token: &[u8] = b"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n";
    for (ask, answer) in [
        (
            &b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"[..],
            &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..],
        ),
        (b"CONNECT b:80 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 Connection established\r\n\r\n"),
    ] {
        let facts = read(&[(true, ask), (false, answer), (true, token)]);
        assert_eq!(count(&facts, EvidenceKind::BearerToken), 1);
        let alone = read(&[(true, ask), (true, token)]);
        assert_eq!(count(&alone, EvidenceKind::BearerToken), 1, "the other side is absent");
    }
}

#[test]
fn the_answers_status_goes_to_the_request_it_answers() {
    let facts = read(&[
        (true, b"HEAD /a HTTP/1.1\r\n\r\nGET /b?q=1 HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n"),
        (false, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nHTTP/1.1 401 No\r\n\r\n"),
    ]);
    let http = facts.evidence[0].http.as_ref().expect("a request");
    assert_eq!((http.status, http.path()), (Some(401), "/b?q"));
}

#[test]
fn a_hole_in_a_body_is_skipped_and_one_in_a_head_ends_the_direction() {
    let (tools, token) = (tools(), b"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n");
    let (mut facts, at) = (Facts::default(), At::default());
    let mut http = Http1::new(Side::Low);
    let post = b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n0123456789";
    http.data(Side::Low, at, post, &mut tools.context(&mut facts));
    assert_eq!(http.skippable(Side::Low), 90);
    http.gap(Side::Low, 90, &mut tools.context(&mut facts));
    http.data(Side::Low, at, token, &mut tools.context(&mut facts));
    assert!(facts.uninspected.is_empty());
    http.data(Side::Low, at, b"GET / HT", &mut tools.context(&mut facts));
    http.gap(Side::Low, 5, &mut tools.context(&mut facts));
    http.data(Side::Low, at, token, &mut tools.context(&mut facts));
    assert!(facts.uninspected.has(Uninspected::HOLE));
    assert_eq!(count(&facts, EvidenceKind::BearerToken), 1);
}

#[test]
fn default_credentials_are_seen_and_never_shown() {
    let facts = read(&[(
        true,
        b"GET /x HTTP/1.1\r\nUser-Agent: YWRtaW46YWRtaW4=\r\n\
        Authorization: Basic YWRtaW46YWRtaW4=\r\n\r\n",
    )]);
    assert_eq!(count(&facts, EvidenceKind::DefaultCredentials), 1);
    assert!(!format!("{facts:?}").contains("YWRtaW46"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_bytes_in_any_pieces_end(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b':')], 0..2000),
        len in 1usize..50,
    ) {
        let pieces: Vec<_> = bytes.chunks(len).enumerate().map(|(i, piece)| (i % 3 != 0, piece)).collect();
        read(&pieces);
    }

    #[test]
    fn reading_a_heads_lines_finds_the_end_that_a_search_finds(
        bytes in prop::collection::vec(prop::sample::select(b"\r\n\r\n a:\tGET /\0".to_vec()), 0..60),
    ) {
        let end = head::for_each_line(&bytes, |_| {}, &head::Beginnings::ALL, |_, _| {});
        prop_assert_eq!(end, head_end(&bytes, 0));
    }

    #[test]
    fn what_a_name_begins_with_hides_no_line_of_interest(
        pieces in prop::collection::vec(prop::sample::select(&[
            "Authorization", "COOKIE", "content-length", "X-", "Host", "a", ":", ": b", " ", "\t", "\r\n", "\n",
            "\r", "\u{feff}", "\x01", "\x7f",
        ][..]), 0..40),
    ) {
        let head = pieces.concat();
        let names = |wanted: &head::Beginnings| {
            let mut found = Vec::new();
            head::for_each_line(head.as_bytes(), |_| {}, wanted, |name, value| {
                if ["authorization", "cookie", "content-length"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
                {
                    found.push((name.to_vec(), value.into_owned()));
                }
            });
            found
        };
        let wanted = head::Beginnings::of(&[*b"au", *b"co"]);
        prop_assert_eq!(names(&wanted), names(&head::Beginnings::ALL));
    }

    #[test]
    fn any_split_of_several_streams_gives_the_sum(
        picks in prop::collection::vec(0usize..10, 1..5),
        len in 1usize..80,
    ) {
        let whole: Vec<u8> = picks.iter().flat_map(|pick| TOKENS[*pick].0.bytes()).collect();
        let expected: u64 = picks.iter().map(|pick| TOKENS[*pick].1).sum();
        let pieces: Vec<_> = whole.chunks(len).map(|piece| (true, piece)).collect();
        prop_assert_eq!(count(&read(&pieces), EvidenceKind::BearerToken), expected);
    }

    #[test]
    fn no_beginning_of_a_stream_counts_more_than_the_whole(pick in 0usize..TOKENS.len()) {
        let (stream, expected) = TOKENS[pick];
        let mut last = 0;
        for len in 0..=stream.len() {
            let now = count(&read(&[(true, &stream.as_bytes()[..len])]), EvidenceKind::BearerToken);
            prop_assert!(last <= now && now <= expected, "{:?}", &stream[..len]);
            last = now;
        }
    }
}

#[test]
fn mutations_of_a_whole_conversation_do_not_panic() {
    let form = "POST /token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Transfer-Encoding: chunked\r\n\r\n11\r\naccess_token=abc&\r\n0\r\n\r\n";
    let soap = "POST /s HTTP/1.1\r\nContent-Type: text/xml\r\nContent-Length: 83\r\n\r\n\
        <E:Envelope><UsernameToken><Username>a</Username><Password>b</Password></x></x></x>";
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n\
        {\"access_token\":\"abc\"}";
    let connect = "CONNECT b:80 HTTP/1.1\r\nExpect: 100-continue\r\n\r\n";
    let talk = [
        (true, form),
        (false, json),
        (true, soap),
        (false, "HTTP/1.1 401 No\r\n\r\n"),
        (true, connect),
        (false, "HTTP/1.1 200 OK\r\n\r\n"),
        (true, "GET /ws HTTP/1.1\r\nUpgrade: h2c\r\nAuthorization: Basic YWRtaW46YWRtaW4=\r\n\r\n"),
        (false, "HTTP/1.1 101 Switching\r\n\r\n"),
        (true, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ];
    let side = |from_client| if from_client { testing::CLIENT } else { testing::SERVER };
    let talk: testing::Talk = talk
        .iter()
        .map(|(from_client, text)| (side(*from_client), text.as_bytes().to_vec()))
        .collect();
    testing::survives_mutations(|| Http1::new(testing::CLIENT), &talk);
    testing::survives_mutations(|| Http1::new(testing::CLIENT).midway([true; 2]), &talk);
}
