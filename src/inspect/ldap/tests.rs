use super::*;
use crate::inspect::look::Look;
use crate::inspect::testing::{
    CLIENT, SERVER, Talk, at, evidence, from_client, hex, named_in_all_pieces, never_named, read,
    same_in_all_pieces, survives_mutations,
};
use crate::inspect::{Facts, Protocol, Sender};

/// An element in the short form.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag, u8::try_from(body.len()).unwrap()];
    bytes.extend(body);
    bytes
}

/// An element whose length takes four bytes, as Windows sends it.
fn long_element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag, 0x84];
    bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn bind(number: u8, name: &str, password: &str) -> Vec<u8> {
    let operation = element(
        0x60,
        &[&[2, 1, 3], &element(4, &[name.as_bytes()]), &element(0x80, &[password.as_bytes()])],
    );
    element(0x30, &[&[2, 1, number], &operation])
}

fn start_tls() -> Vec<u8> {
    element(0x30, &[&[2, 1, 1], &element(0x77, &[&element(0x80, &[START_TLS])])])
}

fn bound(number: u8, code: u8) -> Vec<u8> {
    element(0x30, &[&[2, 1, number], &element(0x61, &[&[10, 1, code, 4, 0, 4, 0]])])
}

/// A ClientHello's beginning.
fn hello() -> Vec<u8> {
    let mut bytes = hex("16030100c8 010000c4 0303");
    bytes.resize(205, 7);
    bytes
}

fn facts_of(talk: &[(Side, Vec<u8>)]) -> Facts {
    read(Ldap::new(CLIENT), talk)
}

fn binds(talk: &[(Side, Vec<u8>)]) -> Vec<(EvidenceKind, u64, u64)> {
    evidence(&facts_of(talk))
}

const BIND: EvidenceKind = EvidenceKind::LdapSimpleBind;

#[test]
fn every_simple_bind_with_a_password_counts() {
    let talk = vec![
        (CLIENT, bind(1, "", "")),
        (SERVER, bound(1, 0)),
        (CLIENT, bind(2, "cn=reader,dc=example,dc=org", "")),
        (CLIENT, bind(3, "cn=reader,dc=example,dc=org", "canary")),
        (SERVER, bound(3, 49)),
        (CLIENT, bind(4, "uid=admin,ou=system", "admin")),
        (CLIENT, element(0x30, &[&[2, 1, 5], &[0x42, 0]])),
    ];
    assert_eq!(binds(&talk), [(BIND, 2, 4), (EvidenceKind::DefaultCredentials, 1, 6)]);
    same_in_all_pieces(|| Ldap::new(CLIENT), &talk);
    survives_mutations(|| Ldap::new(CLIENT), &talk);
}

#[test]
fn long_lengths_and_sasl_plain_count() {
    let simple =
        long_element(0x60, &[&[2, 1, 3], &element(4, &[b"cn=x"]), &element(0x80, &[b"canary"])]);
    let plain = element(0xa3, &[&element(4, &[b"PLAIN"]), &element(4, &[b"\0joe\0canary"])]);
    let md5 = element(0xa3, &[&element(4, &[b"DIGEST-MD5"])]);
    let sasl = |mechanism: &[u8]| element(0x60, &[&[2, 1, 3], &element(4, &[]), mechanism]);
    let talk = vec![
        (CLIENT, long_element(0x30, &[&[2, 1, 1], &simple])),
        (CLIENT, element(0x30, &[&[2, 1, 2], &sasl(&plain)])),
        (CLIENT, element(0x30, &[&[2, 1, 3], &sasl(&md5)])),
    ];
    assert_eq!(binds(&talk), [(BIND, 2, 1)]);
    same_in_all_pieces(|| Ldap::new(CLIENT), &talk);
}

#[test]
fn nothing_counts_behind_start_tls() {
    let accepted = element(0x30, &[&[2, 1, 1], &element(0x78, &[&[10, 1, 0, 4, 0, 4, 0]])]);
    let mut talk: Talk = vec![(CLIENT, start_tls()), (SERVER, accepted), (CLIENT, hello())];
    let facts = facts_of(&talk);
    assert!(facts.upgraded && facts.evidence.is_empty());
    same_in_all_pieces(|| Ldap::new(CLIENT), &talk);
    // The client's direction alone says the same.
    talk.remove(1);
    assert!(facts_of(&talk).upgraded);
    talk.push((CLIENT, bind(2, "cn=x", "canary")));
    assert!(facts_of(&talk).evidence.is_empty());
}

#[test]
fn a_bind_behind_a_refused_start_tls_counts() {
    let refused = element(0x30, &[&[2, 1, 1], &element(0x78, &[&[10, 1, 52, 4, 0, 4, 0]])]);
    let talk = vec![(CLIENT, start_tls()), (SERVER, refused), (CLIENT, bind(2, "cn=x", "canary"))];
    assert_eq!(binds(&talk), [(BIND, 1, 3)]);
    assert!(!facts_of(&talk).upgraded);
    let together = [start_tls(), bind(2, "cn=x", "canary")].concat();
    assert_eq!(binds(&[(CLIENT, together.clone())]), [(BIND, 1, 1)]);
    same_in_all_pieces(|| Ldap::new(CLIENT), &[(CLIENT, together)]);
}

#[test]
fn a_hole_is_told_and_the_next_message_is_read() {
    let mut facts = Facts::default();
    let tools = crate::inspect::Tools {
        options: crate::inspect::Options::default(),
        fingerprinter: crate::inspect::secret::Fingerprinter::new(b"key"),
    };
    let mut context = tools.context(&mut facts);
    let mut ldap = Ldap::new(CLIENT);
    ldap.data(CLIENT, at(1), &bind(1, "cn=x", "canary")[..9], &mut context);
    ldap.gap(CLIENT, 100, &mut context);
    ldap.data(CLIENT, at(2), b"ry, cut and no message", &mut context);
    ldap.data(CLIENT, at(3), &bind(2, "cn=x", "canary"), &mut context);
    assert_eq!(evidence(&facts), [(BIND, 1, 3)]);
    assert!(facts.uninspected.has(Uninspected::HOLE));
}

#[test]
fn a_message_names_it_wherever_it_is() {
    let outcome = from_client(Protocol::Ldap);
    named_in_all_pieces(outcome, CLIENT, &bind(1, "", ""));
    named_in_all_pieces(outcome, CLIENT, &bind(100, "uid=admin,ou=system", "admin"));
    named_in_all_pieces(outcome, CLIENT, &start_tls());
    named_in_all_pieces(outcome, SERVER, &bound(1, 49));
    let search = hex(
        "3025020102 6320 0400 0a0102 0a0100 020100 020100 010100 870b6f626a656374436c617373 3000",
    );
    named_in_all_pieces(outcome, CLIENT, &search);
    let result: Look = datagram(&search, search.len());
    assert_eq!(result, Ok(Sender::Initiator));
    assert!(datagram(&search, search.len() + 1).is_err());
}

#[test]
fn near_misses_name_nothing() {
    let good = bind(1, "cn=x", "canary");
    for (place, value) in [(0, 0x31), (1, 3), (2, 4), (5, 0x5f), (6, 40), (9, 9), (10, 5)] {
        let mut wrong = good.clone();
        wrong[place] = value;
        never_named(&[(CLIENT, wrong)]);
    }
    // SNMP has a string where the operation would be.
    never_named(&[(
        CLIENT,
        hex(
            "302902010104067075626c6963a01c020400000001020100020100300e300c06082b060102010101000500",
        ),
    )]);
}
