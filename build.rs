//! Compiles the eBPF program with clang, or takes the object that lies beside its source.
//!
//! Rust code includes `$OUT_DIR/portreeve.bpf.o`, whichever it is. `PORTREEVE_BPF_PREBUILT=1` asks for
//! the one in the tree.

use std::path::Path;
use std::process::Command;

const DIR: &str = "src/capture/ebpf";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for file in
        ["portreeve.bpf.c", "portreeve.bpf.h", "headers.bpf.h", "tables.bpf.h", "portreeve.bpf.o"]
    {
        println!("cargo:rerun-if-changed={DIR}/{file}");
    }
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rerun-if-env-changed=PORTREEVE_BPF_PREBUILT");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if !is_linux || std::env::var_os("CARGO_FEATURE_EBPF").is_none() {
        return;
    }
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let object = Path::new(&out).join("portreeve.bpf.o");
    if let Err(reason) = compile(&object) {
        println!("cargo:warning=taking the prebuilt eBPF object: {reason}");
        std::fs::copy(format!("{DIR}/portreeve.bpf.o"), &object)
            .expect("the prebuilt eBPF object lies in the tree");
    }
}

/// Compiles the program; says why not.
fn compile(object: &Path) -> Result<(), String> {
    if std::env::var_os("PORTREEVE_BPF_PREBUILT").is_some_and(|value| value == "1") {
        return Err("PORTREEVE_BPF_PREBUILT asks for it".into());
    }
    let clang = std::env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let output = Command::new(&clang)
        .args(["-g", "-O2", "-Wall", "-Wextra", "-target", "bpf", "-mcpu=v3", "-c"])
        .arg(format!(
            "-fdebug-prefix-map={}=.",
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()
        ))
        .arg(format!("{DIR}/portreeve.bpf.c"))
        .arg("-o")
        .arg(object)
        .output()
        .map_err(|error| format!("{} does not run: {error}", clang.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let first = message.lines().find(|line| line.contains("error")).unwrap_or("no message");
    Err(format!("{} failed: {first}", clang.display()))
}
