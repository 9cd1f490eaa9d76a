//! QUIC and TLS as coordinator, workers and clients of Phalanx use them.
//!
//! ```text
//! token ──pins──> authority ──issues──> identity_file
//!                     │                      │
//!            tls::server, classify    tls::client, trust
//!                     └──── connect, join, frames ────┘  landing
//! ```

pub mod authority;
pub mod certificate;
pub mod classify;
pub mod connect;
pub mod frames;
pub mod identity_file;
pub mod join;
pub mod landing;
pub mod socket;
pub mod tls;
pub mod token;
pub mod transport;
pub mod trust;
