//! The machine that this runs on, against what `lstopo` of hwloc says of it.

mod support;

use std::process::Command;

use phalanx_common::topology::machine::{Machine, PciKind};
use phalanx_formats::dir::Dir;
use phalanx_formats::{hwloc_xml, sysfs};

/// `None` after saying that the test is skipped.
fn by_lstopo() -> Option<Machine> {
    // Version 2 of the format is written by hwloc 2 unless told otherwise; hwloc 3 is told.
    for flags in [&["--export-xml-flags", "v2"][..], &[]] {
        let run = Command::new("lstopo-no-graphics").args(flags).args(["--of", "xml"]).output();
        if let Ok(done) = run
            && done.status.success()
            && let Ok(machine) = hwloc_xml::read(&done.stdout)
        {
            return Some(machine);
        }
    }
    support::skipped("lstopo-no-graphics (hwloc-nox) is not there, or writes nothing that is read");
    None
}

#[test]
fn this_machine_is_what_lstopo_says_it_is() {
    let Some(theirs) = by_lstopo() else { return };
    let ours = sysfs::read_all(&Dir::live()).machine;
    assert!(!ours.cores.is_empty());
    assert_eq!(ours.packages, theirs.packages);
    assert_eq!(ours.cores, theirs.cores);
    assert_eq!(ours.l3, theirs.l3);
    let nodes = |machine: &Machine| -> Vec<(u32, String, Option<u64>)> {
        machine.numa.iter().map(|(id, node)| (*id, node.cpus.to_string(), node.memory_bytes)).collect()
    };
    assert_eq!(nodes(&ours), nodes(&theirs));
    // lstopo keeps the devices that it finds important; each of them is one of ours, at the same place.
    let known = |kind: Option<PciKind>| matches!(kind, Some(PciKind::Network | PciKind::Gpu | PciKind::Nvme));
    for (bdf, device) in theirs.pci.iter().filter(|(_, device)| known(device.kind)) {
        let own = ours.pci.get(bdf).unwrap_or_else(|| panic!("{bdf} is missing"));
        assert_eq!((own.kind, own.vendor, own.device), (device.kind, device.vendor, device.device), "{bdf}");
    }
    for nic in theirs.nics.iter().filter(|nic| nic.bdf.is_some()) {
        let own = ours.nics.iter().find(|own| own.name == nic.name);
        assert_eq!(own.map(|own| (own.bdf, own.mac)), Some((nic.bdf, nic.mac)), "{}", nic.name);
    }
}
