//! The integration tests, one binary; a module a concern.

#[cfg(all(feature = "ebpf", target_os = "linux"))]
mod ebpf;
