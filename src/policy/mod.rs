//! Facts of a flow, a host, a zone → findings: rules, matrices, suppressions, the verdict.

mod kind;

pub use kind::{FindingKind, Severity, Trigger};
