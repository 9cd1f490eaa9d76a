//! Trees written here, as the kernel shows machines of which there is no capture.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod cpu;
mod devices;
mod hostile;
mod network;
mod tree;
