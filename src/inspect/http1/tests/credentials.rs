//! Every credential: what counts, what is said of it, and near misses.

use super::*;
use EvidenceKind as Kind;

/// Sends requests, and returns kinds and counts.
fn found(request: &str) -> Vec<(Kind, u64)> {
    kinds(&in_all_ways(&[(true, request.as_bytes())]))
}

fn kinds(facts: &Facts) -> Vec<(Kind, u64)> {
    let mut kinds: Vec<_> = facts.evidence.iter().map(|e| (e.kind, e.count)).collect();
    kinds.sort_unstable();
    kinds
}

fn get(header: &str) -> String {
    format!("GET /x HTTP/1.1\r\n{header}\r\n\r\n")
}

fn post(kind: &str, body: &str) -> String {
    let len = body.len();
    format!("POST /x HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\r\n{body}")
}

fn form(body: &str) -> String {
    post("application/x-www-form-urlencoded", body)
}

#[test]
fn headers_present_what_they_are_for() {
    for (header, kind) in [
        ("Authorization: Basic eDp5", Kind::BasicCredentials),
        ("Authorization: bAsIc\teDp5", Kind::BasicCredentials),
        ("Authorization: Digest username=\"a\", response=\"b\"", Kind::DigestCredentials),
        ("Proxy-Authorization: Basic eDp5", Kind::ProxyCredentials),
        ("Proxy-Authorization: Bearer x", Kind::ProxyCredentials),
        ("ApiKey: abc", Kind::ApiKey),
        ("X-IBM-Client-Id: abc", Kind::ApiKey),
        ("x-ibm-client-secret: abc", Kind::ApiKey),
        ("Internal-Key: abc", Kind::InternalKey),
        ("X-JWT-Assertion: abc", Kind::BackendJwt),
        ("Cookie: a=b; JSESSIONID=1F", Kind::SessionCookie),
    ] {
        assert_eq!(found(&get(header)), [(kind, 1)], "{header}");
        let name = header.split(':').next().unwrap();
        assert!(found(&get(&format!("{name}:"))).is_empty());
        assert!(found(&get(&format!("X-{header}"))).is_empty());
    }
    for header in [
        "Authorization: Basic",
        "Authorization: Digest  ",
        "Authorization: NTLM TlRM",
        "Authorization: Negotiate abc",
        "Proxy-Authorization: Basic",
        "Cookie: JSESSIONID=; XJSESSIONID=a; a=JSESSIONID",
        "Set-Cookie: JSESSIONID=a",
        "Sec-WebSocket-Protocol: authorization.bearer.abc",
    ] {
        assert!(found(&get(header)).is_empty(), "{header}");
    }
    assert_eq!(found("GET /x?%61pikey=abc&apikey= HTTP/1.1\r\n\r\n"), [(Kind::ApiKey, 1)]);
    assert!(found("GET /x?apikey=&xapikey=a HTTP/1.1\r\n\r\n").is_empty());
}

#[test]
fn a_digest_of_ws_security_counts_as_a_digest() {
    let soap = |kind| {
        format!(
            "<S:Envelope><S:Header><UsernameToken><Username>admin</Username>\
             <Password Type='x#{kind}'>admin</Password></UsernameToken></S:Header><S:Body/></S:Envelope>"
        )
    };
    let found = |kind| found(&post("text/xml", &soap(kind)));
    assert_eq!(found("PasswordDigest"), [(Kind::DigestCredentials, 1)]);
    assert_eq!(found("PasswordText")[0], (Kind::WsSecurity, 1));
}

#[test]
fn api_connects_clients_present_an_id_and_a_secret_as_one_key() {
    let both = "X-IBM-Client-Id: abc\r\nX-IBM-Client-Secret: def";
    assert_eq!(found(&get(both).repeat(2)), [(Kind::ApiKey, 2)]);
    let query = "GET /org/api/pets?client_id=abc&client_secret=def HTTP/1.1\r\n\r\n";
    assert_eq!(found(query), [(Kind::ApiKey, 1)]);
    let token = "GET /oauth2/token?client_id=abc&client_secret=def HTTP/1.1\r\n\r\n";
    assert_eq!(found(token), [(Kind::ClientSecret, 1)]);
    let login = "GET /oauth2/authorize?client_id=abc&response_type=code HTTP/1.1\r\n\r\n";
    assert!(found(login).is_empty());
}

#[test]
fn default_credentials_are_known_in_every_place() {
    let soap = "<S:Envelope><S:Header><UsernameToken><Username>admin</Username>\
        <Password>admin</Password></UsernameToken></S:Header><S:Body/></S:Envelope>";
    for (request, kind) in [
        (get("Authorization: Basic YWRtaW46YWRtaW4="), Kind::BasicCredentials),
        (get("Authorization: Basic YWRtaW46YWRtaW4"), Kind::BasicCredentials),
        (form("grant_type=password&username=admin&password=%61dmin"), Kind::PasswordGrant),
        (form("password=admin&username=admin%40carbon.super"), Kind::FormLogin),
        (post("text/xml; charset=utf-8", soap), Kind::WsSecurity),
    ] {
        let mut wanted = [(kind, 1), (Kind::DefaultCredentials, 1)];
        wanted.sort_unstable();
        assert_eq!(found(&request), wanted, "{request}");
    }
    assert_eq!(found(&get("Authorization: Basic YWRtaW46QWRtaW4=")), [(Kind::BasicCredentials, 1)]);
}

#[test]
fn utf16_hides_neither_a_login_nor_a_token() {
    let soap = "<S:Envelope><S:Header><UsernameToken><Username>admin</Username>\
        <Password>admin</Password></UsernameToken></S:Header><S:Body>\u{1f600}</S:Body></S:Envelope>";
    let marked = format!("\u{feff}<?xml version='1.0' encoding='UTF-16'?>{soap}");
    for text in [soap, &marked] {
        for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let body: Vec<u8> = text.encode_utf16().flat_map(to_bytes).collect();
            let head = post("text/xml; charset=utf-16", &"x".repeat(body.len()));
            let request = [head.trim_end_matches('x').as_bytes(), &body].concat();
            let found = kinds(&in_all_ways(&[(true, &request)]));
            let mut wanted = [(Kind::WsSecurity, 1), (Kind::DefaultCredentials, 1)];
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{to_bytes:?} {text}");
        }
    }
    let answer: Vec<u8> =
        r#"{"access_token":"abc"}"#.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n";
    let answer = [head.as_bytes(), &answer].concat();
    assert_eq!(kinds(&in_all_ways(&[(false, &answer)])), [(Kind::TokenIssued, 1)]);
    let half: Vec<u8> = soap.encode_utf16().flat_map(u16::to_le_bytes).take(151).collect();
    let head = post("text/xml", &"x".repeat(half.len()));
    let request = [head.trim_end_matches('x').as_bytes(), &half].concat();
    assert!(kinds(&in_all_ways(&[(true, &request)])).is_empty(), "its password never came");
}

#[test]
fn forms_present_tokens_passwords_and_secrets() {
    assert_eq!(found(&form("grant_type=password&password=x")), [(Kind::PasswordGrant, 1)]);
    assert_eq!(found(&form("client_id=a&client_secret=b")), [(Kind::ClientSecret, 1)]);
    assert_eq!(found(&form("username=a&password=b")), [(Kind::FormLogin, 1)]);
    assert_eq!(
        found(&form("access_token=a&client_secret=b&")),
        [(Kind::BearerToken, 1), (Kind::ClientSecret, 1)]
    );
    for near in [
        "grant_type=password&password=",
        "grant_type=client_credentials&username=a&password=b",
        "username=a&password=",
        "password=b",
        "client_secret=",
        "x=grant_type=password&y=access_token=a",
    ] {
        assert!(found(&form(near)).is_empty(), "{near}");
    }
    for kind in ["text/plain", "multipart/form-data", "application/json", "application/x-www-form"]
    {
        assert!(found(&post(kind, "access_token=a&client_secret=b")).is_empty(), "{kind}");
    }
    let both = "POST /?access_token=a HTTP/1.1\r\nAuthorization: Bearer a\r\nContent-Length: 14\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n\r\naccess_token=a";
    assert_eq!(found(both), [(Kind::BearerToken, 1)]);
}

#[test]
fn a_token_in_an_answer_is_issued() {
    let ask = form("grant_type=client_credentials");
    let json = "{\"access_token\":\"abc\",\"expires_in\":3600}";
    for (kind, body, wanted) in [
        ("application/json;charset=UTF-8", json, 1),
        ("text/plain", json, 0),
        ("application/json", "{\"access_token\":\"\"}", 0),
    ] {
        for method in [ask.as_str(), "GET /token HTTP/1.1\r\n\r\n"] {
            let len = body.len();
            let (front, back) = body.split_at(7);
            let plain = format!("Content-Length: {len}\r\n\r\n{body}");
            let chunked = format!(
                "Transfer-Encoding: chunked\r\n\r\n7\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\n\r\n",
                len - 7
            );
            let until_close = format!("\r\n{body}");
            for rest in [plain, chunked, until_close] {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{rest}");
                let facts = in_all_ways(&[(true, method.as_bytes()), (false, answer.as_bytes())]);
                assert_eq!(count(&facts, Kind::TokenIssued), wanted, "{answer}");
                if wanted > 0 {
                    let http = facts.evidence[0].http.as_ref().unwrap();
                    assert_eq!((http.place, http.status), ("body", Some(200)));
                    assert_eq!(http.path(), if method == ask { "/x" } else { "" });
                }
            }
        }
    }
    let alone = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{json}");
    assert_eq!(count(&converse(&[(false, alone.as_bytes())], false), Kind::TokenIssued), 1);
    let error = format!("HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\n\r\n{json}");
    assert_eq!(count(&converse(&[(false, error.as_bytes())], false), Kind::TokenIssued), 0);
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: https://a/#access_token=abc&x=y\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(count(&converse(&[(false, redirect)], false), Kind::TokenIssued), 1);
}

#[test]
fn a_compressed_answer_is_looked_into() {
    use std::io::Write;
    let json = b"{\"access_token\":\"abc\",\"token_type\":\"Bearer\"}";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(json).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(json).unwrap();
    for (coding, body) in [("gzip", gzip.finish().unwrap()), ("deflate", zlib.finish().unwrap())] {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(&body);
        let ask = form("grant_type=client_credentials");
        let facts = in_all_ways(&[(true, ask.as_bytes()), (false, &answer)]);
        assert_eq!(count(&facts, Kind::TokenIssued), 1);
    }
}

#[test]
fn a_jwt_tells_algorithm_issuer_and_expiry() {
    use base64::Engine as _;
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let token = |alg: &str, exp: i64| {
        let head = part(&format!("{{\"alg\":\"{alg}\"}}"));
        format!("{head}.{}.c2ln", part(&format!("{{\"iss\":\"https://is\",\"exp\":{exp}}}")))
    };
    // Packets are of 1970 here.
    let fine = get(&format!("Authorization: Bearer {}", token("RS256", 7)));
    let facts = in_all_ways(&[(true, fine.as_bytes())]);
    assert_eq!(kinds(&facts), [(Kind::BearerToken, 1)]);
    let jwt = facts.evidence[0].jwt.as_ref().unwrap();
    assert_eq!((jwt.alg.as_str(), jwt.iss.as_str(), jwt.exp), ("RS256", "https://is", Some(7)));
    let expired = get(&format!("apikey: {}", token("none", -1))).repeat(2);
    assert_eq!(
        found(&expired),
        [(Kind::ApiKey, 2), (Kind::JwtUnsigned, 2), (Kind::TokenExpired, 2)]
    );
    let many = [fine.clone(), get("Authorization: Bearer abc"), fine].concat();
    let facts = in_all_ways(&[(true, many.as_bytes())]);
    let secrets: Vec<_> = facts.evidence[0].secrets.iter().map(|(_, count)| *count).collect();
    assert_eq!(secrets, [2, 1]);
}

#[test]
fn headers_that_the_operator_names_stand_for_authorization() {
    let options = Options { auth_headers: vec!["x-auth".to_owned()], show_users: false };
    let tools = Tools { options, fingerprinter: Fingerprinter::new(b"test") };
    for (header, wanted) in [
        ("X-Auth: abc", 1),
        ("x-AUTH : Bearer abc", 1),
        ("X-Auth: Bearer", 0),
        ("X-Auth:", 0),
        ("X-Authx: abc", 0),
        ("X-Auth: Basic YTpi", 0),
        ("Authorization: Bearer abc\r\nX-Auth: abd", 1),
    ] {
        let mut facts = Facts::default();
        let mut http = Http1::new(Side::Low);
        let request = get(header);
        http.data(Side::Low, At::default(), request.as_bytes(), &mut tools.context(&mut facts));
        assert_eq!(count(&facts, Kind::BearerToken), wanted, "{header}");
    }
}

#[test]
fn users_are_shown_only_where_that_was_asked_for() {
    for show_users in [false, true] {
        let options = Options { show_users, ..Options::default() };
        let tools = Tools { options, fingerprinter: Fingerprinter::new(b"test") };
        let mut facts = Facts::default();
        let mut http = Http1::new(Side::Low);
        let request = get("Authorization: Basic YWxpY2U6Y2FuYXJ5");
        http.data(Side::Low, At::default(), request.as_bytes(), &mut tools.context(&mut facts));
        let user = facts.evidence[0].user.as_deref().unwrap();
        assert_eq!(user == "alice", show_users);
        assert!(!format!("{facts:?}").contains("canary"));
    }
}

#[test]
fn a_token_in_head_and_form_counts_once_with_all_that_is_odd_about_it() {
    use base64::Engine as _;
    let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let token = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(r#"{"exp":-5}"#));
    let body = format!("access_token={token}");
    for (header, expected) in [(token.as_str(), 1), ("opaque", 1)] {
        let request = format!(
            "POST /a HTTP/1.1\r\nAuthorization: Bearer {header}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let facts = read(&[(true, request.as_bytes())]);
        for kind in [Kind::BearerToken, Kind::JwtUnsigned, Kind::TokenExpired] {
            assert_eq!(count(&facts, kind), expected, "{header} {kind:?}");
        }
    }
}

#[test]
fn a_token_behind_a_long_list_of_scopes_is_issued_in_any_pieces() {
    let scope = "apim:scope ".repeat(150);
    let body = format!(r#"{{"scope":"{scope}","token_type":"Bearer","access_token":"abc"}}"#);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for len in [100, 1023, 1024, 1460, 9000] {
        let mut pieces: Vec<(bool, &[u8])> = vec![
            (true, b"POST /token HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
            (false, head.as_bytes()),
        ];
        pieces.extend(body.as_bytes().chunks(len).map(|piece| (false, piece)));
        assert_eq!(count(&read(&pieces), Kind::TokenIssued), 1, "{len}");
    }
}
