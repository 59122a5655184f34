use super::*;

fn site(text: &str) -> Result<Site> {
    Site::parse(Path::new("site.toml"), text, Catalog::embedded())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const WHOLE: &str = r#"
[[zone]]
name = "public"
prefixes = ["10.0.0.0/8", "fd00::/8"]

[[zone]]
name = "inner"
prefixes = ["10.0.3.0/24"]
trust = "server"
as = "gateway"

[[host]]
name = "gw-1"
addresses = ["10.0.3.10", "fd00::10"]
products = ["wso2-api-manager-3", "wso2-api-manager-3/gateway"]
offset = 1

[[host]]
name = "odd"
prefixes = ["10.0.3.16/28"]
zone = "public"

[policy]
packs = ["wso2"]
files = ["our-rules.toml"]
disabled = ["wso2-api-manager-3/gateway-http"]
expect = ["wso2-api-manager-3-distributed"]
auth_headers = ["X-Auth"]

[[suppress]]
rule = "wso2/bearer-over-http"
initiator = "10.0.2.7"
responder = "inner"
port = 8280
until = 2027-01-31
reason = "legacy client, ticket 4711"
"#;

#[test]
fn every_key_of_a_site_file_is_kept() {
    let site = site(WHOLE).unwrap();
    let gateway = site.zone_named("gateway").unwrap();
    assert_eq!(site.zone(gateway).name, "inner");
    assert!(site.zone(gateway).trust_server && !site.zone(ZoneId(0)).trust_server);
    let host = site.host_of(address("fd00::10")).unwrap();
    assert_eq!((host.name.as_str(), host.offset), ("gw-1", Some(1)));
    assert_eq!(host.products[1].1.as_deref(), Some("gateway"));
    assert_eq!(site.policy.files.len(), 1);
    assert_eq!(site.policy.files[0].0, PathBuf::from("our-rules.toml"));
    assert_eq!(site.policy.auth_headers, ["x-auth"]);
    assert_eq!(site.policy.packs.as_ref().unwrap()[0].name, "wso2");
    assert_eq!(site.policy.expect[0].line, 27);
    let [suppression] = site.suppressions.as_slice() else { panic!("one suppression") };
    assert_eq!(suppression.responder, Some(Place::Zone(gateway)));
    assert_eq!((suppression.until.as_str(), suppression.line), ("2027-01-31", 31));
    assert_eq!(suppression.ends.0, 1_801_440_000_000_000_000);
    assert!(site.content_hash().is_some_and(|hash| hash.len() == 64));
    assert!(Site::default().content_hash().is_none());
}

#[test]
fn a_host_s_own_zone_wins_then_the_longest_prefix() {
    let site = site(WHOLE).unwrap();
    let zone = |text| site.zone_of(address(text)).map(|id| site.zone(id).name.as_str());
    assert_eq!(zone("10.0.3.10"), Some("inner"));
    assert_eq!(zone("10.0.3.17"), Some("public"));
    assert_eq!(zone("::ffff:10.0.3.10"), Some("inner"));
    assert_eq!(zone("10.9.9.9"), Some("public"));
    assert_eq!(zone("192.0.2.1"), None);
    assert_eq!(Site::default().zone_of(address("10.0.3.10")), None);
}

#[test]
fn every_fault_names_file_line_and_what_was_meant() {
    let suppress = "[[suppress]]\nrule = \"a/b\"\nreason = \"c\"\n";
    let host = "[[host]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n";
    let zone = "[[zone]]\nname = \"dmz\"\nprefixes = [\"10.0.0.0/8\"]\n";
    let cases = [
        (suppress.to_owned(), 1, "missing field `until`", None),
        (format!("{suppress}until = \"soon\"\n"), 4, "no day", None),
        (format!("{suppress}until = 2027-01-31T00:00:00Z\n"), 4, "no day", None),
        (
            format!("{zone}{suppress}until = 2027-01-31\ninitiator = \"dnz\"\n"),
            8,
            "no zone",
            Some("dmz"),
        ),
        (
            format!("{suppress}until = 2027-01-31\nport = 70000\n"),
            5,
            "port 70000 is above 65535",
            None,
        ),
        (format!("{host}offset = -1\n"), 4, "offset -1 is below 0", None),
        (format!("{host}offset = 70000\n"), 4, "offset 70000 is above 65535", None),
        (
            format!("{host}products = [\"wso2-api-manager-3\"]\noffset = 60000\n"),
            5,
            "beyond port 65535",
            None,
        ),
        (
            format!("{host}products = [\"wso2-api-manager-33\"]\n"),
            4,
            "unknown product",
            Some("wso2-api-manager-3"),
        ),
        (
            format!("{host}products = [\"wso2-api-manager-3/gatway\"]\n"),
            4,
            "no component",
            Some("gateway"),
        ),
        (format!("{host}zone = \"dmz\"\n"), 4, "unknown zone", None),
        (format!("{host}{host}"), 5, "duplicate host", None),
        (
            format!("{host}[[host]]\nname = \"b\"\nprefixes = [\"10.0.0.1/32\"]\n"),
            6,
            "belongs to `a`",
            None,
        ),
        (
            format!("{zone}[[zone]]\nname = \"b\"\nprefixes = [\"10.0.0.0/8\"]\n"),
            6,
            "belongs to `dmz`",
            None,
        ),
        ("[[zone]]\nname = \"b\"\nprefixes = [\"10.0.0.1/8\"]\n".into(), 3, "bits set", None),
        ("[[zone]]\nname = \"b\"\ntrust = \"servr\"\n".into(), 3, "unknown value", Some("server")),
        ("[[zone]]\nnam = \"b\"\n".into(), 2, "unknown field", Some("name")),
        (
            "[policy]\ndisabled = [\"wso2-api-manager-3/gateway-htp\"]\n".into(),
            2,
            "unknown service",
            Some("wso2-api-manager-3/gateway-http"),
        ),
        ("[policy]\nauth_headers = [\"X Auth\"]\n".into(), 2, "no HTTP header name", None),
        ("[[host]]\nname = \"a\"\n".into(), 2, "has no address", None),
    ];
    for (text, line, cause, hint) in cases {
        let error = site(&text).expect_err(&text);
        let place = format!("site.toml:{line}: ");
        assert!(error.to_string().starts_with(&place), "{error}\n{text}");
        assert!(error.to_string().contains(cause), "{error} should say {cause}");
        if let Some(hint) = hint {
            assert_eq!(
                error.hint_text(),
                Some(format!("did you mean `{hint}`?").as_str()),
                "{text}"
            );
        }
        assert!(!error.to_string().contains('\n'));
    }
}
