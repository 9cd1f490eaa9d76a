//! A machine as the kernel shows it in `/sys` and `/proc`: the live one, or a saved one.
//!
//! Each function reads a part, so that one who needs CPUs alone does not wait for the rest. Nothing has to
//! be there: what a kernel, a container or a capture lacks is absent from the machine, and a file that says
//! what it cannot mean is left out and told.

mod allowed;
mod amd;
mod ascend;
mod cpu;
mod files;
mod identity;
mod net;
mod numa;
mod nvidia;
mod pci;
mod rdma;

use phalanx_common::topology::machine::{CpuSet, Machine};

use files::Files;
pub use files::Problem;

use crate::tree::Tree;

/// What a tree tells of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub machine: Machine,
    /// What was left out, 100 files at most.
    pub problems: Vec<Problem>,
}

/// CPUs, caches, NUMA nodes with their memory, what this process may use of them, and what the machine is.
pub fn read_cpu(tree: &dyn Tree) -> Reading {
    read(tree, cpu)
}

/// PCI devices and accelerators, with the NUMA nodes that they are at.
pub fn read_pci(tree: &dyn Tree) -> Reading {
    read(tree, devices)
}

/// Interfaces and RDMA ports, without the PCI devices that they are on.
pub fn read_network(tree: &dyn Tree) -> Reading {
    let mut files = Files::of(tree);
    let mut machine = Machine::default();
    rdma::add(&mut files, &mut machine);
    Reading { machine, problems: files.problems }
}

/// All of it.
pub fn read_all(tree: &dyn Tree) -> Reading {
    read(tree, |files, machine, online| {
        cpu(files, machine, online);
        devices(files, machine, online);
        rdma::add(files, machine);
    })
}

/// Every part but the network needs to know which CPUs work and of which nodes they are.
fn read(tree: &dyn Tree, add: impl FnOnce(&mut Files<'_>, &mut Machine, &CpuSet)) -> Reading {
    let mut files = Files::of(tree);
    let online = cpu::online(&mut files);
    let mut machine = Machine { numa: numa::nodes(&mut files, &online), ..Machine::default() };
    add(&mut files, &mut machine, &online);
    Reading { machine, problems: files.problems }
}

fn cpu(files: &mut Files<'_>, machine: &mut Machine, online: &CpuSet) {
    identity::add(files, machine);
    cpu::add(files, machine, online);
    allowed::add(files, machine, online);
}

fn devices(files: &mut Files<'_>, machine: &mut Machine, online: &CpuSet) {
    pci::add(files, machine, online);
    nvidia::add(files, machine);
    amd::add(files, machine);
    ascend::add(files, machine);
    machine.accelerators.sort_by_key(|device| (device.bdf.is_none(), device.bdf, device.index));
}
