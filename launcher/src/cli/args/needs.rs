//! What can be typed of a job's needs: devices, groups, placement.

use clap::Args;
use phalanx_common::spec::NeedsFlags;
use phalanx_formats::hostlist;

/// On each flag: a heading of the whole would go on over the flags that follow it.
const HEADING: &str = "Devices, groups and placement (--help shows all)";

/// What each rank needs, in which groups ranks talk, and where the job may run.
#[derive(Debug, Args)]
pub(crate) struct NeedsArgs {
    /// GPUs of the whole job; without --ranks or `ranks`, as many ranks as have --gpus-per-rank of them each.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true)]
    pub(crate) gpus: Option<String>,
    /// GPUs of each rank; 1 if the job says that it has GPUs, else they are not counted.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true)]
    pub(crate) gpus_per_rank: Option<String>,
    /// Ascend NPUs of the whole job, as --gpus.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) npus: Option<String>,
    /// Ascend NPUs of each rank, as --gpus-per-rank.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) npus_per_rank: Option<String>,
    /// Only devices whose model has this in its name, such as H100.
    #[arg(long, help_heading = HEADING, value_name = "NAME", hide_short_help = true)]
    pub(crate) device_model: Option<String>,
    /// Only devices with at least this much memory, such as 80G.
    #[arg(long, help_heading = HEADING, value_name = "SIZE", hide_short_help = true)]
    pub(crate) device_memory: Option<String>,
    /// MIG slices of this profile, such as 3g.40gb, in place of whole GPUs.
    #[arg(long, help_heading = HEADING, value_name = "PROFILE", hide_short_help = true)]
    pub(crate) mig: Option<String>,
    /// Cores of each rank, which no other rank gets.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) cpus_per_rank: Option<String>,
    /// Main memory of each rank, such as 32Gi.
    #[arg(long, help_heading = HEADING, value_name = "SIZE", hide_short_help = true)]
    pub(crate) memory_per_rank: Option<String>,
    /// Ports of the data plane near to each rank's devices.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) nics_per_rank: Option<String>,
    /// Ranks of a tensor-parallel group.
    ///
    /// Sizes of groups multiply to the number of ranks; --dp may be left out. Ranks are numbered so that those of a
    /// tp group come first, then cp, ep, dp and pp, as Megatron numbers them; `parallelism.order` of a job file says
    /// it otherwise. Placement keeps groups together by what they send.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true)]
    pub(crate) tp: Option<String>,
    /// Ranks of a context-parallel group.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true)]
    pub(crate) cp: Option<String>,
    /// Ranks of an expert-parallel group.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true)]
    pub(crate) ep: Option<String>,
    /// Ranks of a data-parallel group; by default what the others leave.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true)]
    pub(crate) dp: Option<String>,
    /// Ranks of a pipeline.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pp: Option<String>,
    /// Wait until the job fits into one domain of this tier: node, nvlink, leaf, block, core or site. Or until each
    /// group of a kind does: `tp=node`, also island and numa. Repeatable, or with commas.
    #[arg(long, help_heading = HEADING, value_name = "[KIND=]TIER", value_delimiter = ',')]
    pub(crate) require_tier: Vec<String>,
    /// The same where there is a choice: the job does not wait for it.
    #[arg(long, help_heading = HEADING, value_name = "[KIND=]TIER", value_delimiter = ',', hide_short_help = true)]
    pub(crate) prefer_tier: Vec<String>,
    /// Nodes to hold back for the job beside those that it runs on; 0 by default.
    #[arg(long, help_heading = HEADING, value_name = "N", allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) spares: Option<String>,
    /// No two nodes of the job share a domain of this tier: nvlink, leaf, block, core or site.
    #[arg(long, help_heading = HEADING, value_name = "TIER", hide_short_help = true)]
    pub(crate) spread: Option<String>,
    /// Only nodes with this label, see `phalanx node label`. Repeatable.
    #[arg(long, help_heading = HEADING, value_name = "NAME=VALUE", hide_short_help = true)]
    pub(crate) node_selector: Vec<String>,
    /// Only these nodes, each by its name or several as `n[0-7,9]`.
    #[arg(long, help_heading = HEADING, value_name = "NODE,…", value_parser = host_list, hide_short_help = true)]
    pub(crate) use_nodes: Vec<HostList>,
    /// None of these nodes, written likewise.
    #[arg(long, help_heading = HEADING, value_name = "NODE,…", value_parser = host_list, hide_short_help = true)]
    pub(crate) avoid_nodes: Vec<HostList>,
    /// What the job shares with no other: its nodes, its NUMA nodes, or nothing (the default).
    #[arg(long, help_heading = HEADING, value_name = "node|numa|none", hide_short_help = true)]
    pub(crate) exclusive: Option<String>,
    /// Nodes may have unequal numbers of ranks.
    #[arg(long, help_heading = HEADING, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    pub(crate) uneven: Option<String>,
    /// Nodes and devices may be unlike.
    #[arg(long, help_heading = HEADING, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    pub(crate) mixed: Option<String>,
    /// Which devices a rank sees: those of all ranks of the job on its node, in the order of LOCAL_RANK (`pod`, the
    /// default), or its own alone (`rank`).
    #[arg(long, help_heading = HEADING, value_name = "pod|rank", hide_short_help = true)]
    pub(crate) device_view: Option<String>,
    /// Whether a rank's memory comes from its NUMA nodes: while they have some (`preferred`, the default), always
    /// (`strict`), or by chance (`none`).
    #[arg(long, help_heading = HEADING, value_name = "preferred|strict|none", hide_short_help = true)]
    pub(crate) memory_binding: Option<String>,
    /// Whether a rank's threads stay on its cores (`cores`, the default) or run anywhere (`none`).
    #[arg(long, help_heading = HEADING, value_name = "cores|none", hide_short_help = true)]
    pub(crate) cpu_binding: Option<String>,
    /// Give ranks a topology file for NCCL (`NCCL_TOPO_FILE`) of their node, with the rails of its ports.
    #[arg(long, help_heading = HEADING, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    pub(crate) nccl_topology: Option<String>,
}

impl NeedsArgs {
    pub(crate) fn flags(&self) -> NeedsFlags {
        NeedsFlags {
            gpus: self.gpus.clone(),
            npus: self.npus.clone(),
            gpus_per_rank: self.gpus_per_rank.clone(),
            npus_per_rank: self.npus_per_rank.clone(),
            device_model: self.device_model.clone(),
            device_memory: self.device_memory.clone(),
            mig: self.mig.clone(),
            cpus_per_rank: self.cpus_per_rank.clone(),
            memory_per_rank: self.memory_per_rank.clone(),
            nics_per_rank: self.nics_per_rank.clone(),
            groups: [&self.tp, &self.cp, &self.ep, &self.dp, &self.pp].map(Option::clone),
            require_tier: self.require_tier.clone(),
            prefer_tier: self.prefer_tier.clone(),
            spares: self.spares.clone(),
            spread: self.spread.clone(),
            node_selector: self.node_selector.clone(),
            use_nodes: names(&self.use_nodes),
            avoid_nodes: names(&self.avoid_nodes),
            exclusive: self.exclusive.clone(),
            uneven: self.uneven.clone(),
            mixed: self.mixed.clone(),
            device_view: self.device_view.clone(),
            memory_binding: self.memory_binding.clone(),
            cpu_binding: self.cpu_binding.clone(),
            nccl_topology: self.nccl_topology.clone(),
        }
    }
}

/// The names that one flag stands for.
#[derive(Clone, Debug)]
pub(crate) struct HostList(Vec<String>);

fn host_list(text: &str) -> Result<HostList, hostlist::Error> {
    hostlist::expand(text).map(HostList)
}

fn names(lists: &[HostList]) -> Vec<String> {
    lists.iter().flat_map(|list| &list.0).cloned().collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use phalanx_common::spec::Parallelism;

    use super::super::{Cli, Command};

    fn help(long: bool) -> String {
        let mut cli = Cli::command();
        let run = cli.find_subcommand_mut("run").unwrap();
        let help = if long { run.render_long_help() } else { run.render_help() };
        help.to_string()
    }

    #[test]
    fn the_short_help_has_the_flags_that_most_jobs_need_and_the_long_one_all() {
        let (short, long) = (help(false), help(true));
        for flag in ["--gpus ", "--gpus-per-rank ", "--tp ", "--dp ", "--pp ", "--require-tier "] {
            assert!(short.contains(flag) && long.contains(flag), "{flag}");
        }
        for flag in ["--spares ", "--node-selector ", "--memory-binding ", "--mixed", "--mig ", "--npus "] {
            assert!(!short.contains(flag) && long.contains(flag), "{flag}");
        }
        // The headings of flags that are no part of this.
        let own = long.find("Devices, groups and placement").unwrap();
        for flag in ["--ranks ", "--max-restarts ", "--keep-files ", "--coordinator ", "--detach"] {
            assert!(long.find(flag).unwrap() < own, "{flag}");
        }
    }

    #[test]
    fn flags_reach_the_job_as_they_were_typed() {
        let typed = [
            "phalanx",
            "run",
            "--gpus",
            "16",
            "--tp",
            "8",
            "--cp",
            "1",
            "--ep",
            "2",
            "--dp",
            "3",
            "--pp",
            "4",
            "--require-tier",
            "leaf,tp=node",
            "--require-tier",
            "pp=block",
            "--uneven",
            "--mixed=false",
            "--use-nodes",
            "a,n[08-09,12],b",
            "--",
            "a",
        ];
        let Command::Run(args) = Cli::try_parse_from(typed).unwrap().command else { panic!() };
        let flags = args.job.needs.flags();
        let groups: Vec<String> = Parallelism::KINDS
            .iter()
            .zip(&flags.groups)
            .map(|(kind, size)| format!("{kind}={}", size.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(groups, ["tp=8", "cp=1", "ep=2", "dp=3", "pp=4"]);
        assert_eq!(flags.require_tier, ["leaf", "tp=node", "pp=block"]);
        assert_eq!((flags.uneven.as_deref(), flags.mixed.as_deref()), (Some("true"), Some("false")));
        assert_eq!((flags.gpus.as_deref(), flags.use_nodes.len()), (Some("16"), 5));
        assert_eq!(flags.use_nodes, ["a", "n08", "n09", "n12", "b"]);
        assert_eq!(args.job.command, ["a"]);
    }
}
