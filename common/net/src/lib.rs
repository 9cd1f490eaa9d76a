//! QUIC and TLS as coordinator, workers and clients use them.

pub mod frames;
pub mod token;
