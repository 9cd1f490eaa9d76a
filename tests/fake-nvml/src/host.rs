//! A host and its GPUs, as a profile says.

use std::sync::atomic::AtomicU32;

use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, CpuSet, Machine, Peer};
use phalanx_common::yaml::{self, Bounds, Node};
use phalanx_formats::nvml_profile;

/// Of a profile that does not say it.
const DRIVER: &str = "580.65.06";

pub(crate) struct Host {
    pub(crate) driver: String,
    pub(crate) machine: Machine,
    /// In the order of their indices.
    pub(crate) gpus: Vec<Gpu>,
}

pub(crate) struct Gpu {
    /// What the reader of profiles makes of it.
    pub(crate) told: Accelerator,
    pub(crate) pci_id: u32,
    pub(crate) numa: Option<u32>,
    pub(crate) cpus: CpuSet,
    /// Who is at the other end of each NVLink.
    pub(crate) links: Vec<Peer>,
    /// The generation of NVLink.
    pub(crate) nvlink: u32,
    pub(crate) slices: Vec<Slice>,
    /// Conditions of the fabric that are other than they should be, and the configuration's number.
    pub(crate) health: Vec<&'static str>,
    pub(crate) configuration: u32,
    pub(crate) recovery: Option<u32>,
    /// It answers so many calls.
    pub(crate) lost_after: Option<u32>,
    pub(crate) calls: AtomicU32,
}

pub(crate) struct Slice {
    pub(crate) uuid: String,
    pub(crate) memory_bytes: u64,
    /// Compute slices of its GPU instance and of its compute instance.
    pub(crate) slices: (u32, u32),
}

impl Host {
    /// So many, of which nothing is known but the UUID.
    pub(crate) fn of_boards(boards: u32) -> Host {
        let gpu = |index| Gpu {
            told: Accelerator {
                index: Some(index),
                uuid: Some(format!("GPU-{index:08x}-0000-0000-0000-000000000000")),
                ..Accelerator::new(AcceleratorKind::Nvidia)
            },
            ..Gpu::plain()
        };
        Host { driver: DRIVER.to_owned(), machine: Machine::default(), gpus: (0..boards).map(gpu).collect() }
    }

    pub(crate) fn of_profile(bytes: &[u8]) -> Result<Host, String> {
        let machine = nvml_profile::read(bytes).map_err(|error| error.to_string())?;
        let bounds = Bounds { bytes: nvml_profile::MAX_BYTES, depth: 16, documents: 1 };
        let roots = yaml::read(bytes, &bounds).map_err(|error| error.to_string())?;
        let root = roots.first().ok_or("there is nothing in it")?;
        let common = root.get("device_defaults");
        let devices = root.get("devices").and_then(Node::items).unwrap_or_default();
        let nvlink = number(deep(root, "nvlink/version")).unwrap_or(0);
        let mut gpus: Vec<Gpu> = Vec::new();
        for told in &machine.accelerators {
            let own = devices.iter().find(|device| {
                let bdf = deep(device, "pci/bus_id").and_then(Node::text);
                bdf.and_then(|bdf| bdf.parse().ok()) == told.bdf
            });
            let values = Values { own, common };
            gpus.push(Gpu { nvlink, ..gpu(&machine, told, &values) });
        }
        gpus.sort_by_key(|gpu| gpu.told.index);
        let driver = deep(root, "system/driver_version").and_then(Node::text).unwrap_or(DRIVER).to_owned();
        Ok(Host { driver, machine, gpus })
    }
}

impl Gpu {
    fn plain() -> Gpu {
        Gpu {
            told: Accelerator::new(AcceleratorKind::Nvidia),
            pci_id: 0,
            numa: None,
            cpus: CpuSet::new(),
            links: Vec::new(),
            nvlink: 0,
            slices: Vec::new(),
            health: Vec::new(),
            configuration: 1,
            recovery: None,
            lost_after: None,
            calls: AtomicU32::new(0),
        }
    }
}

fn gpu(machine: &Machine, told: &Accelerator, values: &Values<'_>) -> Gpu {
    let device = told.bdf.and_then(|bdf| machine.pci.get(&bdf));
    let numa = device.and_then(|device| device.numa);
    let node = numa.and_then(|numa| machine.numa.get(&numa));
    let of_bundle = |link: &phalanx_common::topology::machine::Attachment| {
        std::iter::repeat_n(link.peer, link.lanes as usize)
    };
    let wrong = |condition: &&str| values.text(&format!("fabric/health/{condition}")) == Some("true");
    let configuration = values.text("fabric/health/incorrect_configuration");
    let configuration = CONFIGURATIONS.iter().find(|(name, _)| Some(*name) == configuration);
    let lost = values.text("failure/mode") == Some("lost");
    Gpu {
        told: told.clone(),
        pci_id: values.number("pci/device_id").unwrap_or(0),
        numa,
        cpus: node.map(|node| node.cpus.clone()).unwrap_or_default(),
        links: told.links.iter().flat_map(of_bundle).collect(),
        slices: slices(values),
        health: CONDITIONS.into_iter().filter(wrong).collect(),
        configuration: configuration.map_or(1, |(_, number)| *number),
        recovery: values.number("recovery_action"),
        lost_after: lost.then(|| values.number("failure/after_calls").unwrap_or(0)),
        ..Gpu::plain()
    }
}

/// In the order of their two bits of the health mask.
pub(crate) const CONDITIONS: [&str; 4] =
    ["degraded_bandwidth", "route_recovery", "route_unhealthy", "access_timeout_recovery"];

/// NVML_GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_*
const CONFIGURATIONS: [(&str, u32); 4] =
    [("incorrect_sysguid", 2), ("incorrect_chassis_sn", 3), ("no_partition", 4), ("insufficient_nvlinks", 5)];

fn slices(values: &Values<'_>) -> Vec<Slice> {
    let listed = values.value("mig/instances").and_then(Node::items).unwrap_or_default();
    let slice = |node: &Node| {
        let text = |key| node.get(key).and_then(Node::text);
        // `3g.40gb`, or `1c.3g.40gb` of a compute instance that is smaller than its GPU instance.
        let (slices, gigabytes) = text("profile")?.strip_suffix("gb")?.rsplit_once('.')?;
        let (compute, instance) = slices.split_once("c.").unwrap_or((slices.strip_suffix('g')?, slices));
        let slices = (instance.strip_suffix('g')?.parse().ok()?, compute.parse().ok()?);
        let memory_bytes = gigabytes.parse::<u64>().ok()? << 30;
        Some(Slice { uuid: text("uuid")?.to_owned(), memory_bytes, slices })
    };
    listed.iter().filter_map(slice).collect()
}

/// What a device has for itself, else what all have.
struct Values<'a> {
    own: Option<&'a Node>,
    common: Option<&'a Node>,
}

impl<'a> Values<'a> {
    fn value(&self, path: &str) -> Option<&'a Node> {
        let of = |node: Option<&'a Node>| deep(node?, path);
        of(self.own).or_else(|| of(self.common))
    }

    fn text(&self, path: &str) -> Option<&'a str> {
        self.value(path)?.text()
    }

    fn number(&self, path: &str) -> Option<u32> {
        number(self.value(path))
    }
}

fn deep<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('/').try_fold(node, |node, key| node.get(key))
}

fn number(node: Option<&Node>) -> Option<u32> {
    let text = node?.text()?;
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
