//! From what the coordinator decided to what a shim needs.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::id::JobId;
use phalanx_common::plan::{BindingError, PodPlan};
use phalanx_common::report::Notice;
use phalanx_common::spec::Keep;

use crate::env::{EnvFacts, OverriddenBy, pod_env, rank_env, removed};
use crate::input::{Confidential, Config, Facts};
use crate::shim::{ProbePlan, Secrets, ShimInit, ShimPlan, ShimRank};

/// A job that this worker, and any other, cannot prepare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Secrets whose values this worker was not told.
    #[error(
        "the values of {} are not known any more: the coordinator keeps secrets in memory alone; submit the job again with --secret",
        .0.join(", ")
    )]
    MissingSecrets(Vec<String>),
    #[error("the plan of this pod contradicts itself, a mistake of the coordinator: {0}")]
    Binding(#[from] BindingError),
}

/// Value of `PHALANX_POD` in every process of this job's pod on this node.
pub fn mark(config: &Config, job: &JobId) -> String {
    format!("{job}@{}/{}", config.node, config.incarnation)
}

/// What Phalanx would say in the environment of ranks and somebody else says otherwise; `None` if nothing.
pub(crate) fn overridden(config: &Config, facts: &Facts, plan: &PodPlan) -> Option<Notice> {
    let env_facts = EnvFacts {
        inherited: &config.inherited,
        cores: facts.cores,
        job_dir: "",
        tmp_dir: "",
        error_file: "",
        mark: "",
    };
    let found = rank_env(plan, 0, &env_facts).overridden;
    let names = |by| found.iter().filter(|it| it.by == by).map(|it| it.name.clone()).collect::<Vec<_>>();
    let (job, inherited) = (names(OverriddenBy::Job), names(OverriddenBy::Inherited));
    (!found.is_empty()).then_some(Notice::EnvironmentOverridden { job, inherited })
}

/// Where the ranks' TMPDIR is on this node, if it may outlive the job. In local mode who launches knows.
pub(crate) fn kept_directory(config: &Config, plan: &PodPlan) -> Option<Notice> {
    let keep = plan.body.keep;
    let path = tmp_dir(&job_dir(config, &plan.job));
    let told = plan.body.lease.is_some() && keep != Keep::Never;
    told.then(|| Notice::Directory { node: config.node.clone(), path, keep })
}

fn job_dir(config: &Config, job: &JobId) -> String {
    format!("{}/{job}", config.base_dir)
}

fn tmp_dir(job_dir: &str) -> String {
    format!("{job_dir}/tmp")
}

/// Directory of the log files of a user's jobs: where the job asked for, or the user's own below the
/// worker's. In local mode there is one user.
pub fn log_root(config: &Config, user: Option<&str>, asked: Option<&str>) -> String {
    match (asked, user) {
        (Some(asked), _) => asked.to_owned(),
        (None, Some(user)) => format!("{}/{user}", config.log_dir),
        (None, None) => config.log_dir.clone(),
    }
}

/// The shim's plan for `plan` on this node.
///
/// # Errors
/// The values of some secrets are not there, or the plan contradicts itself.
pub fn shim_plan(
    config: &Config,
    facts: &Facts,
    plan: &PodPlan,
    confidential: Option<&Confidential>,
) -> Result<ShimPlan, Unfit> {
    plan.binding.check(plan.local_ranks)?;
    let values = confidential.map_or(&[][..], |confidential| &confidential.secrets.0);
    let known = |wanted: &String| values.iter().any(|(name, _)| name == wanted);
    let missing: Vec<String> = plan.body.secrets.iter().filter(|name| !known(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Unfit::MissingSecrets(missing));
    }
    let wanted = values.iter().filter(|(name, _)| plan.body.secrets.contains(name));
    let secrets = Secrets(wanted.cloned().collect());
    let probe = plan.probe_port.zip(confidential).map(|(port, confidential)| ProbePlan {
        port,
        family: facts.address,
        key: confidential.probe_key.0,
    });
    let job_dir = job_dir(config, &plan.job);
    let tmp_dir = tmp_dir(&job_dir);
    let mark = mark(config, &plan.job);
    let logs = log_root(config, plan.body.user.as_deref(), plan.body.log_dir.as_deref());
    let pod_facts = EnvFacts {
        inherited: &config.inherited,
        cores: facts.cores,
        job_dir: &job_dir,
        tmp_dir: &tmp_dir,
        error_file: "",
        mark: &mark,
    };
    let init = init_containers(plan, &pod_facts, &logs);
    let mut ranks: Vec<ShimRank> = plan
        .ranks()
        .zip(0u32..)
        .map(|(rank, local_rank)| {
            let error_file = format!("{job_dir}/error-{}-{rank}.json", plan.generation);
            let env = rank_env(plan, local_rank, &EnvFacts { error_file: &error_file, ..pod_facts }).set;
            let log_dir = format!("{logs}/{}/{}/{rank}", plan.job, plan.generation);
            let bound = plan.binding.ranks.get(local_rank as usize).cloned().unwrap_or_default();
            ShimRank { rank, env, log_dir, error_file, cpus: bound.cpus, nodes: bound.nodes }
        })
        .collect();
    let env = take_common(&mut ranks);
    // Only rank 0's pod listens there.
    let master = (plan.node_rank == 0).then_some(plan.body.master_port);
    Ok(ShimPlan {
        job: plan.job.clone(),
        generation: plan.generation,
        mark,
        command: plan.body.command.clone(),
        working_dir: plan.body.working_dir.clone(),
        remove_env: removed(plan, &config.inherited),
        ship: plan.body.ship.as_ref().map(|ship| {
            let user = plan.body.user.as_deref().unwrap_or_default();
            format!("{}/{user}/{}.tar", config.ship_dir, ship.digest)
        }),
        virtual_env: plan.body.virtual_env.as_ref().map(|environment| environment.prefix.clone()),
        secrets,
        env,
        ranks,
        memory: plan.binding.memory,
        job_dir,
        keep: plan.body.keep,
        ports: master.into_iter().chain(plan.probe_port).collect(),
        probe,
        stop_scope: plan.body.stop_scope,
        termination_grace: plan.body.termination_grace,
        max_file_bytes: plan.body.max_file_bytes,
        keep_files: plan.body.keep_files,
        lease: plan.body.lease,
        // Written by the worker once it looked at the node.
        nccl_topology: None,
        probes: plan.body.probes.clone(),
        stop_signal: plan.body.lifecycle.stop_signal(),
        post_start: plan.body.lifecycle.post_start.clone(),
        pre_stop: plan.body.lifecycle.pre_stop.clone(),
        init,
        init_once: plan.body.lifecycle.init_once,
        in_place: plan.body.in_place,
        memory_limit: plan.body.memory_limit,
    })
}

/// Init containers as the shim runs them. `facts` are those of a process that is no rank.
fn init_containers(plan: &PodPlan, facts: &EnvFacts<'_>, logs: &str) -> Vec<ShimInit> {
    let all = plan.body.lifecycle.init.iter();
    all.map(|init| {
        let mut env: BTreeMap<String, String> = pod_env(plan, facts).into_iter().collect();
        env.extend(init.env.clone());
        ShimInit {
            name: init.name.clone(),
            command: init.command.clone(),
            env: env.into_iter().collect(),
            log_dir: format!("{logs}/{}/{}/{}@{}", plan.job, plan.generation, init.name, plan.node_rank),
            sidecar: init.sidecar,
            startup: init.startup.clone(),
        }
    })
    .collect()
}

/// Takes what all ranks have in common out of their environments: a plan for hundreds of ranks has to
/// fit one frame.
fn take_common(ranks: &mut [ShimRank]) -> Vec<(String, String)> {
    let mut common: BTreeSet<(String, String)> = match ranks.first() {
        Some(first) => first.env.iter().cloned().collect(),
        None => return Vec::new(),
    };
    for rank in ranks.iter() {
        let own: BTreeSet<&(String, String)> = rank.env.iter().collect();
        common.retain(|variable| own.contains(variable));
    }
    for rank in ranks.iter_mut() {
        rank.env.retain(|variable| !common.contains(variable));
    }
    common.into_iter().collect()
}
