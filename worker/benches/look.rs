//! How long one look at a machine takes, by the kernel's files alone and with libhwloc: this machine, and a saved or
//! generated one in a folder.
//!
//!     cargo bench -p phalanx-formats --bench sysfs -- /tmp/generated
//!     cargo bench -p phalanx-worker --bench look -- /tmp/generated
//!
//! It prints and asserts nothing.

#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use phalanx_formats::dir::Dir;
use phalanx_formats::sysfs;

const ROUNDS: usize = 21;
/// Set in the process that asks libhwloc about a folder: the library reads its own variable once.
const ALONE: &str = "PHALANX_BENCH_HWLOC_ALONE";

fn main() {
    let folder = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map(PathBuf::from);
    if std::env::var_os(ALONE).is_some() {
        by_hwloc();
        return;
    }
    println!("this machine");
    by_files(&Dir::live());
    by_hwloc();
    if let Some(folder) = folder {
        println!("{}", folder.display());
        by_files(&Dir::open(&folder).expect("a folder with a saved /sys"));
        asked_alone(&folder);
    }
}

fn by_files(tree: &Dir) {
    println!(
        "  /sys and /proc: all {:?}, CPUs {:?}",
        median(|| sysfs::read_all(tree)),
        median(|| sysfs::read_cpu(tree))
    );
}

#[cfg(feature = "hwloc")]
fn by_hwloc() {
    use phalanx_worker::discovery::hwloc;
    let cpus = hwloc::read().map_or(0, |machine| machine.cpus().len());
    println!("  libhwloc: CPUs {:?} ({cpus} found)", median(hwloc::read));
}

#[cfg(not(feature = "hwloc"))]
fn by_hwloc() {
    println!("  libhwloc: not in this build");
}

fn asked_alone(folder: &Path) {
    let own = std::env::current_exe().expect("this program has a path");
    let run = Command::new(own).env(ALONE, "1").env("HWLOC_FSROOT", folder).status();
    assert!(run.is_ok_and(|status| status.success()), "the process that asks libhwloc");
}

fn median<T>(look: impl Fn() -> T) -> Duration {
    let once = || {
        let begin = Instant::now();
        std::hint::black_box(look());
        begin.elapsed()
    };
    let mut times: Vec<Duration> = std::iter::repeat_with(once).take(ROUNDS).collect();
    times.sort();
    times[ROUNDS / 2]
}
