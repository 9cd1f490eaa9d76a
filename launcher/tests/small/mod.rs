//! The real `phalanx` on a small recorded cluster.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Exit code, standard output, standard error.
pub(crate) fn phalanx(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_phalanx"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("PHALANX_CONFIG", "/dev/null")
        .env("PHALANX_STATE_DIR", dir)
        .env("LANG", "C.UTF-8")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// Eight nodes on four leaves under two spines, in `hosts.csv`.
pub(crate) fn cluster() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut topology = String::from("node,leaf,spine\n");
    for node in 0..8 {
        topology += &format!("n{node},leaf-{},spine-{}\n", node / 2, node / 4);
    }
    fs::write(dir.path().join("hosts.csv"), topology).unwrap();
    dir
}
