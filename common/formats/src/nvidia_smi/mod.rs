//! What `nvidia-smi` writes: the state of all GPUs as XML (`-q -x`), and the matrix of paths (`topo -m`).
//!
//! The XML has no links between GPUs, the matrix no addresses; together they are most of what NVML knows.

mod health;
mod matrix;
mod query;

pub use matrix::{Error as MatrixError, matrix};
pub use query::{Error as QueryError, MAX_BYTES as MAX_QUERY_BYTES, query};
