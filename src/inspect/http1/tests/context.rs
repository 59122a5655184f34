//! What a finding says of its request, and what it never says.

use super::*;
use crate::inspect::facts::HttpContext;

fn context(request: &str) -> HttpContext {
    let facts = converse(&[(true, request.as_bytes())], false);
    *facts.evidence[0].http.clone().expect("a finding on HTTP has its request")
}

#[test]
fn a_finding_names_its_request() {
    let http = context(
        "POST /a/b?x=1&y HTTP/1.1\r\nHost: gw.example.org:8280\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n\
         User-Agent: curl/8\r\nVia: gw.example.org\r\nX-Request-Id: gw.example.org\r\n\
         Authorization: Bearer abcdefgh\r\n\r\n",
    );
    let shown = [http.method(), http.host(), http.path(), http.forwarded_for(), http.user_agent()];
    assert_eq!(shown, ["POST", "gw.example.org:8280", "/a/b?x&y", "192.0.2.7, 10.0.0.1", "curl/8"]);
    assert_eq!((http.place, http.status), ("header", None));
}

#[test]
fn no_secret_is_in_what_is_shown() {
    let jwt = "eyJhbGciOiJub25lIn0.eyJjYW5hcnkiOjF9.c2Vj";
    for request in [
        "GET /canary-1/x?canary-1&a=canary-1;jsessionid=canary-1 HTTP/1.1\r\nHost: canary-1.org\r\n\
         User-Agent: x canary-1\r\nX-Forwarded-For: canary-1\r\nAuthorization: Bearer canary-1\r\n\r\n",
        "GET http://user:canary-1@h/p;jsessionid=canary-1?access_token=canary-1 HTTP/1.1\r\n\
         Host: u:canary-1@h\r\n\r\n",
        "GET /canary-1 HTTP/1.1\r\nUser-Agent: canary-1\r\nX-IBM-Client-Id: canary-1\r\n\r\n",
        "GET /canary-1?client_id=canary-1&client_secret=canary-1 HTTP/1.1\r\nHost: canary-1\r\n\r\n",
        "GET /c%61nary-1 HTTP/1.1\r\nApikey: \"canary-1\"\r\n\r\n",
        // user:canary-1
        "GET /canary-1 HTTP/1.1\r\nUser-Agent: dXNlcjpjYW5hcnktMQ==\r\n\
         Authorization: Basic dXNlcjpjYW5hcnktMQ==\r\nX: canary-1\r\n\r\n",
        "Authorization Bearer /canary-1\r\nHost: h\r\nAuthorization: Bearer canary-1\r\n\r\n",
        "Bearer canary-1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer abc\r\n\r\n",
        "GET / HTTP/1.1\r\nCookie: JSESSIONID=canary-1\r\nUser-Agent: canary-1\r\n\r\n",
        "POST /canary-1 HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 21\r\n\
         User-Agent: canary-1\r\n\r\naccess_token=canary-1",
    ] {
        for method in ["", "\r\n"] {
            let facts = converse(&[(true, format!("{method}{request}").as_bytes())], false);
            assert!(!facts.evidence.is_empty(), "{request}");
            let said = format!("{facts:?}");
            assert!(!said.contains("canary-1") && !said.contains("Y2FuYXJ5"), "{said}");
            assert!(!said.contains("dXNlcjpj"), "{said}");
        }
    }
    let request = format!(
        "GET /{jwt}/?{jwt} HTTP/1.1\r\nUser-Agent: {jwt}\r\nAuthorization: Basic eDp5\r\n\r\n"
    );
    assert!(!format!("{:?}", context(&request)).contains("eyJ"));
}

#[test]
fn what_another_request_presents_is_not_shown_either() {
    let bearer = "GET /x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer canary-1\r\n\r\n";
    let key = "GET /y/canary-1 HTTP/1.1\r\nHost: h\r\nApikey: k\r\n\r\n";
    for requests in [[bearer, key], [key, bearer]] {
        let facts = converse(&[(true, requests.concat().as_bytes())], false);
        let paths = facts.evidence.iter().map(|evidence| evidence.http.as_ref().unwrap().path());
        let mut paths: Vec<&str> = paths.collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/x", "/y/(masked)"]);
    }
}

#[test]
fn a_password_of_ws_security_is_not_shown() {
    let soap = "<S:Envelope><S:Header><UsernameToken><Username>u</Username>\
        <Password>canary-1</Password></UsernameToken></S:Header><S:Body/></S:Envelope>";
    let http = context(&format!(
        "POST /s/canary-1 HTTP/1.1\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{soap}",
        soap.len()
    ));
    assert_eq!(http.path(), "/s/(masked)");
}

#[test]
fn what_is_shown_is_cut() {
    let long = "/a".repeat(5000);
    let http = context(&format!(
        "GET {long} HTTP/1.1\r\nHost: {long}\r\nUser-Agent: {long}\r\nApikey: x\r\n\r\n"
    ));
    for text in [http.path(), http.host(), http.user_agent()] {
        assert_eq!(text.chars().count(), 256);
    }
}

#[test]
fn a_request_with_a_head_too_long_to_hold_is_still_named() {
    let filler = "X-Filler: 0123456789012345678901234567890123456789\r\n".repeat(4000);
    let http = context(&format!(
        "GET /a HTTP/1.1\r\nHost: gw\r\n{filler}Authorization: Bearer abc\r\n\r\n"
    ));
    assert_eq!((http.method(), http.host(), http.path()), ("GET", "gw", "/a"));
}
