//! Captures from real machines and networks, which stay outside of the repository.

#![allow(clippy::disallowed_methods, reason = "a test is a shell: it reads files and the environment")]

use std::io::Write;
use std::path::PathBuf;
use std::{env, fs};

/// The bytes of a capture, or `None` after saying that the test is skipped.
pub(crate) fn capture(path: &str) -> Option<Vec<u8>> {
    let root = env::var_os("PHALANX_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    match fs::read(root.join("topology").join(path)) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            skipped(&format!("topology/{path} is not there ({error}); PHALANX_DATA names the folder"));
            None
        }
    }
}

/// Says that the test cannot run here, and writes it to the file named by PHALANX_TEST_SKIPS.
fn skipped(why: &str) {
    let line = format!("SKIPPED {}: {why}\n", std::thread::current().name().unwrap_or_default());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    if let Some(path) = env::var_os("PHALANX_TEST_SKIPS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of what is skipped");
    }
}
