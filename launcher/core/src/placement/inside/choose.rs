//! Choosing, and counting how much could be chosen.

use phalanx_common::topology::machine::CpuSet;

use super::bandwidth;
use super::cores::Cores;
use super::free::{self, FreeInside};
use super::lack::{Filter, Lack, Missing};
use super::model::{Class, NodeModel, rows_of};
use super::near::{Near, Needed};
use super::needs::{DeviceNeed, RankNeeds};
use super::order;
use super::ports::{Asked, Hand, RankPort};
use super::set::{self, Wanted};
use super::share::{self, Want};

/// Ranks of one node, at most: as many as a kernel has CPUs.
const MAX_RANKS: u32 = CpuSet::LIMIT;

/// What the ranks of a pod get of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// All devices of the pod, as a mask.
    pub devices: u64,
    /// In LOCAL_RANK order.
    pub ranks: Vec<RankInside>,
    pub quality: Quality,
}

/// What one rank gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RankInside {
    /// Rows of its devices, in the order in which it sees them.
    pub devices: Vec<u8>,
    pub cores: Cores,
    /// The hardware threads of its cores: where it may run. Empty: it has none of its own, and is not bound.
    pub cpus: CpuSet,
    /// NUMA nodes of its cores and of its memory; of its devices where it is not bound. Empty: not known.
    pub numa: CpuSet,
    /// Bytes that are accounted to it, by group of cores; nothing where the job does not say how much it needs.
    pub memory: Vec<(u8, u64)>,
    /// Nearest first.
    pub ports: Vec<RankPort>,
}

/// How good the choice is, for explanations and for choosing among nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// MB/s of the slowest pair of devices; `None` where there are not two.
    pub slowest_pair: Option<u32>,
    /// Different ports over all ranks.
    pub ports: u32,
    /// Ranks whose nearest port is down or missing.
    pub farther: u32,
    /// NUMA nodes that devices or cores of the pod are at.
    pub groups: u32,
    /// MB/s of all pairs of devices that are left free, summed.
    pub left: u64,
}

/// How many ranks with these needs fit, whatever `needs.ranks` says, without choosing for them.
///
/// `choose` succeeds for so many and for no more.
pub fn capacity(model: &NodeModel, free: &FreeInside, needs: &RankNeeds) -> u32 {
    let mut ranks = MAX_RANKS;
    if needs.devices > 0 {
        let of = |class: &Class| (class.devices & free.devices).count_ones() / needs.devices;
        let classes = model.classes().iter().filter(|class| class.serves(&needs.device));
        ranks = ranks.min(classes.map(of).max().unwrap_or(0));
    }
    if let Some(each) = cores_each(model, needs) {
        ranks = ranks.min(free.cores.len() / each);
    }
    if let Some(fit) = free.memory().checked_div(needs.memory) {
        ranks = ranks.min(u32::try_from(fit).unwrap_or(u32::MAX));
    }
    if needs.ports > free.ports.count_ones() { 0 } else { ranks }
}

/// Cores of a rank that asks for CPUs.
fn cores_each(model: &NodeModel, needs: &RankNeeds) -> Option<u32> {
    needs.cpus.map(|cpus| cpus.div_ceil(model.threads_per_core()).max(1))
}

fn wanted_cores(model: &NodeModel, free: &FreeInside, needs: &RankNeeds, devices: u64) -> Want {
    if let Some(each) = cores_each(model, needs) {
        return Want::Cores(each);
    }
    let enough = free.cores.len() >= needs.ranks;
    match (needs.devices, needs.alone) {
        (1.., true) if enough => Want::ShareAmong(devices),
        (1.., false) if enough => Want::ShareAmong(free.devices),
        (0, true) => Want::Cores(free.cores.len() / needs.ranks.max(1)),
        _ => Want::Cores(0),
    }
}

/// The best devices for the ranks, parted among them, with cores, memory and ports for each. Same input, same answer.
///
/// # Errors
/// What is missing for so many ranks.
pub fn choose(model: &NodeModel, free: &FreeInside, needs: &RankNeeds) -> Result<Inside, Lack> {
    let missing = missing(model, free, needs);
    if !missing.is_empty() {
        return Err(Lack { ranks: needs.ranks, fits: capacity(model, free, needs), missing });
    }
    let (ranks, each) = (needs.ranks as usize, needs.devices as usize);
    let (slowest, devices) = devices(model, free, needs).unwrap_or_default();
    let in_order = order::split(model, devices, each.max(1));
    let of_rank: Vec<&[u8]> = match each {
        0 => vec![&[]; ranks],
        each => in_order.chunks(each).collect(),
    };
    let want = wanted_cores(model, free, needs, devices);
    let with_ports = if needs.ports > 0 { groups_of_ports(model, free.ports) } else { 0 };
    let cores = share::cores(model, &free.cores, &of_rank, (want, with_ports));
    // Memory is near to where the devices are, else to where the cores are.
    let at: Vec<(u64, u64)> = of_rank
        .iter()
        .zip(&cores)
        .map(|(devices, cores)| {
            let computes = of_cores(model, cores);
            let near = share::groups(model, devices);
            (computes, if near > 0 { near } else { computes })
        })
        .collect();
    let near: Vec<u64> = at.iter().map(|(_, near)| *near).collect();
    let memory = share::memory(model, &free.memory, &near, needs.memory);
    let mut hand = Hand::new(model, Asked { up: free.ports, each: needs.ports });
    let mut inside = Inside { devices, ranks: Vec::with_capacity(ranks), quality: Quality::default() };
    let (mut ports, mut groups) = (0u64, 0u64);
    for (((devices, cores), (computes, near)), memory) in of_rank.iter().zip(cores).zip(&at).zip(memory) {
        let holds = memory.iter().fold(*computes, |mask, (group, _)| mask | 1 << group);
        let rank = RankInside {
            devices: devices.to_vec(),
            cpus: free::cpus(&cores, model),
            cores,
            numa: numa(model, if holds > 0 { holds } else { *near }),
            memory,
            ports: hand.next(devices, *near),
        };
        ports = rank.ports.iter().fold(ports, |mask, port| mask | 1 << port.port);
        groups |= computes | near;
        inside.quality.farther += u32::from(rank.ports.iter().any(|port| port.farther));
        inside.ranks.push(rank);
    }
    inside.quality.slowest_pair = slowest.filter(|_| devices.count_ones() > 1);
    inside.quality.ports = ports.count_ones();
    inside.quality.groups = groups.count_ones();
    inside.quality.left = pairs(model, free.devices & !devices);
    Ok(inside)
}

/// The best set of the class with the least memory that will do.
fn devices(model: &NodeModel, free: &FreeInside, needs: &RankNeeds) -> Option<(Option<u32>, u64)> {
    let count = (needs.ranks as usize).saturating_mul(needs.devices as usize);
    if count == 0 {
        return None;
    }
    let enough = |class: &&Class| (class.devices & free.devices).count_ones() as usize >= count;
    let classes = model.classes().iter().filter(|class| class.serves(&needs.device)).filter(enough);
    let class = classes.min_by_key(|class| class.memory)?;
    let ports = if needs.ports > 0 { free.ports } else { 0 };
    let most_ports = needs.ranks.saturating_mul(needs.ports);
    // Every rank that is bound gets a core at least.
    let cores = cores_each(model, needs).unwrap_or(u32::from(free.cores.len() >= needs.ranks));
    let needed = Needed { devices: needs.devices, cores, memory: needs.memory };
    let near = Near::new(model, free, class.devices & free.devices, needed);
    let wanted = Wanted { count, ports, most_ports, ports_each: needs.ports.div_ceil(needs.devices), near };
    let (score, devices) = set::best(model, free.devices, class.devices, wanted)?;
    Some((Some(score.slowest), devices))
}

fn missing(model: &NodeModel, free: &FreeInside, needs: &RankNeeds) -> Vec<Missing> {
    let mut missing = Vec::new();
    let ranks = u64::from(needs.ranks);
    if needs.devices > 0 && ranks > 0 {
        let needed = ranks * u64::from(needs.devices);
        let serving = || model.classes().iter().filter(|class| class.serves(&needs.device));
        let has = serving().map(|class| class.devices.count_ones()).max();
        let free = serving().map(|class| (class.devices & free.devices).count_ones()).max().unwrap_or(0);
        match has {
            None => missing.push(unmatched(model, &needs.device)),
            Some(has) if needed > u64::from(free) => missing.push(Missing::Devices { needed, free, has }),
            Some(_) => {}
        }
    }
    if let Some(needed) = cores_each(model, needs).map(|each| ranks * u64::from(each))
        && needed > u64::from(free.cores.len())
    {
        missing.push(Missing::Cores { needed, free: free.cores.len(), has: model.cores() });
    } else if needs.ranks > MAX_RANKS {
        missing.push(Missing::Cores { needed: ranks, free: MAX_RANKS, has: MAX_RANKS });
    }
    let needed = ranks.saturating_mul(needs.memory);
    if needed > free.memory() {
        let has = model.groups().iter().map(|group| group.memory_gib << 30).fold(0, u64::saturating_add);
        missing.push(Missing::Memory { needed, free: free.memory(), has: has.max(free.memory()) });
    }
    let up = free.ports.count_ones();
    if needs.ports > up && ranks > 0 {
        missing.push(Missing::Ports { needed: needs.ports, up, has: model.job_ports().count_ones().max(up) });
    }
    missing
}

/// The first filter that leaves nothing.
fn unmatched(model: &NodeModel, need: &DeviceNeed) -> Missing {
    let only = |kind: bool, model: bool, memory: bool| DeviceNeed {
        kind: need.kind.filter(|_| kind),
        mig: need.mig,
        model: need.model.clone().filter(|_| model),
        memory: need.memory.filter(|_| memory),
    };
    let count = |fits: &dyn Fn(&Class) -> bool| -> u32 {
        model.classes().iter().filter(|class| fits(class)).map(|class| class.devices.count_ones()).sum()
    };
    let of_kind = |class: &Class| need.is_kind(class.kind);
    let steps = [
        (Filter::Kind, count(&of_kind)),
        (Filter::Mig, count(&|class| class.serves(&only(true, false, false)))),
        (Filter::Model, count(&|class| class.serves(&only(true, true, false)))),
    ];
    let mut before = model.devices().len() as u32;
    for (filter, left) in steps {
        if left == 0 {
            return Missing::Match { filter, before };
        }
        before = left;
    }
    Missing::Match { filter: Filter::Memory, before }
}

/// Groups of cores at which a port is.
fn groups_of_ports(model: &NodeModel, ports: u64) -> u64 {
    let groups = rows_of(ports).filter_map(|port| model.ports().get(port)?.group);
    groups.fold(0, |mask, group| mask | 1 << group)
}

fn of_cores(model: &NodeModel, cores: &Cores) -> u64 {
    let has = model.groups().iter().enumerate().filter(|(_, group)| cores.count(group.cores) > 0);
    has.fold(0, |mask, (row, _)| mask | 1 << row)
}

fn numa(model: &NodeModel, groups: u64) -> CpuSet {
    let mut nodes = CpuSet::new();
    for node in rows_of(groups).filter_map(|group| model.groups()[group].numa) {
        // A number beyond the limit cannot be written into a mask of the kernel.
        let _ = nodes.insert(node);
    }
    nodes
}

/// MB/s of all pairs, summed.
fn pairs(model: &NodeModel, devices: u64) -> u64 {
    let mut sum = 0;
    for a in rows_of(devices) {
        sum += rows_of(devices >> a >> 1)
            .map(|b| u64::from(bandwidth::mb_per_s(model.worth(a, a + 1 + b))))
            .sum::<u64>();
    }
    sum
}
