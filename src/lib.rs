//! Watches the traffic of API-management platforms (the WSO2 family, IBM API Connect), says what each
//! flow is, and reports what breaks the platform's own rules.
//!
//! Data flows down the list of modules below, and a module uses only modules above it:
//! `tests/architecture.rs` reads the `use` lines and fails on an edge that runs the other way.
//! ARCHITECTURE.md has the code map.

pub mod error;
pub mod packet;

pub mod capture;
pub mod decode;

pub mod catalog;
pub mod site;

pub mod flow;

pub mod classify;
pub mod inspect;
pub mod policy;

pub mod report;

pub mod pipeline;

pub mod cli;

pub use error::{Error, Result};
