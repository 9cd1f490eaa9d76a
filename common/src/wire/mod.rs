//! What travels between processes: frames, versions and messages.

pub mod codec;
