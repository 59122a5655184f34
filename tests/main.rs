//! The integration tests, one binary; a module a concern.

mod allocations;
mod architecture;
#[cfg(all(feature = "ebpf", feature = "live", target_os = "linux"))]
mod backends;
mod baseline;
mod clients;
mod contract;
#[cfg(all(feature = "ebpf", target_os = "linux"))]
mod ebpf;
mod encapsulations;
mod faults;
mod floods;
#[cfg(feature = "live")]
mod folding;
mod formats;
mod hostile;
mod hosts;
mod injection;
mod inputs;
#[cfg(feature = "live")]
mod live;
mod mistakes;
mod mutations;
#[cfg(feature = "live")]
mod net;
mod policy;
mod public;
mod public_names;
mod recorded;
#[cfg(feature = "live")]
mod renewal;
mod sameness;
mod scrub;
mod secrets;
mod streams;
mod support;
mod truth;
mod tunnels;
mod usage;
mod wire;
mod zones;
