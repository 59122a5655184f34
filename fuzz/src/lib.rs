//! What each fuzz target does with its bytes.
//!
//! The same functions run under libFuzzer (`fuzz_targets/`) and, over the seeds and plain mutations of
//! them, in `tests/hostile.rs`, which includes this file. They use portreeve's public interface alone.
//! Whatever the bytes are, nothing panics and nothing grows without a bound; beside that each target
//! checks what must hold of its results.

mod captures;
mod conversations;
mod datagrams;
mod forms;
mod loaders;
mod script;

use portreeve::inspect::secret::Fingerprinter;
use portreeve::inspect::{Options, Tools};

pub use captures::{decode, reader, report};
pub use conversations::{http1, http2, inspectors, reassembly, redact, tls};
pub use datagrams::datagrams;
pub use forms::forms;
pub use loaders::loaders;

/// A fuzz target: its name, which is its folder's below `seeds/`, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, in the order of the data's way.
pub const TARGETS: [Target; 12] = [
    ("reader", reader),
    ("decode", decode),
    ("reassembly", reassembly),
    ("http1", http1),
    ("http2", http2),
    ("forms", forms),
    ("tls", tls),
    ("inspectors", inspectors),
    ("datagrams", datagrams),
    ("redact", redact),
    ("report", report),
    ("loaders", loaders),
];

/// Returns what inspection needs beside the bytes, with every option that makes it do more.
fn tools() -> Tools {
    let auth_headers = vec!["x-auth".to_owned()];
    Tools {
        options: Options { auth_headers, show_users: true },
        fingerprinter: Fingerprinter::new(b"fuzz"),
    }
}
