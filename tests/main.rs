//! The integration tests, one binary; a module a concern.

mod architecture;
mod contract;
mod live;
mod public;
mod sameness;
mod secrets;
mod streams;
mod support;
mod truth;
mod usage;
