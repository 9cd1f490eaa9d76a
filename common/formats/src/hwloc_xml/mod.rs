//! XML of hwloc (`lstopo --of xml`), of its versions 1 and 2, as `hwloc2.dtd` and `hwloc.dtd` of its sources
//! have it.
//!
//! Objects are within each other as the hardware is; in version 2 memory and I/O hang beside CPUs, in
//! version 1 a NUMA node is around its CPUs. `pci_link_speed` is one number for lanes and speed together and
//! is not taken apart.

mod attributes;
mod devices;
mod distances;
mod objects;
mod sriov;

use phalanx_common::text::shown;
use phalanx_common::topology::machine::Machine;

use crate::xml;

/// A machine of a thousand CPUs and many devices has two megabytes.
pub const MAX_BYTES: usize = 16 << 20;
/// Objects within objects. A PCI tree of eight switches on top of packages, groups and caches has thirty.
const MAX_DEPTH: usize = 128;

/// Why a file was not read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Xml(#[from] xml::Error),
    #[error("the outermost element is <{tag}>, and <topology> is expected: this is no XML of hwloc")]
    NotTopology { tag: String },
    #[error(
        "this is XML of hwloc's version {}, and versions 1 and 2 are read; write it with \
         `lstopo --export-xml-flags v2 FILE.xml`",
        shown(version)
    )]
    Version { version: String },
    #[error("the topology has no object of the type Machine")]
    NoMachine,
    #[error("line {line}: {attribute} is {}, and {expected} is expected", shown(value))]
    Value { line: u32, attribute: &'static str, value: String, expected: &'static str },
    #[error("line {line}: more than {MAX_DEPTH} objects are within each other")]
    TooDeep { line: u32 },
    #[error("line {line}: the matrix is of {objects} objects, but has {indexes} indexes and {values} values")]
    Matrix { line: u32, objects: usize, indexes: usize, values: usize },
}

/// # Errors
/// What is no such file, is of a version that is not read, or says what it cannot mean.
pub fn read(bytes: &[u8]) -> Result<Machine, Error> {
    let document = xml::parse(bytes, MAX_BYTES)?;
    let topology = document.root_element();
    if !topology.has_tag_name("topology") {
        return Err(Error::NotTopology { tag: topology.tag_name().name().chars().take(40).collect() });
    }
    // Version 1 does not say that it is.
    let version = topology.attribute("version").unwrap_or("1");
    if !matches!(version.split('.').next(), Some("1" | "2")) {
        return Err(Error::Version { version: version.to_string() });
    }
    let mut seen = objects::Seen::default();
    for object in xml::children(topology, "object") {
        seen.object(object, objects::Place::default(), 0)?;
    }
    if !seen.has_machine {
        return Err(Error::NoMachine);
    }
    let mut machine = seen.whole(&distances::of_version_2(topology)?);
    sriov::recognise(&mut machine);
    Ok(machine)
}
