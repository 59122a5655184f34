//! Records → what the user gets: the published shapes, and the sinks that write them.
//!
//! Takes [`Record`]s in their published order (alerts, flows, hosts, rows) and one [`Summary`] at the end;
//! gives text, NDJSON, SARIF or `JUnit` on a writer. Sorts nothing, judges nothing, and holds no secret: what
//! it prints of the wire is escaped in every format.

pub mod community_id;
pub mod json;
pub mod junit;
pub mod ndjson;
pub mod proof;
pub mod rate;
pub mod record;
pub mod sarif;
pub mod summary;
pub mod text;
pub mod time;
pub mod timeline;

#[cfg(test)]
mod fixtures;

use std::io;

pub use record::Record;
pub use summary::Summary;

/// The version of the published shapes: raised when a field changes its meaning or leaves.
pub const SCHEMA_VERSION: u32 = 1;

/// One format on one writer.
pub trait Sink {
    /// Takes the next record.
    fn record(&mut self, record: Record<'_>) -> io::Result<()>;

    /// Tells whether flows are more to it than their sums; they need not be written for its sake otherwise.
    fn wants_flows(&self) -> bool {
        true
    }

    /// Tells whether each flow and alert is a line of NDJSON to it, which may be made elsewhere: see [`Sink::lines`].
    fn takes_lines(&self) -> bool {
        false
    }

    /// Takes lines that [`ndjson::write_flow`] or [`ndjson::write_alert`] made.
    fn lines(&mut self, _lines: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Hands on what is still buffered: a live reader waits for it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes what is known at the end, writes what is left, and flushes.
    fn finish(&mut self, summary: &Summary) -> io::Result<()>;
}
