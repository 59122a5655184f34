//! The integration tests, one binary; a module a concern.

mod architecture;
mod contract;
#[cfg(all(feature = "ebpf", target_os = "linux"))]
mod ebpf;
mod faults;
mod hostile;
mod injection;
mod live;
mod mutations;
mod policy;
mod public;
mod public_names;
mod recorded;
mod sameness;
mod secrets;
mod streams;
mod support;
mod truth;
mod usage;
