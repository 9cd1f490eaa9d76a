//! What each rank takes of its node, and how many ranks share the devices of the whole job.

use super::value;
use crate::defaults::MAX_RANKS;
use crate::spec::error::Problem;
use crate::spec::file::{JobFile, Ranks};
use crate::spec::needs::keys::DeviceKeys;
use crate::spec::needs::{
    DeviceKind, DeviceNeeds, MAX_DEVICES_PER_RANK, MIN_MEMORY_LIMIT, NeedsProblem, Resources,
};
use crate::spec::place::Given;

impl JobFile {
    /// The ranks that were asked for: `ranks`, or as many as share the devices of the whole job. `None` leaves it
    /// to the nodes and the ranks on each.
    pub(in crate::spec) fn ranks_asked(&self) -> Result<Option<Given<Ranks>>, Box<Problem>> {
        let by_node = self.nodes.is_some() && self.ranks_per_node.is_some();
        let (None, false, Some(all)) = (&self.ranks, by_node, &self.devices_in_all) else {
            return Ok(self.ranks.clone());
        };
        let each = self.device_count().map_or(1, |given| given.value).max(1);
        let ranks = all.value / each;
        let kind = match () {
            () if !all.value.is_multiple_of(each) => NeedsProblem::PartOfRank { all: all.value, each },
            () if ranks > MAX_RANKS => NeedsProblem::TooManyRanks { ranks, each },
            () => return Ok(Some(Given::new(Ranks::Number(ranks), all.origin.clone()))),
        };
        Err(Box::new(self.problem("resources.devices.count", &all.origin, kind.into())))
    }

    pub(super) fn resolve_resources(&self, ranks: u32) -> Result<Resources, Box<Problem>> {
        let it = &self.resources;
        self.check_memory_limit()?;
        Ok(Resources {
            devices: it.devices.as_ref().map(|devices| self.resolve_devices(devices, ranks)).transpose()?,
            cpus: value(&it.cpus),
            memory_bytes: value(&it.memory).map(|bytes| bytes.0),
            memory_limit: value(&it.memory_limit).map(|bytes| bytes.0),
            nics: value(&it.nics),
        })
    }

    /// A limit that no program can live with, or that takes away what the rank was promised.
    fn check_memory_limit(&self) -> Result<(), Box<Problem>> {
        let it = &self.resources;
        let Some(limit) = &it.memory_limit else { return Ok(()) };
        let kind = match &it.memory {
            _ if limit.value.0 < MIN_MEMORY_LIMIT => NeedsProblem::LimitTooSmall,
            Some(memory) if limit.value.0 < memory.value.0 => {
                NeedsProblem::LimitBelowMemory { memory: self.place_of(&memory.origin) }
            }
            _ => return Ok(()),
        };
        Err(Box::new(self.problem("resources.memoryLimit", &limit.origin, kind.into())))
    }

    fn resolve_devices(&self, devices: &DeviceKeys, ranks: u32) -> Result<DeviceNeeds, Box<Problem>> {
        let kind = value(&devices.kind).unwrap_or_default();
        if let (DeviceKind::Npu, Some(mig)) = (kind, &devices.mig) {
            let problem = self.problem("resources.devices.mig", &mig.origin, NeedsProblem::MigOfNpu.into());
            return Err(Box::new(problem));
        }
        let count = match &self.devices_in_all {
            Some(all) => self.share(all, ranks)?,
            None => value(&devices.count).unwrap_or(1),
        };
        Ok(DeviceNeeds {
            kind,
            count,
            model: value(&devices.model),
            memory_bytes: value(&devices.memory).map(|bytes| bytes.0),
            mig: value(&devices.mig),
        })
    }

    /// What each rank has of the devices of the whole job. A flag that says so too has to agree; a file does not.
    fn share(&self, all: &Given<u32>, ranks: u32) -> Result<u32, Box<Problem>> {
        let ranks = ranks.max(1);
        let each = all.value / ranks;
        let said = self.device_count().filter(|given| !given.is_from_file());
        let (origin, kind) = match said {
            Some(said) if u64::from(said.value) * u64::from(ranks) != u64::from(all.value) => {
                let kind = NeedsProblem::DevicesContradict { all: all.value, ranks, each: said.value };
                (&said.origin, kind)
            }
            _ if !all.value.is_multiple_of(ranks) => {
                (&all.origin, NeedsProblem::UnevenDevices { all: all.value, ranks })
            }
            _ if each > MAX_DEVICES_PER_RANK => (&all.origin, NeedsProblem::TooManyDevices { each }),
            _ => return Ok(each),
        };
        Err(Box::new(self.problem("resources.devices.count", origin, kind.into())))
    }

    fn device_count(&self) -> Option<&Given<u32>> {
        self.resources.devices.as_ref()?.count.as_ref()
    }
}
