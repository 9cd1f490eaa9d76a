//! Captures from real clusters, which stay outside of the repository.

use std::io::Write;
use std::path::PathBuf;
use std::{env, fs};

/// `None` after saying that the test is skipped, in the file of PHALANX_TEST_SKIPS as well.
pub(crate) fn capture(path: &str) -> Option<Vec<u8>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = env::var_os("PHALANX_DATA").map_or_else(beside, PathBuf::from);
    match fs::read(root.join(path)) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let test = std::thread::current().name().unwrap_or_default().to_string();
            let line =
                format!("SKIPPED {test}: {path} is not there ({error}); PHALANX_DATA names the folder\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            if let Some(skips) = env::var_os("PHALANX_TEST_SKIPS") {
                let file = fs::OpenOptions::new().create(true).append(true).open(skips);
                file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
            }
            None
        }
    }
}
