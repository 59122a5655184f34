//! No secret is shown, wherever it stands and however its stream is cut; what is shown still is the protocol.

use proptest::prelude::*;

use super::*;

/// Stands in every place of a secret below.
const SECRET: &[u8] = b"CANARY-s3cr3t-Value.q7";

/// Characters in a row of a secret that would tell something of it.
const TELLING_LEN: usize = 4;

/// Gives a stream in pieces, and returns what is shown of it.
fn redacted(protocol: Protocol, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut redactor, mut shown) = (Redactor::new(protocol), Shown::default());
    let mut at = 0;
    for piece in pieces {
        redactor.data(Side::Low, at, piece, &mut shown);
        at += piece.len() as u64;
    }
    redactor.close(Side::Low, &mut shown);
    let mut out = pieces.concat();
    shown.write(0, &mut out);
    out
}

fn whole(protocol: Protocol, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&redacted(protocol, &[bytes])).into_owned()
}

/// Returns the part of the secret that stands in some bytes.
fn leak(bytes: &[u8]) -> Option<&'static [u8]> {
    SECRET.windows(TELLING_LEN).find(|part| memchr::memmem::find(bytes, part).is_some())
}

fn with_secret(text: &str) -> Vec<u8> {
    text.replace('$', std::str::from_utf8(SECRET).unwrap()).into_bytes()
}

fn length(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn short_length(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

fn http_streams() -> Vec<Vec<u8>> {
    let bodies = [
        ("application/x-www-form-urlencoded", "grant_type=password&username=$&password=$&$"),
        ("application/json", r#"{"access_token":"$","n":[{"$":1},"$"],"x" : "a\"$","e":3600}"#),
        (
            "text/xml",
            "<a:Envelope xmlns:a='http://www.w3.org/x' k='$'><Password>$</Password></a:Envelope>",
        ),
        ("text/plain", "$"),
        ("application/json", "$"),
        ("text/xml", "$<$ $='$'><![CDATA[$]]><!-- $ -->"),
    ];
    let mut streams = Vec::new();
    for (kind, body) in bodies {
        let body = with_secret(body);
        let head = format!("POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n");
        let len = format!("Content-Length: {}\r\n\r\n", body.len());
        let next = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
        streams.push([head.as_bytes(), len.as_bytes(), &body, next].concat());
        let chunked = b"Transfer-Encoding: chunked\r\n\r\n";
        let (one, other) = body.split_at(body.len() / 2);
        let chunk = |part: &[u8]| {
            [format!("{:x};e={}\r\n", part.len(), "CANARY-s3").as_bytes(), part, b"\r\n"].concat()
        };
        let end = with_secret("0\r\nX-Trailer: $\r\n\r\n");
        streams.push([head.as_bytes(), chunked, &chunk(one), &chunk(other), &end, next].concat());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n");
        streams.push([answer.as_bytes(), &body].concat());
    }
    for head in [
        "GET /a/$/b;jsessionid=$?access_token=$&$&$=$#$ HTTP/1.1\r\nAuthorization: Bearer $\r\n\r\n",
        "GET http://$:$@host/x HTTP/1.1\r\nAUTHORIZATION\t:\tbearer\t$\r\nCookie: a=$; $; b=$\r\n\r\n",
        "GET / HTTP/1.1\r\nAuthorization:\r\n Bearer\r\n $\r\nX-Any: Basic $\r\n $\r\n\t$\r\n\r\n",
        "GET / HTTP/1.1\r\n$\r\nX $: $\r\nAuthorization: $\r\nApiKey: $, $\r\n\r\n$",
        "$ $ $\r\n$: \r\n\r\n",
        "GET / HTTP/1.1\nAuthorization: Digest username=\"$\", nonce=\"$\", response=$, x=\"$\"\n\n",
        "HTTP/1.1 302 $\r\nLocation: /x#access_token=$\r\nSet-Cookie: $=$; path=/\r\n\r\n",
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n\u{1}\u{16}$\u{1}\u{16}$",
        "GET /a?client_id=$&client_secret=$ HTTP/1.1\r\nX-IBM-Client-Id: $\r\nX-IBM-Client-Secret: $\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: $\r\nUser-Agent: a $ b\r\nX-Forwarded-For: 10.0.0.9, $\r\nApikey: $\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u:$@h\r\nForwarded: for=\"$\"\r\n ;by=$\r\nAuthorization:\r\n Bearer $\r\n\r\n",
        "GET / HTTP/1.1\r\nUser-Agent: curl Bearer $\r\nAccept: $\r\nCookie: a=$\r\n\r\n",
        "GET /?apikey=$ HTTP/1.1\r\nOrigin: http://$\r\n\r\nGET / HTTP/1.1\r\nHost: $\r\n\r\n",
        "CONNECT $:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nAuthorization: Bearer $\r\n\r\n",
        "\r\n\r\nAuthorization: Bearer $\r\n\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /?k=$ HTTP/1.1\r\n\r\n",
        "PROXY $\r\nGET / HTTP/1.1\r\n\r\n",
        "\r\n\r\n\0\r\nQUIT\n!\u{11}\0\u{22}abcdefghijkl$GET / HTTP/1.1\r\n\r\n",
    ] {
        // As a header's name the secret is no secret, and a word of a path neither.
        let head = head.replace("\r\n$: ", "\r\nname: ").replace("/$/", "/b1C2d3E4f5/");
        streams.push(with_secret(&head));
    }
    streams
}

#[test]
fn what_was_presented_goes_and_what_stands_beside_it_stays() {
    let text = "GET /a/$/b HTTP/1.1\r\nHost: u:p@gw.example.org:8280\r\nUser-Agent: curl/8 (x; $) y\r\n\
        X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\nAuthorization: Bearer $\r\n\r\n\
        GET /a HTTP/1.1\r\nHost: $.org\r\nAccept: */*\r\n\r\n";
    let secret = "abcdef";
    let shown = whole(Protocol::Http, text.replace('$', secret).as_bytes());
    let expected = "GET /a/$/b HTTP/1.1\r\nHost: XXX@gw.example.org:8280\r\nUser-Agent: XXXXXX XXX XXXXXXX X\r\n\
        X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\nAuthorization: Bearer $\r\n\r\n\
        GET /a HTTP/1.1\r\nHost: $XXXX\r\nAccept: */*\r\n\r\n";
    assert_eq!(shown, expected.replace('$', "XXXXXX"));
}

fn http2_stream() -> Vec<u8> {
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    };
    let text = |bytes: &[u8]| element(0, bytes)[1..].to_vec();
    let bearer = [b"Bearer ".as_slice(), SECRET].concat();
    let path = [b"/a?k=".as_slice(), SECRET].concat();
    let block = [
        &[0x82, 0x44][..],
        &text(&path),
        &[0x57],
        &text(&bearer),
        &[0x40],
        &text(b"x-key"),
        &text(SECRET),
        &[0x7f, 0],
        &text(SECRET),
        &[0x41],
        &text(SECRET),
        &[0x0f, 0x2b],
        &text(&[b"a ", SECRET, b" b"].concat()),
        &[0x40],
        &text(b"x-forwarded-for"),
        &text(SECRET),
    ]
    .concat();
    let (one, other) = block.split_at(30);
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, &[]),
        frame(1, 0, one),
        frame(9, 4, other),
        frame(0, 8, &[&[3][..], SECRET, &[0; 3]].concat()),
        frame(7, 0, &[&[0; 8][..], SECRET].concat()),
        frame(99, 0, SECRET),
    ]
    .concat()
}

fn streams() -> Vec<(Protocol, Vec<u8>)> {
    let mut streams: Vec<_> = http_streams().into_iter().map(|s| (Protocol::Http, s)).collect();
    streams.push((Protocol::Http2, http2_stream()));
    let secret_len = u16::try_from(SECRET.len()).unwrap().to_be_bytes();
    let record = [&[23, 3, 3], &secret_len[..], SECRET].concat();
    let hello = [&[22, 3, 1, 0, 2, 1, 0][..], &record, SECRET].concat();
    streams.push((Protocol::Tls, hello));
    let bind = |credential: &[u8]| {
        let content = [&[2, 1, 3][..], &element(4, SECRET), credential].concat();
        element(0x30, &[&[2, 1, 1][..], &element(0x60, &content)].concat())
    };
    let sasl = element(0xa3, &[element(4, b"PLAIN"), element(4, SECRET)].concat());
    streams.push((Protocol::Ldap, [bind(&element(0x80, SECRET)), bind(&sasl)].concat()));
    let name = short_length(SECRET);
    let connect = [&short_length(b"MQTT")[..], &[4, 0xc2, 0, 9], &name, &name, &name].concat();
    let publish = [&element(0x30, &name)[..], SECRET].concat();
    streams.push((Protocol::Mqtt, [element(0x10, &connect), publish].concat()));
    for (mechanism, response) in [
        (&b"PLAIN"[..], [b"\0".as_slice(), SECRET, b"\0", SECRET].concat()),
        (
            b"AMQPLAIN",
            [b"\x05LOGINS", &length(SECRET)[..], b"\x08PASSWORDS", &length(SECRET)].concat(),
        ),
    ] {
        let login = [
            &[0, 10, 0, 11][..],
            &length(SECRET),
            &element(0, mechanism)[1..],
            &length(&response),
            &element(0, b"en_US")[1..],
        ]
        .concat();
        let frame = [&[1, 0, 0][..], &length(&login), &[0xce]].concat();
        streams.push((Protocol::Amqp, [&b"AMQP\0\0\x09\x01"[..], &frame].concat()));
    }
    let plain = [b"\0".as_slice(), SECRET, b"\0", SECRET].concat();
    let content =
        [&[2, 1, 0, 0, 0, 0x53, 0x41, 0xc0, 9, 3, 0xa3, 5][..], b"PLAIN", &[0xa0]].concat();
    let content = [&content, &element(0, &plain)[1..], &[0x40]].concat();
    let len = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
    streams.push((Protocol::Amqp, [&b"AMQP\x03\x01\0\0"[..], &len, &content].concat()));
    let body = [&length(b"")[..3], &[22][..], &length(b"")[..3], &[22], SECRET, SECRET].concat();
    streams.push((Protocol::Databridge, [&[0][..], &length(&body)].concat()));
    let session = [&[2][..], &length(b"01234567-89ab-cdef-0123-456789abcdef")].concat();
    streams.push((Protocol::Databridge, session));
    let call = [&b"JRMI\0\x02K"[..], &[0x50, 0xac, 0xed, 0, 5, 0x77, 0x22], &[7; 34]].concat();
    let strings = [&[0x74][..], &name, &[0x74], &name].concat();
    streams.push((Protocol::Rmi, [call, strings].concat()));
    let thrift = [
        &[0x80, 1, 0, 1][..],
        &length(b"connect"),
        &[0, 0, 0, 1, 11, 0, 1],
        &length(SECRET),
        &[11, 0, 2],
        &length(SECRET),
        &[0],
    ]
    .concat();
    streams.push((Protocol::Thrift, length(&thrift)));
    let wide: Vec<u8> = SECRET.iter().flat_map(|byte| [*byte, 0]).collect();
    for protocol in [Protocol::Cassandra, Protocol::Kafka, Protocol::Hazelcast, Protocol::Hdfs] {
        streams.push((protocol, [&[4, 0, 0, 1, 15][..], &length(&length(SECRET)), &wide].concat()));
    }
    streams.push((Protocol::Ssh, [&b"x\r\nSSH-2.0-y\r\n"[..], &length(SECRET)].concat()));
    streams.push((Protocol::Syslog, with_secret("<13>Oct 11 $ $\n<14>$")));
    let label = element(0, SECRET)[1..].to_vec();
    let query = [&[0; 4][..], &[0, 1, 0, 0, 0, 0, 0, 0], &label, &[0, 0, 1, 0, 1], SECRET].concat();
    streams.push((Protocol::Dns, short_length(&query)));
    streams
}

#[test]
fn no_secret_is_shown_however_a_stream_is_cut() {
    for (protocol, bytes) in streams() {
        let wide_leak = |out: &[u8]| {
            let narrow: Vec<u8> = out.iter().copied().filter(|byte| *byte != 0).collect();
            leak(out).or_else(|| leak(&narrow))
        };
        for at in 0..bytes.len() {
            let (one, other) = bytes.split_at(at);
            let out = redacted(protocol, &[one, other]);
            assert_eq!(out.len(), bytes.len());
            let text = String::from_utf8_lossy(&out);
            assert_eq!(wide_leak(&out), None, "{protocol:?} cut at {at}: {text}");
        }
        for len in 1..8 {
            let pieces: Vec<&[u8]> = bytes.chunks(len).collect();
            let out = redacted(protocol, &pieces);
            let text = String::from_utf8_lossy(&out);
            assert_eq!(wide_leak(&out), None, "{protocol:?} by {len}: {text}");
        }
    }
}

/// A cost that grows with the square of the length would take minutes.
#[test]
fn what_never_ends_costs_its_length() {
    for (protocol, start) in [
        (Protocol::Http, &b"GET /"[..]),
        (Protocol::Http, b"GET / HTTP/1.1\r\nX: "),
        (Protocol::Syslog, b"<13>"),
        (Protocol::Ldap, b"\x30\x84\x00\x03\xff\xf0"),
    ] {
        let mut bytes = start.to_vec();
        bytes.resize(HELD_LEN_MAX - 1, b'a');
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(redacted(protocol, &single), redacted(protocol, &[&bytes]));
    }
}

#[test]
fn no_secret_is_shown_of_a_datagram() {
    for (protocol, bytes) in streams() {
        for cut in 0..bytes.len() {
            for protocol in [Some(protocol), None] {
                // The length before a message is that of a stream.
                let from = if protocol == Some(Protocol::Dns) { cut.min(2) } else { 0 };
                let mut out = bytes[from..cut].to_vec();
                datagram(protocol, &mut out);
                assert_eq!(leak(&out), None, "{protocol:?} up to {cut}: {out:?}");
            }
        }
    }
}

#[test]
fn a_request_keeps_its_shape() {
    let request = "POST /t/acme/api/1.0/a?key=abc&x HTTP/1.1\r\nHost: gw:8280\r\n\
        Authorization: Bearer abc.def\r\nCookie: SESSION=abc; lang=en\r\nX-Api: abc\r\n\
        Content-Type: application/json\r\nContent-Length: 32\r\n\r\n\
        {\"password\": \"abc\", \"n\": [12.5]}HTTP/1.1 200 OK\r\n\r\n";
    let shown = "POST /t/acme/api/1.0/a?key=XXX&X HTTP/1.1\r\nHost: gw:8280\r\n\
        Authorization: Bearer XXXXXXX\r\nCookie: SESSION=XXX; lang=XX\r\nX-Api: XXX\r\n\
        Content-Type: application/json\r\nContent-Length: 32\r\n\r\n\
        {\"password\": \"XXX\", \"n\": [11.1]}HTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(whole(Protocol::Http, request.as_bytes()), shown);
}

#[test]
fn an_answer_without_the_body_that_it_announces_is_followed_by_the_next() {
    let answers = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(whole(Protocol::Http, answers.as_bytes()), answers);
}

#[test]
fn a_hole_in_a_body_is_passed_over() {
    let head = b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n";
    let next = b"GET /next HTTP/1.1\r\n\r\n";
    let (mut redactor, mut shown) = (Redactor::new(Protocol::Http), Shown::default());
    redactor.data(Side::Low, 0, head, &mut shown);
    assert_eq!(redactor.skippable(Side::Low), 100);
    redactor.gap(Side::Low, 100, &mut shown);
    let at = head.len() as u64 + 100;
    redactor.data(Side::Low, at, next, &mut shown);
    let mut out = next.to_vec();
    shown.write(at, &mut out);
    assert_eq!(out, next);
    redactor.gap(Side::Low, 1, &mut shown);
    assert!(!redactor.wants(Side::Low));
}

#[test]
fn a_retransmission_reads_as_the_first_copy() {
    let request = b"GET /a HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n";
    let (mut redactor, mut shown) = (Redactor::new(Protocol::Http), Shown::default());
    redactor.data(Side::Low, 0, request, &mut shown);
    let mut first = request.to_vec();
    shown.write(0, &mut first);
    for from in 0..request.len() {
        let mut part =
            b"other bytes of the same length, whatever they are"[..request.len() - from].to_vec();
        shown.write(from as u64, &mut part);
        assert_eq!(part, first[from..], "from {from}");
    }
}

proptest! {
    #[test]
    fn any_bytes_keep_their_length_and_do_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        protocol in prop::sample::select(Protocol::ALL.to_vec()),
        sample in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let streams = streams();
        let (of_sample, mut changed) = sample.get(&streams).clone();
        for (at, byte) in changes {
            *at.get_mut(&mut changed) = byte;
        }
        for (protocol, bytes) in [(protocol, bytes), (of_sample, changed)] {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut from = 0;
            let mut pieces: Vec<&[u8]> = Vec::new();
            for end in ends {
                pieces.push(&bytes[from..end]);
                from = end;
            }
            prop_assert_eq!(redacted(protocol, &pieces).len(), bytes.len());
            let mut one = bytes.clone();
            datagram(Some(protocol), &mut one);
            prop_assert_eq!(one.len(), bytes.len());
        }
    }
}

#[test]
fn nothing_of_a_text_in_utf16_is_shown() {
    use super::body::Content;
    // The second character's bytes are those of a tag.
    let text: Vec<u8> = "<\u{613c}\u{3e62}>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for mut content in [Content::Xml, Content::Json] {
        assert_eq!(content.take(&text, false), filled(text.len()));
        assert_eq!(content.take(b"<name>", true), filled(6), "it goes on");
    }
}
