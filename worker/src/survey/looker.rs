//! One look at the machine and at who is around it. It reads files and asks drivers, which may take a while.

use std::ffi::OsString;

use phalanx_common::topology::machine::Machine;
use phalanx_common::wire::topology_v1::Neighbour;
use phalanx_formats::dir::Dir;
use phalanx_formats::sysfs;

use crate::discovery::beacon::{Interface, interfaces};
use crate::discovery::nvidia::{Board, ReadError};
use crate::discovery::{addresses, lldp};

/// What was seen.
#[derive(Debug)]
pub struct Look {
    pub machine: Machine,
    /// `None` where lldpd does not answer.
    pub neighbours: Option<Vec<Neighbour>>,
    pub interfaces: Vec<Interface>,
}

/// Looks, and keeps open what is slow to open.
#[derive(Debug)]
pub struct Looker {
    /// In place of the NVIDIA driver's own library.
    nvml: Option<OsString>,
    board: Option<Board>,
    /// As hwloc finds them, which takes a while; they stay as they are.
    cpus: Option<Machine>,
    /// What was said of a source that fails: it fails at every look.
    said: Vec<String>,
}

impl Looker {
    /// `nvml`: a library in place of the NVIDIA driver's own.
    pub fn new(nvml: Option<OsString>) -> Looker {
        Looker { nvml, board: None, cpus: None, said: Vec::new() }
    }

    /// Never fails: a source that does is left out, and said once. Blocks.
    pub fn look(&mut self) -> Look {
        let interfaces = interfaces().unwrap_or_else(|error| {
            self.say(format!("the interfaces cannot be listed: {error}"));
            Vec::new()
        });
        let neighbours = match lldp::ask_lldpd() {
            Ok(neighbours) => Some(neighbours),
            Err(error) => {
                tracing::debug!(%error, "lldpd is not asked");
                None
            }
        };
        Look { machine: self.machine(), neighbours, interfaces }
    }

    /// What drivers say of their devices is believed before what the kernel says.
    fn machine(&mut self) -> Machine {
        let mut machine = Machine::default();
        if let Some(gpus) = self.gpus() {
            machine = machine.merge(gpus);
        }
        machine = machine.merge(self.cpus.get_or_insert_with(cpus).clone());
        let reading = sysfs::read_all(&Dir::live());
        machine = machine.merge(reading.machine);
        for problem in reading.problems {
            self.say(problem.to_string());
        }
        if let Err(error) = addresses::add(&mut machine) {
            self.say(format!("the addresses of interfaces are not known: {error}"));
        }
        machine
    }

    fn gpus(&mut self) -> Option<Machine> {
        if self.board.is_none() {
            match Board::open(self.nvml.clone()) {
                Ok(board) => self.board = Some(board),
                Err(ReadError::NoDriver) => return None,
                Err(error) => {
                    self.say(error.to_string());
                    return None;
                }
            }
        }
        match self.board.as_ref()?.read() {
            Ok(machine) => Some(machine),
            Err(error) => {
                self.say(error.to_string());
                // The driver may have been loaded anew.
                self.board = None;
                None
            }
        }
    }

    fn say(&mut self, what: String) {
        if !self.said.contains(&what) {
            tracing::warn!("{what}");
            self.said.push(what);
        }
    }
}

#[cfg(feature = "hwloc")]
fn cpus() -> Machine {
    crate::discovery::hwloc::read().unwrap_or_default()
}

/// The kernel's own files say it all.
#[cfg(not(feature = "hwloc"))]
fn cpus() -> Machine {
    Machine::default()
}
