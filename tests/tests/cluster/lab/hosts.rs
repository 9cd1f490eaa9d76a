//! What makes a host of the lab differ from the others: for what starts there from then on.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Lab, Plane, ip, ok};

impl Lab {
    /// Mounts something for what starts on this host from here on, and for nobody else: arguments of mount(8).
    pub(crate) fn mount(&mut self, host: &str, args: &[&str]) {
        self.mounts.entry(host.to_owned()).or_default().push(args.join(" "));
    }

    /// A file system of its own for a directory of this host, with so much room.
    pub(crate) fn mount_small(&mut self, host: &str, dir: &Path, size: &str) {
        fs::create_dir_all(dir).expect("a directory to mount on");
        let (size, dir) = (format!("size={size},mode=755"), dir.to_string_lossy());
        self.mount(host, &["-t", "tmpfs", "-o", &size, "tmpfs", &dir]);
    }

    /// Sets the wall clock of what starts on this host from here on, `+10s` or `-70m`; false, with a line that
    /// says so, where that cannot be done.
    pub(crate) fn set_clock(&mut self, host: &str, offset: &str) -> bool {
        let libraries = fs::read_dir("/usr/lib").expect("libraries").flatten();
        let mut libraries = libraries.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.find(|path| path.exists()) else {
            crate::support::skipped("clocks cannot be set: libfaketime is not installed");
            return false;
        };
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME={offset}"),
            // What waits, waits by this clock.
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        self.clocks.insert(host.to_owned(), words.to_vec());
        // The library's own files would outlive a program that is killed.
        self.mount(host, &["-t", "tmpfs", "tmpfs", "/dev/shm"]);
        true
    }

    /// Gives a host names of its own: the content of its /etc/hosts.
    pub(crate) fn names(&mut self, host: &str, content: &str) {
        let dir = self.names_of(host);
        fs::create_dir_all(&dir).expect("a directory for the host's names");
        fs::write(dir.join("hosts"), content).expect("a file of names");
        self.named.push(host.to_owned());
    }

    /// Where `ip netns exec` looks for files to put over those of /etc.
    pub(super) fn names_of(&self, host: &str) -> PathBuf {
        Path::new("/etc/netns").join(self.namespace(host))
    }

    /// Adds a route that drops all packets to a host on the control plane, on another host.
    pub(crate) fn blackhole(&self, on: &str, number: u8) {
        let address = Plane::Control.address(self.family, number);
        assert!(ok(ip(&["-n", &self.namespace(on), "route", "add", "blackhole", &address])));
    }
}
