//! What needs neither root nor a kernel that allows eBPF.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The source's hash is in the object in the tree, which builds without clang take.
#[test]
fn the_prebuilt_object_was_built_from_the_source_in_the_tree() {
    let mut hash = Sha256::new();
    hash.update(include_bytes!("portreeve.bpf.c"));
    hash.update(include_bytes!("portreeve.bpf.h"));
    let mut hex = String::new();
    for byte in hash.finalize() {
        write!(hex, "{byte:02x}").unwrap();
    }
    let object = include_bytes!("portreeve.bpf.o");
    let found = object.windows(hex.len()).any(|window| window == hex.as_bytes());
    assert!(found, "the source changed: run scripts/ebpf-object");
}

#[test]
fn no_tunnel_of_the_decoder_is_keyed_by_its_outer_ports() {
    let known = super::Options::default().tunnel_ports;
    for port in crate::decode::Options::default().tunnel_ports() {
        assert!(known.contains(&port), "{port}");
    }
}
