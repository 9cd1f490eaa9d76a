//! The environment of a rank: what `torch.distributed` reads, and the same facts under neutral names.
//!
//! Names and meanings are torchrun's, so that a script which runs under torchrun runs here
//! (PyTorch documentation, "torchrun (Elastic Launch)", section "Environment Variables").
//! `TORCHELASTIC_USE_AGENT_STORE` is `False`: rank 0 serves the rendezvous store itself.
//!
//! | who set it | wins over |
//! |---|---|
//! | Phalanx: `PHALANX_POD` | everything: it is how leftovers are found |
//! | the job (`env` in the job file, `--env`) | all that follows |
//! | the launcher's environment, for tunables and for the rendezvous of a launch that is not nested | Phalanx |
//! | Phalanx | the launcher's environment |
//!
//! A pod with devices gets one variable that says which; see [`crate::devices`].

use std::collections::BTreeMap;

use phalanx_common::plan::PodPlan;
use phalanx_common::spec::DeviceView;

use crate::devices::{self, Mask};
use crate::shim::NCCL_TOPOLOGY;

/// What only the node knows.
#[derive(Clone, Debug)]
pub struct EnvFacts<'a> {
    /// The environment that the ranks inherit.
    pub inherited: &'a BTreeMap<String, String>,
    /// Cores that the worker may use. Ranks that are bound to none share them.
    pub cores: u32,
    /// The pod's directory, absolute.
    pub job_dir: &'a str,
    /// The directory for temporary files in it, absolute.
    pub tmp_dir: &'a str,
    /// Where this rank leaves the exception it dies of, absolute.
    pub error_file: &'a str,
    /// The pod's mark, the value of `PHALANX_POD`.
    pub mark: &'a str,
}

/// What a rank gets over the environment it inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankEnv {
    /// Names and values, sorted by name.
    pub set: Vec<(String, String)>,
    /// Where somebody's value stands in the place of ours, sorted by name.
    pub overridden: Vec<Override>,
}

/// A variable that says something else than Phalanx would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub name: String,
    pub ours: String,
    pub theirs: String,
    pub by: OverriddenBy,
}

/// Whose value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverriddenBy {
    /// The job's own `env`.
    Job,
    /// The environment of the launcher.
    Inherited,
}

/// The mark of a pod: in the environment of each of its processes, whatever anybody sets.
pub const MARK: &str = "PHALANX_POD";

/// Names the topology file that NCCL reads.
const NCCL_TOPO_FILE: &str = "NCCL_TOPO_FILE";

/// Settings, not facts: what the launcher's environment says is meant for the ranks.
const TUNABLES: [&str; 7] = [
    "GLOO_SOCKET_IFNAME",
    "NCCL_IB_HCA",
    "NCCL_SOCKET_IFNAME",
    NCCL_TOPO_FILE,
    "OMP_NUM_THREADS",
    "PYTHONUNBUFFERED",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
];

/// Where the ranks meet. Inherited, it is the user's choice, but for a launch that is nested.
const RENDEZVOUS: [&str; 2] = ["MASTER_ADDR", "MASTER_PORT"];

/// Meant for the launcher by the service manager that started it (sd_notify(3), sd_listen_fds(3)): a rank
/// that answered would speak for the service, and sockets by number are not passed on.
const SERVICE: [&str; 6] =
    ["LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// The environment of one rank. `local_rank` counts from 0 and is below `plan.local_ranks`.
pub fn rank_env(plan: &PodPlan, local_rank: u32, facts: &EnvFacts<'_>) -> RankEnv {
    let mut set = ours(plan, local_rank, facts);
    let mut overridden = Vec::new();
    let mut note = |name: &str, ours: &str, theirs: &str, by| {
        if ours != theirs {
            overridden.push(Override {
                name: name.to_string(),
                ours: ours.to_string(),
                theirs: theirs.to_string(),
                by,
            });
        }
    };
    if let Some(Mask { ours, theirs: Some((name, theirs)), .. }) =
        devices::mask(&plan.binding, local_rank, &plan.body.env)
    {
        note(name, &ours, theirs, OverriddenBy::Job);
    }
    for (name, theirs) in &plan.body.env {
        if name == MARK {
            continue;
        }
        if let Some(ours) = set.insert(name.clone(), theirs.clone()) {
            note(name, &ours, theirs, OverriddenBy::Job);
        }
    }
    for (name, theirs) in facts.inherited {
        let wins = inherited_wins(name, theirs, facts) && !plan.body.env.contains_key(name);
        // What the rank inherits is left to inheritance.
        if wins && let Some(ours) = set.remove(name) {
            note(name, &ours, theirs, OverriddenBy::Inherited);
        }
    }
    overridden.sort_by(|a, b| a.name.cmp(&b.name));
    RankEnv { set: set.into_iter().collect(), overridden }
}

/// What a rank's process has of its own: not for a program that runs for the pod.
const OF_A_RANK: [&str; 6] =
    ["RANK", "ROLE_RANK", "PHALANX_RANK", "LOCAL_RANK", "PHALANX_LOCAL_RANK", "TORCHELASTIC_ERROR_FILE"];

/// The environment of a program of the pod that is no rank: what its first rank has, devices included, but for what
/// makes a rank of it.
pub fn pod_env(plan: &PodPlan, facts: &EnvFacts<'_>) -> Vec<(String, String)> {
    let mut set = rank_env(plan, 0, facts).set;
    set.retain(|(name, _)| !OF_A_RANK.contains(&name.as_str()) || plan.body.env.contains_key(name));
    set
}

/// Names in the environment of the launcher that no rank of this pod may inherit, sorted: an outer launcher's
/// facts, what a service manager meant for the launcher, and the masks of devices where the plan says which a rank
/// sees. They are taken away before `RankEnv::set` is laid over.
pub fn removed(plan: &PodPlan, inherited: &BTreeMap<String, String>) -> Vec<String> {
    let outer = |name: &str| name.starts_with("PHALANX_") || name.starts_with("TORCHELASTIC_");
    let masks = !plan.binding.devices.is_empty();
    let goes =
        |name: &str| outer(name) || SERVICE.contains(&name) || (masks && devices::MASKS.contains(&name));
    inherited.keys().filter(|name| goes(name)).cloned().collect()
}

/// Whether the launcher itself runs as a rank of Phalanx or torchrun: then the rendezvous it inherited is
/// the outer job's.
pub fn is_nested(inherited: &BTreeMap<String, String>) -> bool {
    [MARK, "TORCHELASTIC_RUN_ID"].iter().any(|name| inherited.contains_key(*name))
}

fn inherited_wins(name: &str, value: &str, facts: &EnvFacts<'_>) -> bool {
    // Empty means "not set", except where Python documents it as a choice: buffered.
    let given = !value.is_empty() || name == "PYTHONUNBUFFERED";
    given && (TUNABLES.contains(&name) || (RENDEZVOUS.contains(&name) && !is_nested(facts.inherited)))
}

/// What Phalanx has to say, before anybody overrides it.
fn ours(plan: &PodPlan, local_rank: u32, facts: &EnvFacts<'_>) -> BTreeMap<String, String> {
    let body = &plan.body;
    let rank = plan.first_rank.0 + local_rank;
    let binding = &plan.binding;
    let bound = binding.ranks.get(local_rank as usize).map_or(0, |rank| rank.cpus.len());
    let threads = match u32::try_from(bound) {
        Ok(0) | Err(_) => facts.cores / plan.local_ranks.max(1),
        // A quota may leave fewer than there are.
        Ok(own) => own.min(facts.cores),
    };
    let sees_all = binding.devices.is_empty() || binding.view == DeviceView::Pod;
    let mut set = BTreeMap::new();
    let mut put = |names: &[&str], value: &dyn std::fmt::Display| {
        let value = value.to_string();
        set.extend(names.iter().map(|name| (name.to_string(), value.clone())));
    };
    // One role, torchrun's default: a rank's place in its role is its place in the job.
    put(&["ROLE_NAME"], &"default");
    put(&["RANK", "ROLE_RANK", "PHALANX_RANK"], &rank);
    put(&["LOCAL_RANK"], if sees_all { &local_rank } else { &0 });
    put(&["PHALANX_LOCAL_RANK"], &local_rank);
    put(&["WORLD_SIZE", "ROLE_WORLD_SIZE", "PHALANX_WORLD_SIZE"], &body.world_size);
    put(&["LOCAL_WORLD_SIZE", "PHALANX_LOCAL_WORLD_SIZE"], &plan.local_ranks);
    put(&["GROUP_RANK", "PHALANX_NODE_RANK"], &plan.node_rank);
    put(&["GROUP_WORLD_SIZE", "PHALANX_NODES"], &body.nodes);
    put(&["MASTER_ADDR"], &body.master_addr);
    put(&["MASTER_PORT"], &body.master_port);
    put(&["TORCHELASTIC_RUN_ID", "PHALANX_JOB_ID"], &plan.job);
    put(&["TORCHELASTIC_RESTART_COUNT", "PHALANX_RESTART_COUNT"], &body.restart_count);
    put(&["TORCHELASTIC_MAX_RESTARTS"], &body.max_restarts);
    put(&["TORCHELASTIC_ERROR_FILE"], &facts.error_file);
    put(&["TORCHELASTIC_USE_AGENT_STORE"], &"False");
    // As torchrun: a collective that times out or fails ends its rank instead of hanging it.
    put(&["TORCH_NCCL_ASYNC_ERROR_HANDLING", "PYTHONUNBUFFERED"], &1);
    put(&["OMP_NUM_THREADS"], &threads.max(1));
    if let Some(interface) = &body.interface {
        put(&["GLOO_SOCKET_IFNAME"], interface);
        // Without `=` it is the beginning of names: eth1 takes eth10, too. Gloo knows no such sign.
        put(&["NCCL_SOCKET_IFNAME"], &format_args!("={interface}"));
    }
    if !binding.hca.is_empty() {
        put(&["NCCL_IB_HCA"], &format_args!("={}", binding.hca.join(",")));
    }
    if binding.nccl_topology.is_some() {
        put(&[NCCL_TOPO_FILE], &format_args!("{}/{NCCL_TOPOLOGY}", facts.job_dir));
    }
    // Two masks of one vendor hide from each other: where the job has one, there is none of ours, whatever its name.
    if let Some(Mask { name, ours, theirs: None }) = devices::mask(binding, local_rank, &body.env) {
        put(&[name], &ours);
        devices::order(binding).into_iter().for_each(|(name, value)| put(&[name], &value));
    }
    put(&["TMPDIR"], &facts.tmp_dir);
    put(&["PHALANX_JOB_NAME"], &body.name);
    put(&["PHALANX_GENERATION"], &plan.generation);
    put(&["PHALANX_JOB_DIR"], &facts.job_dir);
    put(&[MARK], &facts.mark);
    set
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
