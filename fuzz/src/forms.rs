//! Bodies that may hold credentials: forms, parts of forms, SOAP, tokens in JSON.

use portreeve::inspect::{Facts, Inspection, Inspector, Protocol};
use portreeve::packet::{At, Side, Timestamp};

use super::tools;

/// What bodies are said to be; the last one is an answer's.
const MEDIA: [&str; 4] = [
    "application/x-www-form-urlencoded",
    "text/xml",
    "multipart/form-data; boundary=b",
    "application/json",
];

/// Reads one body. The first byte says what it is, how it is compressed and framed; the second one, in what
/// pieces it comes, which must make no difference.
pub fn forms(data: &[u8]) {
    let [choice, len, body @ ..] = data else { return };
    let media = MEDIA[usize::from(choice & 3)];
    let coding = if choice & 4 == 0 { "" } else { "Content-Encoding: gzip\r\n" };
    let framed = if choice & 8 == 0 {
        let head = format!("Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    } else {
        let chunk =
            |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
        let chunks = body.chunks(usize::from(*len) + 1).flat_map(chunk);
        b"Transfer-Encoding: chunked\r\n\r\n"
            .iter()
            .copied()
            .chain(chunks)
            .chain(*b"0\r\n\r\n")
            .collect()
    };
    let is_answer = choice & 3 == 3;
    let first = if is_answer { "HTTP/1.1 200 OK" } else { "POST /token HTTP/1.1" };
    let message =
        [format!("{first}\r\nContent-Type: {media}\r\n{coding}").as_bytes(), &framed].concat();
    let whole = read(&message, message.len(), is_answer);
    assert_eq!(whole, read(&message, usize::from(*len) + 1, is_answer), "in pieces");
    assert_eq!(whole, read(&message, 1, is_answer), "in single bytes");
}

/// Returns kind and count of what a message presents that comes in pieces, and how many requests there were.
fn read(message: &[u8], piece_len: usize, is_answer: bool) -> (Vec<(&'static str, u64)>, u64) {
    let (tools, mut facts) = (tools(), Facts::default());
    let mut inspection = Inspection::begin(Protocol::Http, Side::High, [false; 2]);
    let at = |frame| At { frame, time: Timestamp(0) };
    let asked = b"POST /token HTTP/1.1\r\n\r\n";
    let side = if is_answer { Side::Low } else { Side::High };
    if is_answer {
        inspection.data(Side::High, at(1), asked, &mut tools.context(&mut facts));
    }
    for (frame, piece) in (2..).zip(message.chunks(piece_len.max(1))) {
        inspection.data(side, at(frame), piece, &mut tools.context(&mut facts));
    }
    for side in Side::BOTH {
        inspection.close(side, &mut tools.context(&mut facts));
    }
    let mut found: Vec<_> = facts.evidence.iter().map(|it| (it.kind.name(), it.count)).collect();
    found.sort_unstable();
    (found, facts.requests)
}
