//! RDMA ports, joined with the interfaces that they have (`Documentation/ABI/stable/sysfs-class-infiniband`).

use phalanx_common::topology::machine::{Machine, Nic, Rdma};
use phalanx_common::topology::{Bdf, Guid, LinkLayer};

use super::files::{Files, hexadecimal};
use super::net::{self, Interface};

const FOLDER: &str = "sys/class/infiniband";
/// A function has one or two.
const MAX_PORTS: usize = 8;
/// A port may have hundreds of addresses; its own interface is that of one of the first.
const ADDRESSES_LOOKED_AT: usize = 4;

/// Adds the interfaces and the RDMA ports.
pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine) {
    let mut interfaces = net::interfaces(files);
    let mut without = Vec::new();
    for device in files.list(FOLDER) {
        let at = format!("{FOLDER}/{device}");
        let bdf = files.function(&at);
        let node_guid = files.guid(&format!("{at}/node_guid"));
        let mut ports = files.numbered(&format!("{at}/ports"), "");
        ports.truncate(MAX_PORTS);
        for number in ports.into_iter().filter_map(|port| u8::try_from(port).ok()) {
            let Some(port) = Port::read(files, &device, number, bdf, node_guid) else { continue };
            match port.own(&interfaces) {
                Some(row) => port.join(&mut interfaces[row].nic),
                None => without.push(port.alone()),
            }
        }
    }
    machine.nics = interfaces.into_iter().map(|interface| interface.nic).chain(without).collect();
    net::sort(machine);
}

struct Port {
    bdf: Option<Bdf>,
    layer: LinkLayer,
    active: Option<bool>,
    speed_mbps: Option<u32>,
    /// The interfaces that its first addresses belong to.
    interfaces: Vec<String>,
    rdma: Rdma,
}

impl Port {
    fn read(
        files: &mut Files<'_>,
        device: &str,
        number: u8,
        bdf: Option<Bdf>,
        node_guid: Option<Guid>,
    ) -> Option<Port> {
        let at = format!("{FOLDER}/{device}/ports/{number}");
        // Kernels before 2.6.37 do not say it, and had InfiniBand alone; `Unspecified` is what neither is.
        let layer = match files.line(&format!("{at}/link_layer")).as_deref() {
            None | Some("InfiniBand") => LinkLayer::InfiniBand,
            Some(_) => LinkLayer::Ethernet,
        };
        let state = files.value(&format!("{at}/state"), "a state such as `4: ACTIVE`", |text| {
            text.split(':').next()?.trim().parse::<u8>().ok()
        })?;
        let is_fabric = layer == LinkLayer::InfiniBand;
        // An address is that of the subnet and that of the port; over Ethernet both are the interface's.
        let gid =
            is_fabric.then(|| files.value(&format!("{at}/gids/0"), "an address of 128 bits", gid)).flatten();
        let some = |half: u64| (half != 0).then_some(Guid(half));
        // Omni-Path has longer ones, which no fabric of InfiniBand knows.
        let mut lid = |name: &str| {
            let lid = files.hex::<u32>(&format!("{at}/{name}")).filter(|_| is_fabric)?;
            u16::try_from(lid).ok()
        };
        let (own, manager) = (lid("lid"), lid("sm_lid"));
        let device_of =
            |files: &Files<'_>, index: usize| files.line(&format!("{at}/gid_attrs/ndevs/{index}"));
        let looked_at = if is_fabric { 0 } else { ADDRESSES_LOOKED_AT };
        Some(Port {
            bdf,
            layer,
            active: Some(state == 4),
            speed_mbps: files.value(&format!("{at}/rate"), "a rate such as `56 Gb/sec (4X FDR)`", rate),
            interfaces: (0..looked_at).filter_map(|index| device_of(files, index)).collect(),
            rdma: Rdma {
                device: device.to_string(),
                port: number,
                guid: gid.and_then(|(_, guid)| some(guid)),
                node_guid,
                subnet: gid.and_then(|(subnet, guid)| some(subnet).filter(|_| guid != 0)),
                lid: own,
                sm_lid: manager,
            },
        })
    }

    /// The row of its interface: by GUID, by the interface of its addresses, or the only one of the function
    /// that has the number of the port. An address may belong to a bond or a VLAN, which are on no function.
    fn own(&self, interfaces: &[Interface]) -> Option<usize> {
        let of_function = |row: &usize| {
            let nic = &interfaces[*row].nic;
            nic.bdf.is_some() && nic.bdf == self.bdf && nic.layer == self.layer && nic.rdma.is_none()
        };
        let rows = || (0..interfaces.len()).filter(of_function);
        let has_guid =
            |row: &usize| interfaces[*row].guid.is_some() && interfaces[*row].guid == self.rdma.guid;
        let has_address = |row: &usize| self.interfaces.contains(&interfaces[*row].nic.name);
        let only = || {
            let mut rows = rows().filter(|row| interfaces[*row].may_be(self.rdma.port));
            rows.next().filter(|_| rows.next().is_none())
        };
        rows().find(has_guid).or_else(|| rows().find(has_address)).or_else(only)
    }

    fn join(self, nic: &mut Nic) {
        // An interface of InfiniBand says no speed, and may be up where the subnet has no manager.
        nic.speed_mbps = nic.speed_mbps.or(self.speed_mbps);
        if self.layer == LinkLayer::InfiniBand || nic.up.is_none() {
            nic.up = self.active;
        }
        nic.rdma = Some(self.rdma);
    }

    fn alone(self) -> Nic {
        let name = format!("{}/{}", self.rdma.device, self.rdma.port);
        let mut nic = Nic { bdf: self.bdf, ..Nic::new(&name, self.layer) };
        self.join(&mut nic);
        nic
    }
}

/// `fe80:0000:0000:0000:0002:c903:00f9:bfa1`
fn gid(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split(':').map(hexadecimal);
    let mut half =
        || (0..4).try_fold(0, |half: u64, _| Some(half << 16 | u64::from(parts.next()?? & 0xffff)));
    Some((half()?, half()?))
}

/// `56 Gb/sec (4X FDR)`, `2.5 Gb/sec (1X SDR)`, in megabits per second.
fn rate(text: &str) -> Option<u32> {
    let (number, unit) = text.split_once(' ')?;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let tenths: u32 = tenths.get(..1)?.parse().ok()?;
    let whole: u32 = whole.parse().ok()?;
    unit.starts_with("Gb/sec").then(|| whole.checked_mul(1000)?.checked_add(tenths * 100)).flatten()
}
