//! NVIDIA GPUs through NVML.

mod free;
#[expect(unsafe_code, reason = "calls of NVML that nvml-wrapper lacks, or has wrong")]
mod raw;
mod read;
mod visible;

pub use free::{Free, free_gpus};
pub use read::{Board, Error as ReadError};
pub use visible::{Error, LIBRARY_VARIABLE, names, visible_gpus};
