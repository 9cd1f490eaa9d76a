//! One device.

use phalanx_common::text::shown;
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Ailment, Fabric, FabricState, PciDevice, PciKind, PciLink, Platform,
};
use phalanx_common::yaml::Node;

use super::read::{Error, NVIDIA, deep, number};
use crate::text::printable;

/// A device: what it has for itself, else what all have.
pub(super) struct Gpu<'a> {
    pub(super) own: &'a Node,
    pub(super) common: &'a Node,
}

impl<'a> Gpu<'a> {
    pub(super) fn value(&self, path: &str) -> Option<&'a Node> {
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

    pub(super) fn device(&self) -> Result<PciDevice, Error> {
        // Device and vendor in one number: 0x233010DE.
        let id: Option<u32> = self.number("pci/device_id")?;
        let speed = |generation: Option<u32>| PciLink::speed_of(generation?);
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

    pub(super) fn accelerator(&self, bdf: Bdf, place: u32) -> Result<Accelerator, Error> {
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
                let (line, found) = (fabric.span.line, shown(other));
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
