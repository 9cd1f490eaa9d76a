//! Looking for machines that are not as they should be: by what they say themselves, and beside their peers.

use std::collections::BTreeMap;

use super::accelerator::{Accelerator, AcceleratorKind, LinkKind};
use super::nic::Nic;
use super::parts::Machine;
use super::pci::{PciDevice, PciKind};
use super::peers::{Kind, kind};
use super::problem::{Problem, Twin};
use crate::topology::findings::{Finding, Problem as Found, Severity};
use crate::topology::port::Bdf;

/// Fewer machines, or devices of a machine, tell nothing about what is usual among them.
const MIN_PEERS: usize = 3;
/// Memory that is missing: half of the smallest module that servers have. What firmware keeps differs by less.
const MISSING_MEMORY: u64 = 4 << 30;

/// Everything that an operator should look at in machines, by their nodes' names; sorted. Machines are
/// peers that have the same board, CPUs and packages; where neither board nor CPU is known, the same models of
/// accelerators.
pub fn findings<'a>(machines: impl IntoIterator<Item = (&'a str, &'a Machine)>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut kinds: BTreeMap<Kind<'_>, Vec<(&str, &Machine)>> = BTreeMap::new();
    let mut hosts: BTreeMap<&str, Vec<Twin>> = BTreeMap::new();
    for (node, machine) in machines {
        kinds.entry(kind(node, machine)).or_default().push((node, machine));
        if let Some(host) = &machine.host {
            hosts.entry(host).or_default().push(Twin { node: node.to_string(), at: at(machine) });
        }
    }
    found.extend(hosts.into_iter().filter(|(_, nodes)| nodes.len() > 1).map(|(host, nodes)| Finding {
        severity: Severity::Notice,
        subject: host.to_string(),
        problem: Found::Machine(Problem::SameHost { nodes }),
    }));
    for peers in kinds.into_values() {
        let mut add = |node: &str, severity, problem| {
            found.push(Finding { severity, subject: node.to_string(), problem: Found::Machine(problem) });
        };
        for (node, machine) in &peers {
            alone(node, machine, &mut add);
        }
        devices(&peers, &mut add);
        if peers.len() >= MIN_PEERS {
            beside(&peers, &mut add);
        }
    }
    found.sort();
    found
}

/// By which people find a machine.
fn at(machine: &Machine) -> Option<String> {
    let address = |nic: &Nic| Some(nic.addresses.first()?.split('/').next().unwrap_or_default().to_string());
    let mac = |nic: &Nic| Some(nic.mac.filter(|mac| mac.0 != [0; 6])?.to_string());
    let guid = |nic: &Nic| Some(nic.rdma.as_ref()?.guid?.to_string());
    let first = |of: &dyn Fn(&Nic) -> Option<String>| machine.nics.iter().find_map(of);
    first(&address).or_else(|| first(&mac)).or_else(|| first(&guid))
}

type Add<'a> = dyn FnMut(&str, Severity, Problem) + 'a;
type Peers<'a> = [(&'a str, &'a Machine)];

/// What a machine says of itself.
fn alone(node: &str, machine: &Machine, add: &mut Add<'_>) {
    for (accelerator, row) in machine.accelerators.iter().zip(0u32..) {
        let device = device_name(accelerator, row);
        let near = machine.nics_near(row);
        let nics: Vec<&Nic> = near.iter().filter_map(|(nic, _)| machine.nics.get(*nic as usize)).collect();
        if !nics.is_empty() && nics.iter().all(|nic| nic.up == Some(false)) {
            let ports = nics.into_iter().map(port_name).collect();
            add(node, Severity::Warning, Problem::NearestDown { device: device.clone(), ports });
        }
        if let Some(ailments) = accelerator.ailments.as_ref().filter(|ailments| !ailments.is_empty()) {
            let ailments = ailments.iter().map(ToString::to_string).collect();
            add(node, Severity::Warning, Problem::Ailing { device, ailments });
        }
    }
}

/// What differs from machine to machine of one kind.
fn beside(peers: &Peers<'_>, add: &mut Add<'_>) {
    models(peers, add);
    // Machines that say nothing of their memory or CPUs are not compared.
    let cpus = peers.iter().enumerate().map(|(at, (_, machine))| (at, machine.cpus().len()));
    for (at, has, usual, count) in unusual(cpus.filter(|(_, cpus)| *cpus > 0).collect()) {
        add(peers[at].0, Severity::Notice, Problem::Cpus { has, usual, peers: count });
    }
    let mut memory: Vec<u64> =
        peers.iter().map(|(_, machine)| machine.memory_bytes()).filter(|bytes| *bytes > 0).collect();
    memory.sort_unstable();
    if let Some(usual) = memory.get(memory.len() / 2).copied().filter(|_| memory.len() >= MIN_PEERS) {
        let near = |bytes: &&u64| bytes.abs_diff(usual) < MISSING_MEMORY;
        let count = memory.iter().filter(near).count();
        for (node, machine) in peers {
            let has = machine.memory_bytes();
            if 2 * count > memory.len() && has > 0 && usual.saturating_sub(has) >= MISSING_MEMORY {
                add(node, Severity::Warning, Problem::Memory { has, usual, peers: count });
            }
        }
    }
    ports(peers, add);
}

/// How many accelerators of each model. A machine that has one model in place of another has that said of it once.
fn models(peers: &Peers<'_>, add: &mut Add<'_>) {
    let mut models: BTreeMap<&str, BTreeMap<usize, usize>> = BTreeMap::new();
    for (at, (_, machine)) in peers.iter().enumerate() {
        for model in machine.accelerators.iter().filter_map(|accelerator| accelerator.model.as_deref()) {
            *models.entry(model).or_default().entry(at).or_default() += 1;
        }
    }
    let mut unlike: BTreeMap<usize, Vec<Count<'_>>> = BTreeMap::new();
    for (model, having) in models {
        let none = std::iter::repeat_n(0, peers.len() - having.len());
        let Some((usual, peers_with)) = usual(having.values().copied().chain(none).collect()) else {
            continue;
        };
        for at in 0..peers.len() {
            let has = having.get(&at).copied().unwrap_or_default();
            if has != usual {
                unlike.entry(at).or_default().push(Count { model, has, usual, peers: peers_with });
            }
        }
    }
    for (at, counts) in unlike {
        let node = peers[at].0;
        let (more, fewer): (Vec<Count<'_>>, Vec<Count<'_>>) =
            counts.into_iter().partition(|count| count.has > count.usual);
        if let ([_, ..], [_, ..]) = (&more[..], &fewer[..]) {
            let (has, usual) = (more.iter().map(|it| it.has).sum(), fewer.iter().map(|it| it.usual).sum());
            let is_fewer = has + fewer.iter().map(|it| it.has).sum::<usize>() < usual;
            let severity = if is_fewer { Severity::Warning } else { Severity::Notice };
            let models =
                |counts: &[Count<'_>]| counts.iter().map(|it| it.model).collect::<Vec<_>>().join(" and ");
            let count = fewer.iter().map(|it| it.peers).min().unwrap_or_default();
            let (model, usual_model) = (models(&more), models(&fewer));
            add(node, severity, Problem::OtherModel { model, has, usual_model, usual, peers: count });
            continue;
        }
        for Count { model, has, usual, peers } in more.into_iter().chain(fewer) {
            let severity = if has < usual { Severity::Warning } else { Severity::Notice };
            add(node, severity, Problem::Accelerators { model: model.to_string(), has, usual, peers });
        }
    }
}

/// How many of a model a machine has, and how many so many others have.
struct Count<'a> {
    model: &'a str,
    has: usize,
    usual: usize,
    peers: usize,
}

/// The same port, by name, in machines of one kind.
fn ports(peers: &Peers<'_>, add: &mut Add<'_>) {
    let mut ports: BTreeMap<&str, Vec<(usize, &Nic)>> = BTreeMap::new();
    for (at, (_, machine)) in peers.iter().enumerate() {
        for nic in machine.nics.iter().filter(|nic| nic.bdf.is_some() && !machine.is_virtual(nic)) {
            ports.entry(&nic.name).or_default().push((at, nic));
        }
    }
    for (name, nics) in ports {
        let up = nics.iter().filter_map(|(at, nic)| Some((*at, nic.up?))).collect();
        for (at, _, _, count) in unusual(up).into_iter().filter(|(_, up, ..)| !up) {
            let (node, machine) = peers[at];
            if !is_all_that_is_near(machine, name) {
                add(node, Severity::Warning, Problem::PortDown { port: name.to_string(), peers: count });
            }
        }
        let working = nics.iter().filter(|(_, nic)| nic.up != Some(false));
        let speeds = working.filter_map(|(at, nic)| Some((*at, nic.speed_mbps?))).collect();
        for (at, has, usual, count) in unusual(speeds).into_iter().filter(|(_, has, usual, _)| has < usual) {
            let port = name.to_string();
            add(peers[at].0, Severity::Warning, Problem::SlowPort { port, has, usual, peers: count });
        }
    }
}

/// Whether the port is among the nearest of an accelerator and all of these are down, which is said of the
/// accelerator.
fn is_all_that_is_near(machine: &Machine, port: &str) -> bool {
    (0u32..).zip(&machine.accelerators).any(|(row, _)| {
        let near = machine.nics_near(row);
        let nics = || near.iter().filter_map(|(at, _)| machine.nics.get(*at as usize));
        nics().any(|nic| nic.name == port) && nics().all(|nic| nic.up == Some(false))
    })
}

/// Links of devices: beside the same slot of other machines where there are enough, else beside the other
/// devices of the same kind in the machine.
fn devices(peers: &Peers<'_>, add: &mut Add<'_>) {
    type Slot = (Option<usize>, Option<Bdf>, Option<PciKind>, Option<u16>, Option<u16>);
    let alone = peers.len() < MIN_PEERS;
    let slot = |at: usize, bdf: Bdf, device: &PciDevice| -> Slot {
        (alone.then_some(at), (!alone).then_some(bdf), device.kind, device.vendor, device.device)
    };
    // Within a machine only those are alike of which the model is known.
    let compared = |device: &PciDevice| matters(device) && (!alone || device.device.is_some());
    let width = |device: &PciDevice| device.link.width.filter(|width| *width > 0 && compared(device));
    let mut widths: BTreeMap<Slot, Vec<u8>> = BTreeMap::new();
    let mut lanes: BTreeMap<(AcceleratorKind, Option<&str>), Vec<u32>> = BTreeMap::new();
    for (at, (_, machine)) in peers.iter().enumerate() {
        for (bdf, device) in &machine.pci {
            widths.entry(slot(at, *bdf, device)).or_default().extend(width(device));
        }
        for accelerator in &machine.accelerators {
            lanes
                .entry((accelerator.kind, accelerator.model.as_deref()))
                .or_default()
                .push(nvlinks(accelerator));
        }
    }
    let widths: BTreeMap<Slot, (u8, usize)> =
        widths.into_iter().filter_map(|(slot, widths)| Some((slot, usual(widths)?))).collect();
    let lanes: BTreeMap<_, (u32, usize)> =
        lanes.into_iter().filter_map(|(model, lanes)| Some((model, usual(lanes)?))).collect();
    for (at, (node, machine)) in peers.iter().enumerate() {
        for (bdf, device) in &machine.pci {
            if let (Some(has), Some((usual, count))) = (width(device), widths.get(&slot(at, *bdf, device)))
                && has < *usual
            {
                let device = pci_name(machine, *bdf);
                add(
                    node,
                    Severity::Warning,
                    Problem::NarrowLink { device, has, usual: *usual, peers: *count },
                );
            }
        }
        for (accelerator, row) in machine.accelerators.iter().zip(0u32..) {
            let has = nvlinks(accelerator);
            if let Some((usual, count)) = lanes.get(&(accelerator.kind, accelerator.model.as_deref()))
                && has < *usual
            {
                let device = device_name(accelerator, row);
                add(
                    node,
                    Severity::Warning,
                    Problem::LostLinks { device, has, usual: *usual, peers: *count },
                );
            }
        }
    }
}

fn nvlinks(of: &Accelerator) -> u32 {
    let links = of.links.iter().filter(|link| link.kind == LinkKind::NvLink);
    links.fold(0, |sum, link| sum.saturating_add(link.lanes))
}

fn matters(device: &PciDevice) -> bool {
    device.function_of.is_none() && matches!(device.kind, Some(PciKind::Gpu | PciKind::Network))
}

/// The value that more than half have, and how many.
fn usual<V: Ord + Copy>(values: Vec<V>) -> Option<(V, usize)> {
    let all = values.len();
    let mut counts: BTreeMap<V, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts.into_iter().find(|(_, count)| all >= MIN_PEERS && 2 * count > all)
}

/// Rows with another value than most: row, value, usual value, how many have that.
fn unusual<V: Ord + Copy>(values: Vec<(usize, V)>) -> Vec<(usize, V, V, usize)> {
    let Some((usual, count)) = usual(values.iter().map(|(_, value)| *value).collect()) else {
        return Vec::new();
    };
    let others = values.into_iter().filter(|(_, value)| *value != usual);
    others.map(|(row, value)| (row, value, usual, count)).collect()
}

/// As the vendor's tool counts.
fn device_name(accelerator: &Accelerator, row: u32) -> String {
    let word = if accelerator.kind == AcceleratorKind::Ascend { "NPU" } else { "GPU" };
    format!("{word}{}", accelerator.index.unwrap_or(row))
}

fn port_name(nic: &Nic) -> String {
    match &nic.rdma {
        Some(rdma) if rdma.device != nic.name => format!("{} ({})", rdma.device, nic.name),
        _ => nic.name.clone(),
    }
}

fn pci_name(machine: &Machine, bdf: Bdf) -> String {
    let mut accelerators = machine.accelerators.iter().zip(0u32..);
    let accelerator = accelerators.find(|(accelerator, _)| accelerator.bdf == Some(bdf));
    let nic = || machine.nics.iter().find(|nic| nic.bdf == Some(bdf)).map(port_name);
    let name = accelerator.map(|(accelerator, row)| device_name(accelerator, row)).or_else(nic);
    name.map_or_else(|| bdf.to_string(), |name| format!("{name} at {bdf}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::machine::{
        Ailment, Attachment, NumaNode, Package, PciLink, PciPlace, PciRoot, Peer, Rdma,
    };
    use crate::topology::port::LinkLayer;

    fn bdf(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    fn plug(machine: &mut Machine, at: &str, kind: PciKind, root: u8) {
        let place = Some(PciPlace { parent: None, root: Some(PciRoot { domain: 0, bus: root }) });
        let link = PciLink { width: Some(16), max_width: Some(16), ..PciLink::default() };
        let (kind, vendor, device) = (Some(kind), Some(0x10de), Some(0x2330));
        let device = PciDevice { kind, vendor, device, place, link, numa: Some(0), ..PciDevice::default() };
        machine.pci.insert(bdf(at), device);
    }

    /// Four GPUs with a port each under one host bridge.
    fn machine() -> Machine {
        let mut machine = Machine::default();
        machine.board.product = Some("DGX".into());
        machine.packages.push(Package { id: 0, cpus: "0-7".parse().unwrap() });
        let node = machine.numa.entry(0).or_default();
        (node.cpus, node.memory_bytes) = ("0-7".parse().unwrap(), Some(64 << 30));
        for number in 0..4u8 {
            let (gpu, nic) = (format!("{}1:00.0", number + 1), format!("{}2:00.0", number + 1));
            plug(&mut machine, &gpu, PciKind::Gpu, number);
            plug(&mut machine, &nic, PciKind::Network, number);
            let links = vec![Attachment {
                peer: Peer::Switch(None),
                kind: LinkKind::NvLink,
                lanes: 18,
                mb_per_s: None,
            }];
            machine.accelerators.push(Accelerator {
                bdf: Some(bdf(&gpu)),
                model: Some("H100".into()),
                links,
                ..Accelerator::new(AcceleratorKind::Nvidia)
            });
            let rdma = Rdma {
                device: format!("mlx5_{number}"),
                port: 1,
                guid: None,
                node_guid: None,
                subnet: None,
                lid: None,
                sm_lid: None,
            };
            machine.nics.push(Nic {
                bdf: Some(bdf(&nic)),
                rdma: Some(rdma),
                up: Some(true),
                speed_mbps: Some(400_000),
                ..Nic::new(&format!("ib{number}"), LinkLayer::InfiniBand)
            });
        }
        machine
    }

    fn look(machines: &BTreeMap<String, Machine>) -> Vec<String> {
        let machines = machines.iter().map(|(node, machine)| (node.as_str(), machine));
        findings(machines).iter().map(ToString::to_string).collect()
    }

    fn found(change: impl FnOnce(&mut Machine), peers: usize) -> Vec<String> {
        let mut machines: BTreeMap<String, Machine> =
            (1..=peers).map(|number| (format!("n{number}"), machine())).collect();
        change(machines.get_mut("n1").unwrap());
        look(&machines)
    }

    #[test]
    fn machines_that_are_alike_and_well_have_no_findings() {
        assert_eq!(found(|_| {}, 1), Vec::<String>::new());
        assert_eq!(found(|_| {}, 4), Vec::<String>::new());
    }

    #[test]
    fn a_gpu_whose_nearest_port_is_down_is_found_on_a_machine_alone_and_once_among_peers() {
        let says = ["n1: the port nearest to GPU2 is down: mlx5_2 (ib2)"];
        assert_eq!(found(|machine| machine.nics[2].up = Some(false), 1), says);
        assert_eq!(found(|machine| machine.nics[2].up = Some(false), 4), says);
        // A second port at the same place still works.
        let with_another = |machine: &mut Machine| {
            let second = Nic { name: "ib2b".into(), ..machine.nics[2].clone() };
            machine.nics.push(second);
            machine.nics[2].up = Some(false);
        };
        assert_eq!(found(with_another, 1), Vec::<String>::new());
    }

    #[test]
    fn machines_of_which_neither_board_nor_cpu_is_known_are_peers_by_their_models_or_none() {
        let of = |model: Option<&str>, count: usize, links: u32| {
            let links = vec![Attachment {
                peer: Peer::Switch(None),
                kind: LinkKind::NvLink,
                lanes: links,
                mb_per_s: None,
            }];
            let gpu = Accelerator {
                model: model.map(str::to_string),
                links,
                ..Accelerator::new(AcceleratorKind::Nvidia)
            };
            Machine { accelerators: vec![gpu; count], ..Machine::default() }
        };
        let named = |machines: Vec<Machine>| -> BTreeMap<String, Machine> {
            (1..).zip(machines).map(|(number, machine)| (format!("n{number}"), machine)).collect()
        };
        let (old, new) = (of(Some("A100"), 1, 12), of(Some("H100"), 8, 18));
        assert_eq!(look(&named(vec![old, new.clone(), new.clone()])), [""; 0]);
        assert_eq!(
            look(&named(vec![of(Some("H100"), 7, 18), new.clone(), new.clone(), new])),
            ["n1: has 7 of H100, where 3 machines of its kind have 8"]
        );
        assert_eq!(look(&named(vec![of(None, 8, 12), of(None, 8, 18), of(None, 8, 18)])), [""; 0]);
    }

    #[test]
    fn what_is_missing_beside_peers_is_found_with_what_they_have() {
        let lost = |machine: &mut Machine| drop(machine.accelerators.pop());
        assert_eq!(found(lost, 4), ["n1: has 3 of H100, where 3 machines of its kind have 4"]);
        let all = |machine: &mut Machine| machine.accelerators.clear();
        assert_eq!(found(all, 4), ["n1: has 0 of H100, where 3 machines of its kind have 4"]);
        assert_eq!(found(lost, 2), Vec::<String>::new(), "two machines tell nothing");

        let memory = |gib: u64| {
            move |machine: &mut Machine| machine.numa.get_mut(&0).unwrap().memory_bytes = Some(gib << 30)
        };
        assert_eq!(
            found(memory(48), 4),
            ["n1: has 48 GiB of memory, where 3 machines of its kind have about 64 GiB"]
        );
        assert_eq!(found(memory(63), 4), Vec::<String>::new(), "firmware keeps some");

        let slow = |machine: &mut Machine| machine.nics[1].speed_mbps = Some(200_000);
        assert_eq!(found(slow, 4), ["n1: port ib1 runs at 200G, where 3 machines of its kind have 400G"]);
    }

    #[test]
    fn another_model_in_place_of_that_of_the_others_is_one_finding() {
        let other = |machine: &mut Machine| {
            machine.accelerators.iter_mut().for_each(|gpu| gpu.model = Some("A100".into()));
        };
        let says = "n1: has 4 of A100, where 3 machines of its kind have 4 of H100";
        assert_eq!(found(other, 4), [says]);
    }

    #[test]
    fn memory_of_gpus_is_none_of_the_machine() {
        let mut machine = machine();
        let before = machine.memory_bytes();
        machine.numa.insert(255, NumaNode { memory_bytes: Some(16 << 30), ..NumaNode::default() });
        assert_eq!(machine.memory_bytes(), before + (16 << 30));
        machine.accelerators[0].own_node = Some(255);
        assert_eq!(machine.memory_bytes(), before);
    }

    #[test]
    fn links_are_compared_with_the_same_slot_of_peers_or_within_the_machine() {
        let narrow =
            |machine: &mut Machine| machine.pci.get_mut(&bdf("31:00.0")).unwrap().link.width = Some(8);
        assert_eq!(
            found(narrow, 1),
            ["n1: GPU2 at 0000:31:00.0 uses 8 lanes of PCI, where 3 like it use 16"]
        );
        assert_eq!(
            found(narrow, 4),
            ["n1: GPU2 at 0000:31:00.0 uses 8 lanes of PCI, where 3 like it use 16"]
        );
        let links = |machine: &mut Machine| machine.accelerators[0].links[0].lanes = 17;
        assert_eq!(found(links, 1), ["n1: GPU0 has 17 NVLinks, where 3 like it have 18"]);
    }

    #[test]
    fn machines_of_one_host_name_are_named() {
        let mut machines: BTreeMap<String, Machine> = BTreeMap::new();
        for (node, host) in [("k1", "gpu"), ("k2", "gpu"), ("k3", "login")] {
            machines.insert(node.into(), Machine { host: Some(host.into()), ..machine() });
        }
        assert_eq!(look(&machines), ["gpu: 2 machines have this host name: k1, k2"]);
    }

    #[test]
    fn what_ails_a_device_is_said_in_words() {
        let ailing = |machine: &mut Machine| {
            machine.accelerators[3].ailments =
                Some(vec![Ailment::UncorrectableEcc(2), Ailment::RowRemapFailed]);
        };
        assert_eq!(
            found(ailing, 1),
            ["n1: GPU3: 2 memory errors that ECC could not correct, a memory row could not be remapped"]
        );
    }
}
