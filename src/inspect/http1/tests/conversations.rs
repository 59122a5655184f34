//! Both sides: answers, upgrades, tunnels, holes, and connections joined midway.

use super::*;

const TOKEN: &[u8] = b"GET /t HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn bearer(facts: &Facts) -> u64 {
    count(facts, EvidenceKind::BearerToken)
}

fn status(facts: &Facts) -> Option<u16> {
    facts.evidence[0].http.as_ref().and_then(|http| http.status)
}

#[test]
fn answers_that_lag_behind_pipelined_requests_find_theirs() {
    let facts = in_all_ways(&[
        (true, b"HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
        (true, TOKEN),
        (false, b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"),
        (false, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9000\r\n\r\n"),
        (
            false,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        ),
    ]);
    assert_eq!((bearer(&facts), facts.requests, status(&facts)), (1, 3, Some(403)));
}

#[test]
fn bodies_of_every_kind_are_passed_over() {
    let facts = in_all_ways(&[
        (true, b"GET /1 HTTP/1.1\r\n\r\n"),
        (
            false,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHTTP/\r\n0\r\nX: y\r\n\r\n",
        ),
        (true, b"GET /2 HTTP/1.1\r\n\r\n"),
        (false, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (true, b"DELETE /3 HTTP/1.1\r\n\r\n"),
        (false, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (true, TOKEN),
        (
            false,
            b"HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Bearer abc\r\n\r\nGET / HTTP/1.1\r\n",
        ),
        (false, b"Authorization: Bearer abc\r\n\r\n"),
    ]);
    assert_eq!((bearer(&facts), facts.requests, status(&facts)), (1, 4, Some(401)));
}

#[test]
fn requests_inside_bodies_are_none_even_at_the_start_of_a_segment() {
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", 2 * TOKEN.len());
    let facts =
        in_all_ways(&[(true, head.as_bytes()), (true, TOKEN), (true, TOKEN), (true, TOKEN)]);
    assert_eq!((bearer(&facts), facts.requests), (1, 2));
    assert_eq!(facts.evidence[0].first.frame, 4);
}

#[test]
fn a_body_after_100_continue_is_a_body_and_after_a_refusal_may_be_a_request() {
    let head = format!(
        "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        TOKEN.len()
    );
    let go_on: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let facts = in_all_ways(&[(true, head.as_bytes()), (false, go_on), (true, TOKEN), (false, OK)]);
    assert_eq!((bearer(&facts), facts.requests), (0, 1));
    let no: &[u8] = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    let facts = converse(&[(true, head.as_bytes()), (false, no), (true, TOKEN)], false);
    assert_eq!((bearer(&facts), facts.requests), (1, 2));
}

#[test]
fn frames_of_websocket_are_no_requests_whether_the_answer_is_seen_or_not() {
    let ask: &[u8] = b"GET /ws?access_token=abc HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let yes: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let push = [&b"\x81\x2d"[..], TOKEN].concat();
    let masked = [&b"\x81\xad\0\0\0\0"[..], TOKEN].concat();
    let facts = in_all_ways(&[(true, ask), (false, yes), (false, &push), (true, &masked)]);
    assert_eq!((bearer(&facts), status(&facts)), (1, Some(101)));
    assert_eq!(facts.protocol, Some(Protocol::WebSocket));
    let alone = in_all_ways(&[(true, ask), (true, &masked), (true, TOKEN)]);
    assert_eq!(bearer(&alone), 1);
    assert_eq!(alone.protocol, Some(Protocol::WebSocket));
    let refused: &[u8] = b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n";
    let facts = in_all_ways(&[(true, ask), (false, refused), (true, TOKEN)]);
    assert_eq!((bearer(&facts), facts.protocol), (2, Some(Protocol::Http)));
}

#[test]
fn a_tunnel_in_clear_counts_on_the_outer_flow_and_tls_inside_is_encrypted() {
    let ask: &[u8] = b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n";
    let yes: &[u8] = b"HTTP/1.1 200 Connection established\r\nContent-Length: 7\r\n\r\n";
    let facts =
        in_all_ways(&[(true, ask), (false, yes), (true, TOKEN), (false, OK), (true, TOKEN)]);
    assert_eq!((bearer(&facts), facts.requests, status(&facts)), (2, 3, Some(200)));
    assert!(!facts.upgraded);
    let mut hello = vec![22, 3, 1, 0, 48, 1, 0, 0, 44, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0x13, 1, 0x13, 2, 1, 0, 0]);
    hello.truncate(5 + 48);
    for pieces in [
        vec![(true, ask), (false, yes), (true, hello.as_slice()), (true, TOKEN)],
        vec![(true, ask), (true, hello.as_slice()), (true, TOKEN)],
    ] {
        let facts = in_all_ways(&pieces);
        assert!(facts.upgraded && facts.tls.is_some());
        assert_eq!((bearer(&facts), facts.protocol), (0, Some(Protocol::Http)));
    }
    let no: &[u8] = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    let facts = in_all_ways(&[(true, ask), (false, no), (true, TOKEN)]);
    assert_eq!((bearer(&facts), facts.requests), (1, 2));
    // A tunnel inside a tunnel, and so on without end.
    let deep: Vec<(bool, &[u8])> = (0..20).flat_map(|_| [(true, ask), (false, yes)]).collect();
    assert_eq!(bearer(&converse(&deep, false)), 0);
}

#[test]
fn after_an_upgrade_to_http2_the_first_request_is_http1_and_the_rest_is_not() {
    let ask: &[u8] = b"GET /1 HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAAP__\r\nAuthorization: Bearer abc\r\n\r\n";
    let yes: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";
    let mut client = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // GET / on stream 3, with a token.
    let block = [&[0x82, 0x84, 0x86, 0x57, 10][..], b"Bearer abc"].concat();
    client.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 3]);
    client.extend(&block);
    let server = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 1, 5, 0, 0, 0, 1, 0x8d];
    for pieces in [
        vec![(true, ask), (false, yes), (true, client.as_slice()), (false, server.as_slice())],
        vec![(true, ask), (true, client.as_slice()), (false, yes), (false, server.as_slice())],
    ] {
        let facts = in_all_ways(&pieces);
        assert_eq!((bearer(&facts), facts.requests, status(&facts)), (2, 2, Some(404)));
        assert_eq!(facts.protocol, Some(Protocol::Http2));
        assert!(facts.uninspected.is_empty());
    }
    let alone = in_all_ways(&[(true, ask), (true, client.as_slice())]);
    assert_eq!(bearer(&alone), 2);
    let facts = in_all_ways(&[(true, ask), (false, OK), (true, TOKEN)]);
    assert_eq!((bearer(&facts), facts.protocol), (2, Some(Protocol::Http)));
}

#[test]
fn headers_of_load_balancers_are_taken_off() {
    let v1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 8280\r\n";
    let v2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xc3\x50\x20\x58";
    for lead in [v1.to_vec(), v2.to_vec(), [v1, v2].concat(), [v2, v2, v1].concat()] {
        let stream = [&lead, TOKEN].concat();
        let facts = in_all_ways(&[(true, &stream), (true, TOKEN), (false, OK)]);
        assert_eq!((bearer(&facts), facts.requests), (2, 2));
        assert_eq!(bearer(&converse(&[(true, &lead), (true, TOKEN)], false)), 1);
        assert_eq!(bearer(&converse(&[(true, &stream)], true)), 1);
    }
    assert_eq!(converse(&[(true, v1), (true, TOKEN)], false).evidence[0].first.frame, 2);
}

#[test]
fn a_connection_joined_midway_begins_with_the_first_head() {
    let tail: &[u8] = b"r: x\r\nAuthorization: Bearer before\r\n\r\n";
    let body: &[u8] = b"{\"a\": \"Authorization: Bearer x\"}\r\n\r\n";
    for first in [&[(true, tail)][..], &[(true, body), (false, b"}\r\n")], &[(false, body)], &[]] {
        let pieces = [first, &[(true, TOKEN), (false, OK), (true, TOKEN)]].concat();
        let facts = converse(&pieces, true);
        assert_eq!((bearer(&facts), facts.requests), (2, 2), "{first:?}");
    }
    let answer_first = [(false, OK), (true, body), (true, TOKEN)];
    assert_eq!(bearer(&converse(&answer_first, true)), 1);
}

#[test]
fn the_end_of_a_body_that_looks_like_words_is_no_part_of_the_first_head() {
    for answered in [false, true] {
        for (tail, own) in [(&b"end of a body"[..], 3), (b"word", 3), (b"end\r\n", 3)] {
            let answer = if answered { OK } else { b"" };
            let facts = converse(&[(false, answer), (true, tail), (true, TOKEN)], true);
            assert_eq!((bearer(&facts), facts.requests), (1, 1), "{tail:?}");
            assert_eq!(facts.evidence[0].first.frame, own, "{answered} {tail:?}");
        }
    }
}

#[test]
fn the_middle_of_an_answer_is_no_request_even_if_it_looks_like_one() {
    let facts = converse(&[(false, TOKEN), (false, TOKEN), (true, TOKEN), (false, OK)], true);
    assert_eq!((bearer(&facts), facts.requests), (1, 1));
}

#[test]
fn a_request_line_longer_than_what_is_held_for_recognition_is_one() {
    for method in ["GET", "FOO", "get"] {
        let line = format!("{method} /{}?access_token=abc HTTP/1.1\r\n\r\n", "a".repeat(3000));
        let pieces: Vec<_> = line.as_bytes().chunks(700).map(|piece| (true, piece)).collect();
        assert_eq!(bearer(&converse(&pieces, false)), 1, "{method}");
    }
}

#[test]
fn a_line_longer_than_what_is_held_is_a_limit_and_the_next_one_is_read() {
    let long = format!(
        "GET / HTTP/1.1\r\nX: {}\rAuthorization: Basic eDp5\r\nAuthorization: Bearer abc\r\n\r\n",
        "a".repeat(200_000)
    );
    for len in [1460, 100_000, 300_000] {
        let mut pieces: Vec<_> = long.as_bytes().chunks(len).map(|piece| (true, piece)).collect();
        pieces.push((true, TOKEN));
        let facts = converse(&pieces, false);
        assert_eq!(facts.requests, 2);
        assert_eq!(bearer(&facts), 2);
        assert_eq!(facts.uninspected.has(Uninspected::LIMIT), len < 300_000);
    }
}

#[test]
fn a_hole_is_skipped_in_a_body_and_ends_the_direction_elsewhere() {
    let (tools, mut facts, at) = (tools(), Facts::default(), At::default());
    let mut http = Http1::new(Side::Low);
    let post = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n0123456789";
    http.data(Side::Low, at, post, &mut tools.context(&mut facts));
    assert_eq!(http.skippable(Side::Low), 90);
    http.gap(Side::Low, 90, &mut tools.context(&mut facts));
    http.data(Side::Low, at, b"\r\n0\r\n\r\n", &mut tools.context(&mut facts));
    http.data(Side::Low, at, TOKEN, &mut tools.context(&mut facts));
    assert!(facts.uninspected.is_empty());
    assert_eq!(bearer(&facts), 1);
    // A line that is whole counts, the next one is not, and behind the hole nothing is.
    let head = b"GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\nApikey: ab";
    http.data(Side::Low, at, head, &mut tools.context(&mut facts));
    http.gap(Side::Low, 5, &mut tools.context(&mut facts));
    http.data(Side::Low, at, TOKEN, &mut tools.context(&mut facts));
    http.close(Side::Low, &mut tools.context(&mut facts));
    assert!(facts.uninspected.has(Uninspected::HOLE));
    assert_eq!((bearer(&facts), count(&facts, EvidenceKind::ApiKey)), (2, 0));
}

#[test]
fn a_hole_in_a_form_keeps_what_was_whole() {
    let (tools, mut facts, at) = (tools(), Facts::default(), At::default());
    let mut http = Http1::new(Side::Low);
    let post = b"POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Content-Length: 100\r\n\r\naccess_token=abc&client_secret=x";
    http.data(Side::Low, at, post, &mut tools.context(&mut facts));
    assert_eq!(http.skippable(Side::Low), 0);
    http.gap(Side::Low, 68, &mut tools.context(&mut facts));
    http.data(Side::Low, at, TOKEN, &mut tools.context(&mut facts));
    assert!(facts.uninspected.has(Uninspected::HOLE));
    assert_eq!((bearer(&facts), count(&facts, EvidenceKind::ClientSecret)), (2, 0));
}

#[test]
fn a_client_alone_counts_the_same_however_many_requests_it_sends() {
    let mut pieces: Vec<(bool, &[u8])> = vec![(true, TOKEN); 1000];
    pieces.push((false, OK));
    let facts = converse(&pieces, false);
    assert_eq!((bearer(&facts), facts.requests), (1000, 1000));
}

#[test]
fn an_answer_captured_before_its_request_is_that_requests_answer() {
    let other: &[u8] = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
    let facts = in_all_ways(&[(false, other), (true, TOKEN), (true, TOKEN), (false, OK)]);
    assert_eq!((bearer(&facts), status(&facts)), (2, Some(404)));
    let ask: &[u8] = b"GET /ws?access_token=abc HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let yes: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let masked = [&b"\x81\xad\0\0\0\0"[..], TOKEN].concat();
    let talk =
        [(true, TOKEN), (false, OK), (false, yes), (true, ask), (true, &masked), (true, &masked)];
    let facts = in_all_ways(&talk);
    assert_eq!((bearer(&facts), facts.protocol), (2, Some(Protocol::WebSocket)));
    let ask: &[u8] = b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n";
    let yes: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let facts =
        in_all_ways(&[(true, TOKEN), (false, OK), (false, yes), (true, ask), (true, TOKEN)]);
    assert_eq!((bearer(&facts), facts.requests), (2, 3));
    // Joined midway, the first answer is for a request that was not captured.
    let pieces = [(false, other), (true, TOKEN), (false, OK), (true, TOKEN), (false, other)];
    let facts = converse(&pieces, true);
    assert_eq!((bearer(&facts), status(&facts)), (2, Some(200)));
}

#[test]
fn of_a_request_line_that_was_cut_whole_parameters_count() {
    for (line, expected) in [
        ("GET /?access_token=abc&x=12", 1),
        ("GET /?x=1&access_token=abc HTT", 1),
        ("GET /?access_token=abc", 0),
        ("GET /?x=1&access_token=ab", 0),
        ("GET /?access_token=&x=access_token", 0),
        ("GET /a&access_token=abc&b", 0),
    ] {
        let cut = |loses: bool| {
            let (tools, mut facts) = (tools(), Facts::default());
            let mut http = Http1::new(Side::Low);
            let at = At::default();
            http.data(Side::Low, at, line.as_bytes(), &mut tools.context(&mut facts));
            if loses {
                http.gap(Side::Low, 9, &mut tools.context(&mut facts));
            }
            http.close(Side::Low, &mut tools.context(&mut facts));
            facts
        };
        for loses in [true, false] {
            let facts = cut(loses);
            assert_eq!(bearer(&facts), expected, "{line}");
            assert_eq!(facts.uninspected.has(Uninspected::HOLE), loses);
            for evidence in &facts.evidence {
                assert!(evidence.http.as_ref().unwrap().path().starts_with("/?"), "{line}");
            }
        }
    }
}

#[test]
fn a_line_too_long_to_hold_hides_no_line_before_it() {
    let long = "x".repeat(2 * HEAD_LEN_MAX);
    for (head, expected) in [
        (format!("GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\nX: {long}\r\nY: z\r\n\r\n"), 1),
        (format!("GET /?access_token=abc HTTP/1.1\r\nX: {long}\r\nY: z\r\n\r\n"), 1),
        (format!("GET /?access_token=abc&x={long} HTTP/1.1\r\nY: z\r\n\r\n"), 1),
        (format!("GET /?x={long} HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n"), 1),
        (format!("GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n {long}\r\nY: z\r\n\r\n"), 0),
        (format!("GET / HTTP/1.1\r\nAuthorization: Bearer {long}\r\nY: z\r\n\r\n"), 0),
    ] {
        let pieces = head.as_bytes().chunks(1000).map(|piece| (true, piece));
        let facts = read(&pieces.chain([(true, TOKEN)]).collect::<Vec<_>>());
        assert_eq!((bearer(&facts), facts.requests), (expected + 1, 2), "{}", &head[..40]);
        assert!(facts.uninspected.has(Uninspected::LIMIT));
    }
}

#[test]
fn carriage_returns_without_end_are_looked_at_once() {
    // Pieces of one byte: a second look at all of them at each would take minutes.
    let returns = vec![b'\r'; 60_000];
    for (from_client, first) in
        [(true, &b"GET / HTTP/1.1\r\n"[..]), (false, b"HTTP/1.1 200 OK\r\n")]
    {
        let mut pieces: Vec<(bool, &[u8])> = vec![(from_client, first)];
        pieces.extend(returns.chunks(1).map(|piece| (from_client, piece)));
        pieces.push((from_client, b"\nAuthorization: Bearer abc\r\n\r\n"));
        let facts = read(&pieces);
        assert_eq!(count(&facts, EvidenceKind::BearerToken), u64::from(from_client));
    }
}
