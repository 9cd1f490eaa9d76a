//! The board profile from which the NVML of NVIDIA's k8s-test-infra (`mocknvml`) answers: one YAML with what
//! all GPUs of a machine have in common, what each has for itself, the NVLinks and the root complexes.

mod device;
mod links;
mod places;
mod read;

pub use read::{Error, MAX_BYTES, read};
