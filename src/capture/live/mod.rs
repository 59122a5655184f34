//! Frames from interfaces through libpcap, and BPF expressions over frames.

mod filter;

pub use filter::FileFilter;
