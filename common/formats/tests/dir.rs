//! A folder on disk as a tree, from whoever it comes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test is a shell, and fails by it")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use phalanx_formats::dir::{Dir, Error};
use phalanx_formats::sysfs::read_all;
use phalanx_formats::tree::Tree;
use support::Scratch;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn no_link_is_followed_out_of_a_saved_folder() {
    let scratch = Scratch::new();
    write(&scratch.path, "secret", "42");
    let root = scratch.path.join("saved");
    write(&root, "sys/devices/pci0000:00/0000:00:03.0/net/eth0/mtu", "1500\n");
    fs::create_dir_all(root.join("sys/class/net")).unwrap();
    symlink("../../devices/pci0000:00/0000:00:03.0/net/eth0", root.join("sys/class/net/eth0")).unwrap();
    symlink("../../../../secret", root.join("sys/class/net/out")).unwrap();
    symlink("/proc/version", root.join("sys/class/net/absolute")).unwrap();
    symlink("loop", root.join("sys/class/net/loop")).unwrap();
    // Through a folder that is a link itself, and back in.
    symlink(&scratch.path, root.join("sys/up")).unwrap();

    let tree = Dir::open(&root).unwrap();
    assert_eq!(tree.read("sys/class/net/eth0/mtu", 100).as_deref(), Some("1500\n"));
    let real = "sys/devices/pci0000:00/0000:00:03.0/net/eth0";
    assert_eq!(tree.real_path("sys/class/net/eth0").as_deref(), Some(real));
    assert_eq!(tree.list("sys/class/net"), ["absolute", "eth0", "loop", "out"]);
    for out in ["sys/class/net/out", "sys/class/net/absolute", "sys/class/net/loop", "sys/up/secret"] {
        assert_eq!((tree.read(out, 100), tree.real_path(out)), (None, None), "{out}");
    }
    assert_eq!(tree.list("sys/up"), [""; 0]);
    let back = format!("sys/up/saved/{real}/mtu");
    assert_eq!(tree.read(&back, 100).as_deref(), Some("1500\n"), "it never left");
    for wrong in ["../secret", "/proc/version", "sys/../../secret", "", "."] {
        assert_eq!(tree.read(wrong, 100), None, "{wrong}");
    }
}

#[test]
fn a_folder_may_be_the_saved_sys_itself_with_proc_beside_it() {
    let scratch = Scratch::new();
    write(&scratch.path, "sys/devices/system/cpu/online", "0-1\n");
    write(&scratch.path, "sys/bus/pci/x", "");
    write(&scratch.path, "proc/sys/kernel/hostname", "n1\n");
    write(&scratch.path, "etc/hostname", "n2\n");
    let whole = Dir::open(&scratch.path).unwrap();
    let sys = Dir::open(&scratch.path.join("sys")).unwrap();
    let machine = read_all(&whole).machine;
    assert_eq!((machine.host.as_deref(), machine.cores.len()), (Some("n1"), 2));
    assert_eq!(read_all(&sys).machine, machine);
    assert_eq!(sys.real_path("sys/bus").as_deref(), Some("sys/bus"));
    assert_eq!(sys.read("etc/hostname", 10), None, "what else is beside it is nobody's business");

    // Whose proc is beside a folder of another name, or behind a link, nobody knows.
    let other = scratch.path.join("other");
    fs::create_dir(&other).unwrap();
    fs::rename(scratch.path.join("sys"), scratch.path.join("renamed")).unwrap();
    assert_eq!(read_all(&Dir::open(&scratch.path.join("renamed")).unwrap()).machine.host, None);
    fs::rename(scratch.path.join("renamed"), other.join("sys")).unwrap();
    symlink("../proc", other.join("proc")).unwrap();
    assert_eq!(read_all(&Dir::open(&other.join("sys")).unwrap()).machine.host, None);
    assert_eq!(read_all(&Dir::open(&other).unwrap()).machine.host, None);

    // It has a folder `sys` too, which is another one.
    let error = Dir::open(&scratch.path.join("proc")).unwrap_err();
    assert!(matches!(error, Error::NoSys { .. }));
    assert!(error.to_string().ends_with("name the folder that /sys was saved in"), "{error}");
    let error = Dir::open(&scratch.path.join("none")).unwrap_err();
    assert!(error.to_string().contains("none: No such file"), "{error}");
    assert!(Dir::open(&scratch.path.join("etc/hostname")).is_err());
}

#[test]
fn reading_is_bounded_and_waits_for_nobody() {
    let scratch = Scratch::new();
    write(&scratch.path, "sys/large", &"x".repeat(1 << 20));
    fs::write(scratch.path.join("sys/bytes"), b"0-3\xff\xfe\n").unwrap();
    assert!(Command::new("mkfifo").arg(scratch.path.join("sys/pipe")).status().unwrap().success());
    fs::create_dir_all(scratch.path.join("sys/devices")).unwrap();
    fs::create_dir_all(scratch.path.join("sys/bus")).unwrap();
    let tree = Dir::open(&scratch.path).unwrap();
    assert_eq!(tree.read("sys/large", 100).unwrap().len(), 100);
    assert_eq!(tree.read("sys/bytes", 100).as_deref(), Some("0-3\\xff\\xfe\n"));
    assert_eq!((tree.read("sys/pipe", 100), tree.read("sys", 100)), (None, None));
    assert_eq!(tree.list("sys"), ["bus", "bytes", "devices", "large", "pipe"]);
}
