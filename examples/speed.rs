#![allow(missing_docs, clippy::all, clippy::pedantic)]
use portreeve::inspect::{Facts, Inspector, Options, Tools, http1::Http1, secret::Fingerprinter};
use portreeve::packet::{At, Side};
use std::time::Instant;
fn main() {
    let tools = Tools { options: Options::default(), fingerprinter: Fingerprinter::new(b"k") };
    let head = |token: bool| {
        let mut h = String::from(
            "GET /pizzashack/1.0.0/menu/12345 HTTP/1.1\r\nHost: gw.example.org:8280\r\nUser-Agent: Apache-HttpClient/4.5.13 (Java/11.0.19)\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nX-Request-Id: 0123456789abcdef\r\n",
        );
        if token {
            h.push_str("Authorization: Bearer canary");
            h.push_str(&"0123abcd".repeat(24));
            h.push_str("\r\n");
        }
        h.push_str("activityid: 0123456789abcdef0123456789abcdef\r\n\r\n");
        h.into_bytes()
    };
    let mut resp = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: WSO2-PassThrough-HTTP\r\nContent-Length: 4000\r\n\r\n".to_vec();
    let l = resp.len();
    resp.extend(b"{\"name\":\"BBQ Chicken Bacon\",\"price\":\"27.99\"},".iter().cycle().take(4000));
    let _ = l;
    for (name, token) in [("plain", false), ("token", true)] {
        let h = head(token);
        let n = 1_000_000u32;
        let mut facts = Facts::default();
        let mut http = Http1::new(Side::Low);
        let t = Instant::now();
        for _ in 0..n {
            http.data(Side::Low, At::default(), &h, &mut tools.context(&mut facts));
            for c in resp.chunks(1448) {
                http.data(Side::High, At::default(), c, &mut tools.context(&mut facts));
            }
        }
        let e = t.elapsed();
        println!(
            "{name}: {:.1} ns/exchange (4 packets), {:?}",
            e.as_nanos() as f64 / n as f64,
            facts.evidence.iter().map(|e| e.count).collect::<Vec<_>>()
        );
        let mut facts = Facts::default();
        let mut http = Http1::new(Side::Low);
        let t = Instant::now();
        for _ in 0..n {
            http.data(Side::Low, At::default(), &h, &mut tools.context(&mut facts));
        }
        println!(
            "{name}: requests alone {:.1} ns, {} bytes",
            t.elapsed().as_nanos() as f64 / n as f64,
            h.len()
        );
    }
}
