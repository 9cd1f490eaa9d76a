//! Replays traces of jobs on a recorded topology under several policies, and shows what came of it.
//!
//! The simulation is `phalanx_launcher_core::simulate`; here are its inputs from files, its clock and threads, and pictures of
//! its outcome.

mod chart;
mod goodput;
mod json;
mod table;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use phalanx_formats::trace;
use phalanx_launcher_core::placement::fabric::{Fabric, NodeRow};
use phalanx_launcher_core::simulate::{
    Ask, Cluster, Demand, Job, Outcome, POLICIES, Pattern, Policy, Sample, Summary, Workload, policy,
    simulate,
};

pub(crate) use chart::svg;
pub(crate) use goodput::{Ask as GoodputAsk, forecast_json, forecast_table, goodput};
pub(crate) use json::json;
pub(crate) use table::table;

/// Bytes of a trace that are read: what the reader takes, and one more so that it can say that it is too much.
const MAX_TRACE: u64 = trace::MAX_BYTES as u64 + 1;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) traces: Vec<PathBuf>,
    pub(crate) policies: Vec<String>,
    /// Percent.
    pub(crate) loads: Vec<u32>,
    pub(crate) gpus_per_node: u32,
    pub(crate) days: u32,
    pub(crate) jobs: usize,
    pub(crate) seed: u64,
}

/// One trace under one load.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) trace: String,
    pub(crate) load_percent: u32,
    pub(crate) workload: Workload,
    /// In the order in which policies were asked for.
    pub(crate) runs: Vec<Run>,
}

/// What a policy made of it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) policy: String,
    pub(crate) summary: Summary,
    pub(crate) samples: Vec<Sample>,
    /// Time in the policy alone.
    pub(crate) choosing: Duration,
}

impl Run {
    pub(crate) fn decisions_per_second(&self) -> f64 {
        self.summary.decisions as f64 / self.choosing.as_secs_f64().max(1e-9)
    }
}

/// Runs everything, as many at once as there are cores.
///
/// # Errors
/// Unknown policies, traces that cannot be read, loads that make no workload.
pub(crate) fn run(plan: &Plan, fabric: &Fabric) -> anyhow::Result<Vec<Case>> {
    let policies = policies(&plan.policies)?;
    let mut cases = Vec::new();
    for path in &plan.traces {
        let jobs = jobs(path)?;
        let trace = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        for load_percent in &plan.loads {
            let demand = Demand {
                load_percent: *load_percent,
                nodes: u32::try_from(fabric.nodes().len()).unwrap_or(u32::MAX),
                gpus_per_node: plan.gpus_per_node,
                measured: u64::from(plan.days) * 86_400,
                most: plan.jobs,
                seed: plan.seed,
            };
            let workload = Workload::new(&jobs, &demand)
                .with_context(|| format!("{} at a load of {load_percent} %", path.display()))?;
            cases.push(Case {
                trace: trace.clone(),
                load_percent: *load_percent,
                workload,
                runs: Vec::new(),
            });
        }
    }
    let tasks = cases.iter().enumerate().flat_map(|(at, _)| policies.iter().map(move |name| (at, *name)));
    let open = Mutex::new(tasks.collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let next = || open.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some((at, name)) = next() {
                    let run = one(plan, fabric, &cases[at].workload, name);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, run));
                }
            });
        }
    });
    let mut done: Vec<(usize, Run)> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(_, run)| policies.iter().position(|name| *name == run.policy));
    for (at, run) in done {
        cases[at].runs.push(run);
    }
    Ok(cases)
}

fn one(plan: &Plan, fabric: &Fabric, workload: &Workload, name: &str) -> Run {
    // Draws of the policy are none of the arrivals.
    let inner = policy(name, fabric, !plan.seed);
    let mut timed = Timed { inner, spent: Duration::ZERO };
    let outcome: Outcome = simulate(fabric, plan.gpus_per_node, workload, &mut timed);
    Run {
        policy: name.to_string(),
        summary: Summary::of(fabric, plan.gpus_per_node, &outcome),
        samples: outcome.samples,
        choosing: timed.spent,
    }
}

/// A policy under a stopwatch.
struct Timed {
    inner: Option<Box<dyn Policy>>,
    spent: Duration,
}

impl Policy for Timed {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let begun = Instant::now();
        let chosen = self.inner.as_mut()?.choose(cluster, ask);
        self.spent += begun.elapsed();
        chosen
    }

    fn order(&mut self, cluster: &Cluster<'_>, nodes: &[NodeRow], pattern: Pattern) -> Vec<NodeRow> {
        match &mut self.inner {
            Some(inner) => inner.order(cluster, nodes, pattern),
            None => nodes.to_vec(),
        }
    }
}

/// In the order of [`POLICIES`], each once.
fn policies(asked: &[String]) -> anyhow::Result<Vec<&'static str>> {
    if let Some(unknown) = asked.iter().find(|name| *name != "all" && !POLICIES.contains(&name.as_str())) {
        bail!("there is no policy {unknown}; there are all, {}", POLICIES.join(", "));
    }
    let is_asked = |name: &&str| asked.iter().any(|asked| asked == "all" || asked == name);
    Ok(POLICIES.into_iter().filter(is_asked).collect())
}

fn jobs(path: &Path) -> anyhow::Result<Vec<Job>> {
    use std::io::Read as _;
    let cannot = || format!("cannot read the trace {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(MAX_TRACE).read_to_end(&mut bytes).with_context(cannot)?;
    let jobs = trace::read(&bytes).with_context(cannot)?;
    let job = |job: trace::TraceJob| Job { submitted: job.submitted, duration: job.duration, gpus: job.gpus };
    Ok(jobs.into_iter().map(job).collect())
}
