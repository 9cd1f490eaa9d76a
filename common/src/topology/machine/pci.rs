//! PCI devices, and the bridges above them.

use serde::{Deserialize, Serialize};

use crate::topology::port::Bdf;

/// A device or a bridge, under its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciDevice {
    /// `None` for what is not a bridge and none of the kinds that topology knows.
    pub kind: Option<PciKind>,
    pub vendor: Option<u16>,
    pub device: Option<u16>,
    /// Base class, subclass and interface: `0x030200`.
    pub class: Option<u32>,
    /// The NUMA node it is attached to, where that is known.
    pub numa: Option<u32>,
    /// Where it is plugged in, where that is known.
    pub place: Option<PciPlace>,
    pub link: PciLink,
    /// What a virtual function is a part of.
    pub function_of: Option<Bdf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PciKind {
    /// One port of a switch, or of the root complex.
    Bridge,
    /// A whole switch as one, as NCCL's files have it.
    Switch,
    Gpu,
    NvSwitch,
    /// A network adapter, with or without RDMA.
    Network,
    Nvme,
}

/// What a device is plugged into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciPlace {
    /// The bridge directly above; `None` right below the root complex.
    pub parent: Option<Bdf>,
    /// The host bridge over it all. Files of NCCL do not say it.
    pub root: Option<PciRoot>,
}

/// A host bridge, by the domain and the first bus below it: sysfs' `pci0000:3a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PciRoot {
    pub domain: u32,
    pub bus: u8,
}

/// The link of a device to what is above it. Speeds are in megatransfers per second: 16000 for 16 GT/s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciLink {
    pub speed: Option<u32>,
    pub width: Option<u8>,
    pub max_speed: Option<u32>,
    pub max_width: Option<u8>,
}

impl PciLink {
    /// The speed of a generation of PCI Express, from 1.
    pub fn speed_of(generation: u32) -> Option<u32> {
        let place = usize::try_from(generation.checked_sub(1)?).ok()?;
        [2_500, 5_000, 8_000, 16_000, 32_000, 64_000].get(place).copied()
    }

    /// What the link carries in each direction, megabytes per second: transfers times lanes, less the
    /// encoding (8b/10b up to 5 GT/s, 128b/130b up to 32 GT/s, 236 of 256 bytes of a flit above).
    pub fn mb_per_s(&self) -> Option<u64> {
        let raw = u64::from(self.speed?) * u64::from(self.width?) / 8;
        let carried = match self.speed? {
            0..=5000 => raw * 8 / 10,
            5001..=32000 => raw * 128 / 130,
            _ => raw * 236 / 256,
        };
        (carried > 0).then_some(carried)
    }
}

impl PciDevice {
    /// The kind of what has this class and vendor.
    pub fn kind_of(class: u32, vendor: Option<u16>) -> Option<PciKind> {
        const NVIDIA: u16 = 0x10de;
        const AMD: u16 = 0x1002;
        const HUAWEI: u16 = 0x19e5;
        let draws = matches!(vendor, None | Some(NVIDIA | AMD));
        let compute = draws || vendor == Some(HUAWEI);
        match (class >> 8, vendor) {
            (0x0604, _) => Some(PciKind::Bridge),
            (0x0680, Some(NVIDIA)) => Some(PciKind::NvSwitch),
            // VGA, 3D and other display controllers; a board's own VGA chip is no GPU (Huawei's is one).
            (0x0300 | 0x0302 | 0x0380, _) if draws => Some(PciKind::Gpu),
            // Processing accelerators: AMD Instinct, Ascend.
            (0x1200, _) if compute => Some(PciKind::Gpu),
            // Ethernet, InfiniBand as 0207, 0280 or 0c06 (a serial bus, by older adapters).
            (0x0200 | 0x0207 | 0x0280 | 0x0c06, _) => Some(PciKind::Network),
            (0x0108, _) => Some(PciKind::Nvme),
            _ => None,
        }
    }

    /// Whether this is the id of a virtual function, by the PCI ID repository: for sources that do not say
    /// what a function belongs to.
    pub fn is_virtual_id(vendor: u16, device: u16) -> bool {
        match vendor {
            // ConnectX-3 to ConnectX-7 and BlueField.
            0x15b3 => {
                matches!(device, 0x1004 | 0x1012 | 0x1014 | 0x1016 | 0x1018 | 0x101a | 0x101c | 0x101e)
            }
            // Cisco VIC.
            0x1137 => matches!(device, 0x0071 | 0x00cf | 0x02b7),
            // Intel 82576, 82599, X540, X550, X710 and E810.
            0x8086 => matches!(device, 0x10ca | 0x10ed | 0x1515 | 0x1520 | 0x1565 | 0x154c | 0x1889),
            // Broadcom NetXtreme-E and Amazon ENA.
            0x14e4 => matches!(device, 0x1606 | 0x1609 | 0x16dc | 0x1806 | 0x1807),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_carries_what_its_generation_does() {
        let link = |speed, width| {
            PciLink { speed: Some(speed), width: Some(width), ..PciLink::default() }.mb_per_s()
        };
        assert_eq!(link(2500, 1), Some(249));
        assert_eq!(link(16000, 16), Some(31507));
        assert_eq!(link(32000, 16), Some(63015));
        assert_eq!(link(64000, 16), Some(118000));
        assert_eq!(link(0, 16), None);
        assert_eq!(PciLink::default().mb_per_s(), None);
        assert_eq!(
            [0, 1, 5, 6, 7].map(PciLink::speed_of),
            [None, Some(2500), Some(32000), Some(64000), None]
        );
    }
}
