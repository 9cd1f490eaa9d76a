//! The board profile from which the NVML of NVIDIA's k8s-test-infra (`mocknvml`) answers: one YAML with what
//! all GPUs of a machine have in common, what each has for itself, the NVLinks and the root complexes.

use std::collections::BTreeMap;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Ailment, Attachment, Fabric, FabricState, LinkKind, Machine, PciDevice,
    PciKind, PciLink, PciPlace, PciRoot, Peer, Platform,
};
use phalanx_common::yaml::{self, Bounds, Node};

/// The profiles have 20 KB.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_GPUS: usize = 256;
const MAX_SWITCHES: usize = 256;
/// NVML counts at most 18.
const MAX_LINKS: u32 = 64;
const NVIDIA: u16 = 0x10de;

/// Why a profile was not read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("the profile should have the keys `device_defaults` and `devices`, with a mapping and a list")]
    Shape,
    #[error("line {line}: the device has no `pci.bus_id` such as \"0000:1A:00.0\"")]
    NoAddress { line: u32 },
    #[error("line {line}: a second device has the address {bdf}")]
    Twice { line: u32, bdf: Bdf },
    #[error("line {line}: there are more than {limit} {what}; a profile is of one machine")]
    TooMany { line: u32, limit: usize, what: &'static str },
    #[error("line {line}: {found} is no {what}")]
    Wrong { line: u32, found: String, what: &'static str },
}

/// Reads a profile.
///
/// Links that it does not list go to its NVSwitches in turn, as its NVML answers them; `bandwidth_per_link_mbps`
/// is megabytes per second, whatever it is called (53125 are the 53.125 GB/s of NVLink 5).
///
/// # Errors
/// What is no YAML or of another shape, devices without an address or with the same, and values that are
/// none.
pub fn read(bytes: &[u8]) -> Result<Machine, Error> {
    let roots = yaml::read(bytes, &Bounds { bytes: MAX_BYTES, depth: 16, documents: 1 })?;
    let root = roots.first().ok_or(Error::Shape)?;
    let defaults = root.get("device_defaults").filter(|it| it.entries().is_some()).ok_or(Error::Shape)?;
    let devices = root.get("devices").and_then(Node::items).ok_or(Error::Shape)?;
    bounded(root, "devices", devices.len(), MAX_GPUS)?;
    let mut machine = Machine::default();
    for (node, place) in devices.iter().zip(0u32..) {
        let gpu = Gpu { own: node, common: defaults };
        let line = node.span.line;
        let bdf = gpu.value("pci/bus_id").and_then(Node::text).and_then(|bdf| bdf.parse::<Bdf>().ok());
        let bdf = bdf.ok_or(Error::NoAddress { line })?;
        if machine.pci.insert(bdf, gpu.device()?).is_some() {
            return Err(Error::Twice { line, bdf });
        }
        machine.accelerators.push(gpu.accelerator(bdf, place)?);
    }
    if let Some(nvlink) = root.get("nvlink") {
        links(&mut machine, nvlink)?;
    }
    if let Some(topology) = root.get("pcie_topology") {
        places(&mut machine, topology)?;
    }
    machine.accelerators.sort_by_key(|gpu| gpu.bdf);
    Ok(machine)
}

fn bounded(at: &Node, what: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found <= limit { Ok(()) } else { Err(Error::TooMany { line: at.span.line, limit, what }) }
}

fn deep<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('/').try_fold(node, |node, key| node.get(key))
}

/// A number in decimal, or in hexadecimal with `0x`.
fn number<T: TryFrom<u64>>(node: Option<&Node>) -> Result<Option<T>, Error> {
    let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return Ok(None) };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let wrong =
        || Error::Wrong { line: node.span.line, found: node.found().to_string(), what: "number in bounds" };
    parsed.ok().and_then(|number| T::try_from(number).ok()).map(Some).ok_or_else(wrong)
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(96).collect()
}

/// A device: what it has for itself, else what all have.
struct Gpu<'a> {
    own: &'a Node,
    common: &'a Node,
}

impl<'a> Gpu<'a> {
    fn value(&self, path: &str) -> Option<&'a Node> {
        deep(self.own, path).or_else(|| deep(self.common, path))
    }

    fn text(&self, path: &str) -> Option<String> {
        self.value(path)?.text().filter(|text| *text != "N/A").map(printable)
    }

    fn number<T: TryFrom<u64>>(&self, path: &str) -> Result<Option<T>, Error> {
        number(self.value(path))
    }

    fn is(&self, path: &str, word: &str) -> Option<bool> {
        Some(self.value(path)?.text()? == word)
    }

    fn device(&self) -> Result<PciDevice, Error> {
        // Device and vendor in one number: 0x233010DE.
        let id: Option<u32> = self.number("pci/device_id")?;
        let speed = |generation: Option<u32>| {
            let generation = generation?.checked_sub(1)? as usize;
            [2_500, 5_000, 8_000, 16_000, 32_000, 64_000].get(generation).copied()
        };
        Ok(PciDevice {
            kind: Some(PciKind::Gpu),
            vendor: Some(id.map_or(NVIDIA, |id| id as u16)),
            device: id.map(|id| (id >> 16) as u16),
            link: PciLink {
                speed: speed(self.number("pcie/current_link_gen")?),
                width: self.number("pcie/current_link_width")?,
                max_speed: speed(self.number("pcie/max_link_gen")?),
                max_width: self.number("pcie/max_link_width")?,
            },
            ..PciDevice::default()
        })
    }

    fn accelerator(&self, bdf: Bdf, place: u32) -> Result<Accelerator, Error> {
        Ok(Accelerator {
            bdf: Some(bdf),
            index: Some(self.number("index")?.unwrap_or(place)),
            model: self.text("name"),
            uuid: self.text("uuid"),
            serial: self.text("serial"),
            memory_bytes: self.number("memory/total_bytes")?,
            // A board without the key has no MIG.
            mig: Some(self.is("mig/mode_current", "enabled").unwrap_or(false)),
            ailments: Some(self.ailments()?),
            processes: Some(self.processes()?),
            fabric: self.fabric()?,
            platform: self.platform()?,
            ..Accelerator::new(AcceleratorKind::Nvidia)
        })
    }

    fn processes(&self) -> Result<Vec<u32>, Error> {
        let list = self.value("processes").and_then(Node::items).unwrap_or_default();
        let computes = |process: &&Node| {
            let kind = process.get("type").and_then(Node::text).unwrap_or("C");
            kind.split('+').any(|kind| matches!(kind, "C" | "M"))
        };
        let pids = list.iter().filter(computes).map(|process| number(process.get("pid")));
        pids.filter_map(Result::transpose).collect()
    }

    /// A fabric's state is `completed` unless it is said to be another.
    fn fabric(&self) -> Result<Option<Fabric>, Error> {
        let Some(fabric) = self.value("fabric") else { return Ok(None) };
        let state = match self.text("fabric/state").as_deref() {
            Some("not_supported") => FabricState::NotSupported,
            Some("not_started") => FabricState::NotStarted,
            Some("in_progress") => FabricState::InProgress,
            None | Some("completed" | "auto") => FabricState::Completed,
            Some(other) => {
                let (line, found) = (fabric.span.line, phalanx_common::text::shown(other));
                return Err(Error::Wrong { line, found, what: "state of a fabric" });
            }
        };
        Ok(Some(Fabric {
            state,
            succeeded: (state == FabricState::Completed).then_some(true),
            cluster: self.text("fabric/cluster_uuid").and_then(|uuid| uuid.parse().ok()),
            clique: Some(self.number("fabric/clique_id")?.unwrap_or(0)),
        }))
    }

    fn platform(&self) -> Result<Option<Platform>, Error> {
        if self.value("platform").is_none() {
            return Ok(None);
        }
        Ok(Some(Platform {
            chassis: self.text("platform/chassis_serial_number"),
            slot: self.number("platform/slot_number")?,
            tray: self.number("platform/tray_index")?,
            host: self.number("platform/host_id")?,
            module: self.number("platform/module_id")?,
        }))
    }

    fn ailments(&self) -> Result<Vec<Ailment>, Error> {
        let mut found = Vec::new();
        let on = |path| self.is(path, "true") == Some(true);
        if on("remapped_rows/failure_occurred") {
            found.push(Ailment::RowRemapFailed);
        }
        if on("remapped_rows/pending") {
            found.push(Ailment::RowRemapPending);
        }
        let mut errors: u64 = self.number("ecc/errors/volatile/double_bit/total")?.unwrap_or(0);
        for path in ["ecc/sram/volatile/uncorrectable_parity", "ecc/sram/volatile/uncorrectable_secded"] {
            errors = errors.saturating_add(self.number(path)?.unwrap_or(0));
        }
        if errors > 0 {
            found.push(Ailment::UncorrectableEcc(errors));
        }
        for (path, what) in [
            ("retired_pages/pending_retirement", "page retirement pending"),
            ("ecc/sram/threshold_exceeded", "too many SRAM errors"),
        ] {
            if on(path) {
                found.push(Ailment::State(what.to_string()));
            }
        }
        let fabric = [
            ("fabric/health/degraded_bandwidth", "bandwidth degraded"),
            ("fabric/health/route_unhealthy", "route unhealthy"),
            ("fabric/health/route_recovery", "route recovery in progress"),
            ("fabric/health/access_timeout_recovery", "access timeout recovery"),
        ];
        let mut wrong: Vec<String> =
            fabric.into_iter().filter(|(path, _)| on(path)).map(|(_, what)| what.to_string()).collect();
        let configuration = self.text("fabric/health/incorrect_configuration").filter(|it| !it.is_empty());
        wrong.extend(configuration.map(|it| format!("incorrect configuration: {it}")));
        if !wrong.is_empty() {
            found.push(Ailment::Fabric(wrong.join(", ")));
        }
        Ok(found)
    }
}

/// The NVLinks of every GPU: those of its list, else its share of the switches.
fn links(machine: &mut Machine, nvlink: &Node) -> Result<(), Error> {
    let per_gpu: u32 = number(nvlink.get("links_per_gpu"))?.unwrap_or(0);
    bounded(nvlink, "links per GPU", per_gpu as usize, MAX_LINKS as usize)?;
    let speed: Option<u64> = number::<u32>(nvlink.get("bandwidth_per_link_mbps"))?.map(u64::from);
    let listed = nvlink.get("switches").and_then(Node::items).unwrap_or_default();
    bounded(nvlink, "switches", listed.len(), MAX_SWITCHES)?;
    let address = |node: &Node, key: &str| node.get(key).and_then(Node::text)?.parse::<Bdf>().ok();
    let switches: Vec<Option<Bdf>> = listed.iter().map(|switch| address(switch, "bdf")).collect();
    for bdf in switches.iter().flatten() {
        let switch =
            PciDevice { kind: Some(PciKind::NvSwitch), vendor: Some(NVIDIA), ..PciDevice::default() };
        machine.pci.entry(*bdf).or_insert(switch);
    }
    let by_index: BTreeMap<u32, Option<Bdf>> =
        machine.accelerators.iter().filter_map(|gpu| Some((gpu.index?, gpu.bdf))).collect();
    let lists = nvlink.get("device_links").and_then(Node::items).unwrap_or_default();
    bounded(nvlink, "lists of links", lists.len(), MAX_GPUS)?;
    for gpu in &mut machine.accelerators {
        let mut of = None;
        for list in lists {
            if number(list.get("index"))? == gpu.index {
                of = list.get("links").and_then(Node::items);
            }
        }
        // A list for no device in particular is for the first.
        let flat = || nvlink.get("links").and_then(Node::items).filter(|_| gpu.index == Some(0));
        let mut peers: BTreeMap<Peer, u32> = BTreeMap::new();
        match of.or_else(flat) {
            Some(list) => {
                bounded(nvlink, "links of a GPU", list.len(), MAX_LINKS as usize)?;
                for link in list {
                    let peer = peer(link, &by_index, address(link, "remote_pci_bus_id"))?;
                    *peers.entry(peer).or_default() += u32::from(is_up(link));
                }
            }
            None if !switches.is_empty() => {
                for link in 0..per_gpu {
                    let switch = switches[link as usize % switches.len()];
                    *peers.entry(Peer::Switch(switch)).or_default() += 1;
                }
            }
            None => {}
        }
        let attached = peers.into_iter().filter(|(_, lanes)| *lanes > 0).map(|(peer, lanes)| Attachment {
            peer,
            kind: LinkKind::NvLink,
            lanes,
            mb_per_s: speed.map(|speed| speed * u64::from(lanes)),
        });
        gpu.links = attached.collect();
    }
    Ok(())
}

fn is_up(link: &Node) -> bool {
    let state = link.get("state").and_then(Node::text);
    matches!(state, None | Some("active" | "up" | "enabled"))
}

fn peer(link: &Node, by_index: &BTreeMap<u32, Option<Bdf>>, bdf: Option<Bdf>) -> Result<Peer, Error> {
    let index: Option<u32> = number(link.get("remote_index"))?;
    let gpu = index.and_then(|index| by_index.get(&index).copied().flatten());
    let kind = link.get("remote_device_type").and_then(Node::text).unwrap_or("gpu");
    Ok(match (gpu.or(bdf), kind) {
        (bdf, "switch") => Peer::Switch(bdf),
        (Some(bdf), "gpu") => Peer::Accelerator(bdf),
        (_, "ibmnpu" | "cpu") => Peer::Cpu(None),
        _ => {
            let (line, found) = (link.span.line, "this".to_string());
            return Err(Error::Wrong { line, found, what: "link to a GPU or a switch of the profile" });
        }
    })
}

/// Root complexes: where devices are plugged in, and at which NUMA node.
fn places(machine: &mut Machine, topology: &Node) -> Result<(), Error> {
    let roots = topology.get("root_complexes").and_then(Node::items).unwrap_or_default();
    let cores: Option<u32> = number::<u16>(topology.get("cores_per_numa"))?.map(u32::from).filter(|n| *n > 0);
    bounded(topology, "root complexes", roots.len(), MAX_GPUS)?;
    for root in roots {
        let line = root.span.line;
        let numa: u32 = number::<u16>(root.get("numa_node"))?.unwrap_or(0).into();
        let written = root.get("cpu_affinity").and_then(Node::text).filter(|text| !text.is_empty());
        let synthesised = cores.map(|cores| format!("{}-{}", numa * cores, numa * cores + cores - 1));
        let wrong = |found: String, what| Error::Wrong { line, found, what };
        let node = machine.numa.entry(numa).or_default();
        if let Some(list) = written.map(str::to_string).or(synthesised) {
            let cpus = list.parse().map_err(|_| wrong(phalanx_common::text::shown(&list), "list of CPUs"))?;
            node.cpus = node.cpus.union(&cpus);
        }
        let id = root.get("id").and_then(Node::text).unwrap_or_default();
        let place = PciPlace { parent: None, root: host_bridge(id) };
        for device in root.get("devices").and_then(Node::items).unwrap_or_default() {
            let bdf = device.text().and_then(|text| text.parse::<Bdf>().ok());
            let bdf = bdf.ok_or_else(|| wrong(device.found().to_string(), "PCI address"))?;
            if let Some(device) = machine.pci.get_mut(&bdf) {
                (device.numa, device.place) = (Some(numa), Some(place));
            }
        }
    }
    Ok(())
}

/// `pci0000:c0`
fn host_bridge(id: &str) -> Option<PciRoot> {
    let (domain, bus) = id.strip_prefix("pci")?.split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let domain = u32::from_str_radix(domain, 16).ok().filter(|_| digits(domain))?;
    let bus = u8::from_str_radix(bus, 16).ok().filter(|_| digits(bus))?;
    Some(PciRoot { domain, bus })
}
