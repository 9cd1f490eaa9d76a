//! A machine as Linux shows it in /sys and /proc, live or recorded.
//!
//! Sources: the kernel's `Documentation/ABI`, `Documentation/admin-guide/cputopology.rst`, proc(5). What a kernel
//! does not show is absent in the machine; nothing here is an error.

mod amd;
mod cpu;
mod limits;
mod net;
mod nvidia;
mod pci;
mod rdma;

use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Machine, PciKind};

use crate::tree::Tree;

pub use cpu::read as read_cpus;

/// All of it.
pub fn read(tree: &dyn Tree) -> Machine {
    let mut machine = cpu::read(tree);
    machine.allowed = limits::read(tree);
    machine.pci = pci::read(tree, &machine.numa);
    machine.nics = net::read(tree);
    rdma::read(tree, &mut machine.nics);
    machine.nics.sort_by(|a, b| (a.bdf.is_none(), a.bdf, &a.name).cmp(&(b.bdf.is_none(), b.bdf, &b.name)));
    let devices = machine.pci.iter().filter(|(_, device)| device.kind == Some(PciKind::Gpu));
    machine.accelerators = devices
        .filter_map(|(bdf, device)| {
            let kind = AcceleratorKind::of_vendor(device.vendor?)?;
            Some(Accelerator { bdf: Some(*bdf), ..Accelerator::new(kind) })
        })
        .collect();
    nvidia::read(tree, &mut machine.accelerators);
    amd::read(tree, &mut machine.accelerators);
    machine.accelerators.sort_by_key(|accelerator| accelerator.bdf);
    machine
}

/// Whether a tree has what is read here.
pub fn is_one(tree: &dyn Tree) -> bool {
    !tree.list("sys/devices/system/cpu").is_empty()
}
