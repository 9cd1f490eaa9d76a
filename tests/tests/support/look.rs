//! A process that looks at the machine, with an environment of its own.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use phalanx_common::topology::machine::Machine;
use serde_json::Value;

use crate::support::Sandbox;

/// `look`, which looks whenever it is told to.
pub(crate) struct Look {
    child: Child,
    ask: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Look {
    pub(crate) fn start(args: &[&str], env: &[(&str, &Path)]) -> Look {
        let mut command = Command::new(env!("CARGO_BIN_EXE_look"));
        command.args(args).envs(env.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("look starts");
        let ask = child.stdin.take();
        let said = BufReader::new(child.stdout.take().expect("its output"));
        Look { child, ask, said }
    }

    /// At the GPUs of a profile.
    pub(crate) fn at(args: &[&str], profile: &Path) -> Look {
        let library = phalanx_fake_nvml::library();
        let env = [("PHALANX_NVML_LIBRARY", library.as_path()), (phalanx_fake_nvml::PROFILE, profile)];
        Look::start(args, &env)
    }

    pub(crate) fn next(&mut self) -> Value {
        writeln!(self.ask.as_mut().expect("its input"), "look").expect("look runs");
        self.line()
    }

    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("look says what it sees")
    }

    /// The machine of `look gpus`.
    pub(crate) fn machine(&mut self) -> Machine {
        machine(&self.next())
    }
}

pub(crate) fn machine(value: &Value) -> Machine {
    serde_json::from_value(value.clone()).expect("a machine")
}

impl Drop for Look {
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.child.wait();
    }
}

/// A saved `/sys` with a device of this vendor and class at each address.
pub(crate) fn sys(sandbox: &Sandbox, vendor: &str, class: &str, addresses: &[&str]) -> PathBuf {
    let root = sandbox.dir.join("saved");
    let devices = root.join("sys/bus/pci/devices");
    fs::create_dir_all(&devices).expect("a folder for the test");
    for address in addresses {
        let device = root.join("sys/devices/pci0000:00").join(address);
        fs::create_dir_all(&device).expect("a folder for the test");
        for (name, text) in [("vendor", vendor), ("class", class), ("device", "0x2330")] {
            fs::write(device.join(name), text).expect("a file for the test");
        }
        let link = Path::new("../../../devices/pci0000:00").join(address);
        std::os::unix::fs::symlink(link, devices.join(address)).expect("a link for the test");
    }
    root
}

/// Writes a profile anew as an editor does: at once.
pub(crate) fn replace(profile: &Path, text: &str) {
    let new = profile.with_extension("new");
    fs::write(&new, text).expect("a file for the test");
    fs::rename(&new, profile).expect("the file is replaced");
}
