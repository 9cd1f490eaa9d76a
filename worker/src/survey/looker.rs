//! One look at the machine and at who is around it. It reads files and asks drivers, which may take a while.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Machine};
use phalanx_common::wire::topology_v1::Neighbour;
use phalanx_formats::dir::Dir;
use phalanx_formats::sysfs;

use crate::discovery::beacon::{Interface, interfaces};
use crate::discovery::fabric::{self, Gate};
use crate::discovery::nvidia::{Board, ReadError};
use crate::discovery::{addresses, ascend, lldp, ours};

/// Sixteen NPUs take some fifty runs of a tool, which cost ranks CPU time.
const ASK_NPUS_EVERY: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Debug)]
pub struct Look {
    pub machine: Machine,
    /// `None` where lldpd does not answer.
    pub neighbours: Option<Vec<Neighbour>>,
    /// At ports that the host's own LLDP agent does not hear: those of NPUs.
    pub beyond: Vec<Neighbour>,
    pub interfaces: Vec<Interface>,
    /// Subnets of InfiniBand that this node can walk.
    pub gates: BTreeMap<u64, Gate>,
}

/// Looks, and keeps open what is slow to open.
#[derive(Debug)]
pub struct Looker {
    /// Where the kernel's files are.
    root: Dir,
    /// In place of the NVIDIA driver's own library.
    nvml: Option<OsString>,
    board: Option<Board>,
    npus: Option<(Instant, ascend::Found)>,
    /// As hwloc finds them, which takes a while; they stay as they are.
    cpus: Option<Machine>,
    /// What was said of a source that fails: it fails at every look.
    said: Vec<String>,
}

impl Looker {
    /// `root` has the kernel's files; `nvml` is a library in place of the NVIDIA driver's own.
    pub fn new(root: Dir, nvml: Option<OsString>) -> Looker {
        Looker { root, nvml, board: None, npus: None, cpus: None, said: Vec::new() }
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
        let mut machine = self.machine();
        let npus = self.npus(&machine);
        machine = npus.machine.merge(machine);
        let gates = fabric::gates(&machine);
        Look { machine, neighbours, beyond: npus.neighbours, interfaces, gates }
    }

    /// As the tools told them last, which is not long ago.
    fn npus(&mut self, machine: &Machine) -> ascend::Found {
        if let Some((asked, found)) = &self.npus
            && asked.elapsed() < ASK_NPUS_EVERY
        {
            return found.clone();
        }
        let found = ascend::read(machine);
        for problem in &found.problems {
            self.say(problem.clone());
        }
        self.npus = Some((Instant::now(), found.clone()));
        found
    }

    /// What drivers say of their devices is believed before what the kernel says.
    ///
    /// Processes on devices are those of others: what this worker's ranks compute on is known from their plans.
    pub fn machine(&mut self) -> Machine {
        let reading = sysfs::read_all(&self.root);
        let mut machine = self.gpus().unwrap_or_default();
        place_lost(&mut machine, &reading.machine);
        machine = machine.merge(self.cpus.get_or_insert_with(cpus).clone()).merge(reading.machine);
        for problem in reading.problems {
            self.say(problem.to_string());
        }
        if let Err(error) = addresses::add(&mut machine) {
            self.say(format!("the addresses of interfaces are not known: {error}"));
        }
        for processes in machine.accelerators.iter_mut().filter_map(|it| it.processes.as_mut()) {
            processes.retain(|pid| !ours::is_ours(*pid));
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
        match self.board.as_mut()?.read() {
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

/// A GPU that was lost before NVML could say its address is one that PCI shows and NVML does not; both go by PCI
/// addresses. Where their numbers differ it is not known which is which.
fn place_lost(gpus: &mut Machine, pci: &Machine) {
    let known: Vec<Bdf> = gpus.accelerators.iter().filter_map(|gpu| gpu.bdf).collect();
    let of_pci = pci.accelerators.iter().filter(|it| it.kind == AcceleratorKind::Nvidia);
    let places: Vec<Bdf> = of_pci.filter_map(|it| it.bdf).filter(|bdf| !known.contains(bdf)).collect();
    let lost: Vec<&mut Accelerator> = gpus.accelerators.iter_mut().filter(|gpu| gpu.bdf.is_none()).collect();
    if lost.len() == places.len() {
        for (gpu, bdf) in lost.into_iter().zip(places) {
            gpu.bdf = Some(bdf);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(gpus: &[(Option<&str>, Option<u32>)]) -> Machine {
        let gpu = |(bdf, index): &(Option<&str>, Option<u32>)| Accelerator {
            bdf: bdf.map(|bdf| bdf.parse().unwrap()),
            index: *index,
            ..Accelerator::new(AcceleratorKind::Nvidia)
        };
        Machine { accelerators: gpus.iter().map(gpu).collect(), ..Machine::default() }
    }

    #[test]
    fn a_gpu_that_nvml_has_lost_is_the_one_that_pci_still_shows() {
        let pci = machine(&[(Some("10:00.0"), None), (Some("20:00.0"), None), (Some("30:00.0"), None)]);
        let mut gpus = machine(&[(Some("10:00.0"), Some(0)), (Some("30:00.0"), Some(2)), (None, Some(1))]);
        place_lost(&mut gpus, &pci);
        assert_eq!(gpus.accelerators[2].bdf, "20:00.0".parse().ok());

        let mut gpus = machine(&[(Some("10:00.0"), Some(0)), (None, Some(1))]);
        let before = gpus.clone();
        place_lost(&mut gpus, &pci);
        assert_eq!(gpus, before, "it may be either");
    }
}
