//! Whether the devices and ports that a plan gives to a pod are here and fit, at the moment when it is prepared: the
//! plan was made of what the node told before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use phalanx_common::id::NodeId;
use phalanx_common::plan::{BoundDevice, PodBinding};
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Ailment, Machine};
use phalanx_formats::dir::Dir;
use phalanx_formats::{nccl_xml, sysfs};

use crate::discovery::nvidia::{self, Board, names};
use crate::discovery::ours::is_ours;
use crate::discovery::{ascend, nvidia::ReadError};

/// What a pod is to get of this node, and cannot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{device} of node {node} {why}")]
    Device { node: NodeId, device: BoundDevice, why: Unfit },
    #[error("RDMA port {port} of node {node} {why}")]
    Port { node: NodeId, port: String, why: &'static str },
    #[error(
        "a topology file for NCCL of node {node} cannot be made: {why}; run the job without `ncclTopology`"
    )]
    Topology { node: NodeId, why: String },
}

/// What is the matter with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The driver, or its tool, says nothing.
    Unknown(String),
    Missing,
    /// The one with its number, by UUID.
    Another(String),
    /// A whole GPU that is cut into slices.
    Cut,
    Ill(Vec<Ailment>),
    /// By a process that is none of this worker's.
    Taken(u32),
    /// By this variable in the worker's own environment.
    Hidden {
        variable: &'static str,
        value: String,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Unknown(why) => write!(f, "cannot be looked at: {why}; mend the driver"),
            Unfit::Missing => f.write_str("is not there any more; restart the driver, or see to the machine"),
            Unfit::Another(uuid) => {
                write!(f, "is {uuid} by now: devices changed after the job was placed; let it be placed anew")
            }
            Unfit::Cut => f.write_str("is cut into slices by now: ask for slices, or turn MIG off"),
            Unfit::Ill(ailments) => {
                let all: Vec<String> = ailments.iter().map(Ailment::to_string).collect();
                write!(f, "is not well: {}", all.join(", "))
            }
            Unfit::Taken(pid) => write!(
                f,
                "is in use: process {pid}, none of ours, computes on it; end that, or start the worker with `--share`"
            ),
            Unfit::Hidden { variable, value } => write!(
                f,
                "is not the worker's: {variable}={value} in its environment leaves it out; start the worker without"
            ),
        }
    }
}

/// Looks at what is given to pods, and keeps open what is slow to open.
#[derive(Debug)]
pub struct Checker {
    node: NodeId,
    /// Where the kernel's files are.
    root: Dir,
    sources: Sources,
    board: Option<Board>,
}

/// How the devices of a worker are known.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// In place of the NVIDIA driver's own library.
    pub nvml: Option<OsString>,
    /// Variables of the worker's environment that leave it a part of the devices, with their values.
    pub masks: Vec<(&'static str, String)>,
    /// Devices that others compute on are handed out all the same.
    pub share: bool,
}

impl Sources {
    /// Those of this process.
    pub fn of_this_process(share: bool) -> Sources {
        let kinds = [AcceleratorKind::Nvidia, AcceleratorKind::Amd, AcceleratorKind::Ascend];
        let value = |name| std::env::var(name).ok().map(|value| (name, value));
        Sources {
            nvml: std::env::var_os(nvidia::LIBRARY_VARIABLE),
            masks: kinds.into_iter().filter_map(|kind| value(mask_of(kind))).collect(),
            share,
        }
    }
}

/// The variable whose numbers are the machine's own (see `phalanx_worker_core::env`).
fn mask_of(kind: AcceleratorKind) -> &'static str {
    match kind {
        AcceleratorKind::Nvidia => "CUDA_VISIBLE_DEVICES",
        AcceleratorKind::Amd => "ROCR_VISIBLE_DEVICES",
        AcceleratorKind::Ascend => "ASCEND_RT_VISIBLE_DEVICES",
    }
}

impl Checker {
    /// Of the node with this id, whose kernel's files are below `root`. Reads nothing yet.
    pub fn new(node: NodeId, root: Dir, sources: Sources) -> Checker {
        Checker { node, root, sources, board: None }
    }

    /// Of this machine and this process.
    pub fn live(node: NodeId, share: bool) -> Checker {
        Checker::new(node, Dir::live(), Sources::of_this_process(share))
    }

    /// Whether there is anything to look at, or to write.
    pub fn looks_at(binding: &PodBinding) -> bool {
        !binding.devices.is_empty() || !binding.hca.is_empty() || binding.nccl_topology.is_some()
    }

    /// Looks at what `binding` gives. Blocks, as drivers do; without devices and ports nothing is read.
    ///
    /// # Errors
    /// The first that is not there, or not fit.
    pub fn check(&mut self, binding: &PodBinding) -> Result<(), Error> {
        if let Some(first) = binding.devices.first() {
            let machine = self.look(first.kind);
            for device in &binding.devices {
                let fit = match &machine {
                    Ok(machine) => self.fit(device, machine),
                    Err(why) => Err(Unfit::Unknown(why.clone())),
                };
                fit.map_err(|why| Error::Device { node: self.node.clone(), device: device.clone(), why })?;
            }
        }
        if binding.hca.is_empty() {
            return Ok(());
        }
        let machine = sysfs::read_network(&self.root).machine;
        for port in &binding.hca {
            let refuse = |why| Error::Port { node: self.node.clone(), port: port.clone(), why };
            let found = machine.nics.iter().find(|nic| {
                nic.rdma.as_ref().is_some_and(|rdma| format!("{}:{}", rdma.device, rdma.port) == *port)
            });
            let nic =
                found.ok_or_else(|| refuse("is not there any more; see to the adapter and its driver"))?;
            if nic.up == Some(false) {
                return Err(refuse("is down; see to its cable and its switch"));
            }
        }
        Ok(())
    }

    /// A topology file for NCCL of this node, with the rails of its ports. Blocks, as drivers do.
    ///
    /// # Errors
    /// The driver does not answer, or NCCL would be told less than it finds by itself.
    pub fn nccl_topology(&mut self, rails: &BTreeMap<String, u16>) -> Result<String, Error> {
        let fail = |node: &NodeId, why| Error::Topology { node: node.clone(), why };
        let gpus = match self.gpus() {
            Ok(gpus) => gpus,
            Err(ReadError::NoDriver) => Machine::default(),
            Err(error) => return Err(fail(&self.node, error.to_string())),
        };
        let machine = gpus.merge(sysfs::read_all(&self.root).machine);
        match nccl_xml::unplaced(&machine) {
            Some(device) => Err(fail(&self.node, format!("where {device} is plugged in is not known"))),
            None => Ok(nccl_xml::write(&machine, rails)),
        }
    }

    /// The devices of this vendor, or why they are not known.
    fn look(&mut self, kind: AcceleratorKind) -> Result<Machine, String> {
        match kind {
            AcceleratorKind::Nvidia => self.gpus().map_err(|error| error.to_string()),
            AcceleratorKind::Amd => Ok(sysfs::read_pci(&self.root).machine),
            AcceleratorKind::Ascend => {
                let kernel = sysfs::read_pci(&self.root).machine;
                let found = ascend::npus(&kernel);
                match found.problems.first() {
                    Some(problem) => Err(problem.clone()),
                    None => Ok(found.machine.merge(kernel)),
                }
            }
        }
    }

    fn gpus(&mut self) -> Result<Machine, ReadError> {
        let board = match &mut self.board {
            Some(board) => board,
            none => none.insert(Board::open(self.sources.nvml.clone())?),
        };
        let read = board.read();
        if read.is_err() {
            // The driver may have been loaded anew.
            self.board = None;
        }
        read
    }

    fn fit(&self, device: &BoundDevice, machine: &Machine) -> Result<(), Unfit> {
        let all: Vec<&Accelerator> =
            machine.accelerators.iter().filter(|found| found.kind == device.kind).collect();
        let has = |found: &&&Accelerator| match device.mig {
            true => found.slices.iter().any(|slice| slice.uuid == device.uuid),
            false => found.index == Some(device.index),
        };
        let found = all.iter().find(has).ok_or(Unfit::Missing)?;
        let planned = device.uuid.as_ref().filter(|_| !device.mig);
        if let (Some(planned), Some(uuid)) = (planned, &found.uuid)
            && planned != uuid
        {
            return Err(Unfit::Another(uuid.clone()));
        }
        if !device.mig && found.mig == Some(true) {
            return Err(Unfit::Cut);
        }
        if let Some(ailments) = found.ailments.as_ref().filter(|ailments| !ailments.is_empty()) {
            return Err(Unfit::Ill(ailments.clone()));
        }
        // Who computes on which slice the driver does not say here.
        let processes = found.processes.as_ref().filter(|_| !device.mig && !self.sources.share);
        if let Some(pid) = processes.and_then(|all| all.iter().find(|pid| !is_ours(**pid))) {
            return Err(Unfit::Taken(*pid));
        }
        self.visible(device, &all)
    }

    /// Whether the worker itself was given it.
    fn visible(&self, device: &BoundDevice, all: &[&Accelerator]) -> Result<(), Unfit> {
        let variable = mask_of(device.kind);
        let Some((_, value)) = self.sources.masks.iter().find(|(name, _)| *name == variable) else {
            return Ok(());
        };
        let mut uuids: Vec<(u32, String)> = all
            .iter()
            .filter_map(|found| Some((found.index?, found.uuid.clone().unwrap_or_default())))
            .collect();
        uuids.sort();
        let uuids: Vec<String> = uuids.into_iter().map(|(_, uuid)| uuid).collect();
        let is_it = |entry: &str| match (entry.parse::<u32>(), &device.uuid) {
            (Ok(index), _) => !device.mig && index == device.index,
            (Err(_), Some(uuid)) => uuid.starts_with(entry),
            (Err(_), None) => false,
        };
        match names(value, &uuids).any(is_it) {
            true => Ok(()),
            false => Err(Unfit::Hidden { variable, value: value.clone() }),
        }
    }
}
