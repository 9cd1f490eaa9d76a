//! Flags that say what a job needs, laid over its file.

use super::keys::{DeviceKeys, GroupKeys, Limit, TierKeys};
use super::{DeviceKind, NeedsProblem, Parallelism, read};
use crate::label;
use crate::spec::error::Place;
use crate::spec::file::JobFile;
use crate::spec::flags::{Problems, origin};
use crate::spec::place::Given;
use crate::spec::read::{Scalar, Style, boolean, choice};

/// What was typed of a job's needs, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeedsFlags {
    /// `--gpus NUMBER`, of the whole job.
    pub gpus: Option<String>,
    /// `--npus NUMBER`, of the whole job.
    pub npus: Option<String>,
    /// `--gpus-per-rank NUMBER`
    pub gpus_per_rank: Option<String>,
    /// `--npus-per-rank NUMBER`
    pub npus_per_rank: Option<String>,
    /// `--device-model NAME`
    pub device_model: Option<String>,
    /// `--device-memory SIZE`
    pub device_memory: Option<String>,
    /// `--mig PROFILE`
    pub mig: Option<String>,
    /// `--cpus-per-rank NUMBER`
    pub cpus_per_rank: Option<String>,
    /// `--memory-per-rank SIZE`
    pub memory_per_rank: Option<String>,
    /// `--nics-per-rank NUMBER`
    pub nics_per_rank: Option<String>,
    /// `--tp`, `--cp`, `--ep`, `--dp`, `--pp`, each with a NUMBER, in the order of [`Parallelism::KINDS`].
    pub groups: [Option<String>; Parallelism::KINDS.len()],
    /// `--require-tier TIER` or `KIND=TIER`, any number of times.
    pub require_tier: Vec<String>,
    /// `--prefer-tier`, likewise.
    pub prefer_tier: Vec<String>,
    /// `--spares NUMBER`
    pub spares: Option<String>,
    /// `--spread TIER`
    pub spread: Option<String>,
    /// `--node-selector NAME=VALUE`, any number of times.
    pub node_selector: Vec<String>,
    /// `--use-nodes NODE,…`, each node apart.
    pub use_nodes: Vec<String>,
    /// `--avoid-nodes NODE,…`, each node apart.
    pub avoid_nodes: Vec<String>,
    /// `--exclusive node|numa|none`
    pub exclusive: Option<String>,
    /// `--uneven[=true|false]`
    pub uneven: Option<String>,
    /// `--mixed[=true|false]`
    pub mixed: Option<String>,
    /// `--device-view pod|rank`
    pub device_view: Option<String>,
    /// `--memory-binding preferred|strict|none`
    pub memory_binding: Option<String>,
    /// `--cpu-binding cores|none`
    pub cpu_binding: Option<String>,
    /// `--nccl-topology[=true|false]`
    pub nccl_topology: Option<String>,
}

/// In the order of [`Parallelism::KINDS`].
const GROUP_FLAGS: [&str; Parallelism::KINDS.len()] = ["--tp", "--cp", "--ep", "--dp", "--pp"];

impl NeedsFlags {
    /// The devices of the whole job were given, so that the file does not say how many ranks there are.
    pub(in crate::spec) fn count_ranks(&self) -> bool {
        self.gpus.is_some() || self.npus.is_some()
    }
}

impl JobFile {
    pub(in crate::spec) fn overlay_needs(&mut self, flags: &NeedsFlags, problems: &mut Problems) {
        self.overlay_devices(flags, problems);
        let resources = &mut self.resources;
        problems.set(&mut resources.cpus, "--cpus-per-rank", &flags.cpus_per_rank, read::cpus);
        problems.set(&mut resources.memory, "--memory-per-rank", &flags.memory_per_rank, read::memory);
        problems.set(&mut resources.nics, "--nics-per-rank", &flags.nics_per_rank, read::nics);

        for ((kind, flag), typed) in Parallelism::KINDS.into_iter().zip(GROUP_FLAGS).zip(&flags.groups) {
            let mut size = None;
            problems.set(&mut size, flag, typed, read::ranks);
            if let Some(size) = size {
                let groups = &mut self.parallelism.groups;
                let group =
                    groups.entry(kind.to_owned()).or_insert_with(|| GroupKeys::at(size.origin.clone()));
                *group = GroupKeys { origin: size.origin.clone(), size: Some(size), ..group.clone() };
            }
        }
        self.overlay_placement(flags, problems);
    }

    fn overlay_devices(&mut self, flags: &NeedsFlags, problems: &mut Problems) {
        let counts = [
            ("--gpus", &flags.gpus, DeviceKind::Gpu),
            ("--gpus-per-rank", &flags.gpus_per_rank, DeviceKind::Gpu),
            ("--npus", &flags.npus, DeviceKind::Npu),
            ("--npus-per-rank", &flags.npus_per_rank, DeviceKind::Npu),
        ];
        let mut first: Option<(&'static str, &String, DeviceKind)> = None;
        for (flag, typed, kind) in counts {
            let Some(text) = typed else { continue };
            match first {
                Some((other, said, of)) if of != kind => {
                    let other = Place::Flag { flag: other, typed: said.clone() };
                    problems.push(flag, text, NeedsProblem::TwoKinds { other }.into());
                    continue;
                }
                _ => first = Some((flag, text, kind)),
            }
            let devices = self.resources.devices.get_or_insert_with(DeviceKeys::default);
            devices.kind = Some(Given::new(kind, origin(flag, text)));
            match flag.ends_with("-per-rank") {
                true => problems.set(&mut devices.count, flag, typed, read::device_count),
                false => problems.set(&mut self.devices_in_all, flag, typed, read::devices),
            }
        }
        if flags.device_model.is_some() || flags.device_memory.is_some() || flags.mig.is_some() {
            let devices = self.resources.devices.get_or_insert_with(DeviceKeys::default);
            problems.set(&mut devices.model, "--device-model", &flags.device_model, read::model);
            problems.set(&mut devices.memory, "--device-memory", &flags.device_memory, read::memory);
            problems.set(&mut devices.mig, "--mig", &flags.mig, read::mig);
        }
    }

    fn overlay_placement(&mut self, flags: &NeedsFlags, problems: &mut Problems) {
        let it = &mut self.placement;
        tiers(&mut it.require, "--require-tier", &flags.require_tier, problems);
        tiers(&mut it.prefer, "--prefer-tier", &flags.prefer_tier, problems);
        problems.set(&mut it.spares, "--spares", &flags.spares, read::spares);
        problems.set(&mut it.spread, "--spread", &flags.spread, read::tier_of_spread);
        for typed in &flags.node_selector {
            match read::label(Scalar { text: typed, style: Style::Flag }) {
                Err(kind) => problems.push("--node-selector", typed, kind),
                Ok((name, _))
                    if it.node_selector.len() >= label::MOST && !it.node_selector.contains_key(&name) =>
                {
                    let kind = NeedsProblem::Label(label::Error::TooMany(it.node_selector.len() + 1));
                    problems.push("--node-selector", typed, kind.into());
                }
                Ok((name, value)) => {
                    let value = Given::new(value, origin("--node-selector", typed));
                    it.node_selector.insert(name, value);
                }
            }
        }
        nodes(&mut it.nodes, "--use-nodes", &flags.use_nodes, problems);
        nodes(&mut it.avoid, "--avoid-nodes", &flags.avoid_nodes, problems);
        problems.set(&mut it.exclusive, "--exclusive", &flags.exclusive, choice);
        problems.set(&mut it.uneven, "--uneven", &flags.uneven, boolean);
        problems.set(&mut it.mixed, "--mixed", &flags.mixed, boolean);
        problems.set(&mut it.device_view, "--device-view", &flags.device_view, choice);
        problems.set(&mut it.memory_binding, "--memory-binding", &flags.memory_binding, choice);
        problems.set(&mut it.cpu_binding, "--cpu-binding", &flags.cpu_binding, choice);
        problems.set(&mut it.nccl_topology, "--nccl-topology", &flags.nccl_topology, boolean);
    }
}

fn tiers(into: &mut TierKeys, flag: &'static str, all: &[String], problems: &mut Problems) {
    for typed in all {
        match read::limit(Scalar { text: typed, style: Style::Flag }) {
            Ok((kind, tier)) => {
                let origin = origin(flag, typed);
                into.0.insert(kind, Limit { tier: Given::new(tier, origin.clone()), origin });
            }
            Err(kind) => problems.push(flag, typed, kind),
        }
    }
}

/// The nodes of a flag, in place of those of the file.
fn nodes(
    into: &mut Option<Given<Vec<Given<String>>>>,
    flag: &'static str,
    all: &[String],
    problems: &mut Problems,
) {
    let Some(first) = all.first() else { return };
    let mut nodes = Vec::with_capacity(all.len());
    for typed in all {
        match read::node(Scalar { text: typed, style: Style::Flag }) {
            Ok(node) => nodes.push(Given::new(node, origin(flag, typed))),
            Err(kind) => problems.push(flag, typed, kind),
        }
    }
    *into = Some(Given::new(nodes, origin(flag, first)));
}
