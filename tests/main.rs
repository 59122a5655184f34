//! The integration tests, one binary; a module a concern.

mod architecture;
mod contract;
mod hostile;
mod policy;
mod public;
mod public_captures;
mod sameness;
mod secrets;
mod streams;
mod support;
mod truth;
mod usage;
