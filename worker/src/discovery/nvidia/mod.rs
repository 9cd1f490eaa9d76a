//! NVIDIA GPUs through NVML.

#[expect(unsafe_code, reason = "calls of NVML that nvml-wrapper lacks, or has wrong")]
mod raw;
mod read;
mod visible;

pub use read::{Board, Error as ReadError};
pub use visible::{Error, LIBRARY_VARIABLE, visible_gpus};
