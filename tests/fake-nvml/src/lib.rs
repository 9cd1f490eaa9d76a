//! A `libnvidia-ml.so` without hardware: the calls of NVML that Phalanx makes, by the NVML API Reference and its
//! header, answered from a board profile. Programs load it through `PHALANX_NVML_LIBRARY`, which they do with any
//! other, so that what is tested is all of the way from `dlopen` on.
//!
//! | variable | what it does |
//! |---|---|
//! | `FAKE_NVML_PROFILE` | the profile, as [`phalanx_formats::nvml_profile`] reads it; read again when the file changes |
//! | `FAKE_NVML_BOARDS` | without a profile: so many boards, of which only the UUIDs are known (`GPU-00000002-…`) |
//! | `FAKE_NVML_BROKEN` | set to anything: no driver is loaded |
//!
//! Of a device it knows these keys besides those that the reader of profiles does, with the names and values that
//! `mocknvml` has for them where it does:
//!
//! - `mig: {instances: [{profile: 1g.10gb, uuid: MIG-…}]}`: its slices, with the compute and the memory that
//!   the profile's name says
//! - `failure: {mode: lost, after_calls: 1}`: every call but the first is answered by NVML_ERROR_GPU_IS_LOST
//! - `recovery_action: 1`: NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
#![expect(unsafe_code, reason = "a C library in Rust: exported names, pointers that the caller gives")]

mod call;
mod device;
mod health;
mod host;
mod links;
mod loaded;
mod system;

use std::path::PathBuf;

/// Names the profile.
pub const PROFILE: &str = "FAKE_NVML_PROFILE";
/// Says how many boards there are, without a profile.
pub const BOARDS: &str = "FAKE_NVML_BOARDS";
/// Says that there is no driver.
pub const BROKEN: &str = "FAKE_NVML_BROKEN";

/// The library that was built with the running test: cargo puts it beside the test's own program.
///
/// # Panics
/// It is not there.
pub fn library() -> PathBuf {
    #[expect(clippy::expect_used, reason = "for tests, which fail by it")]
    let mut path = std::env::current_exe().expect("a test has a path");
    path.set_file_name("libphalanx_fake_nvml.so");
    assert!(path.exists(), "{} is not built: run the tests with cargo", path.display());
    path
}
