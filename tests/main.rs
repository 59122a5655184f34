//! The integration tests, one binary; a module a concern.

mod architecture;
mod streams;
mod support;
mod truth;
