//! The outcome for programs.

use phalanx_launcher_core::simulate::{Sample, Summary};
use serde_json::{Value, json};

use super::{Case, Run};

/// Everything, with units in the names.
pub(crate) fn json(cases: &[Case]) -> Value {
    json!({ "version": 1, "cases": cases.iter().map(case).collect::<Vec<_>>() })
}

fn case(case: &Case) -> Value {
    json!({
        "trace": case.trace,
        "loadPercent": case.load_percent,
        "copies": case.workload.copies,
        "stretchPermille": case.workload.stretch_permille,
        "warmUpSeconds": case.workload.warm_up,
        "measuredSeconds": case.workload.end - case.workload.warm_up,
        "jobsLeftOut": case.workload.too_large,
        "policies": case.runs.iter().map(run).collect::<Vec<_>>(),
    })
}

fn run(run: &Run) -> Value {
    let Summary { delay, levels, tiers, .. } = &run.summary;
    let summary = &run.summary;
    let tiers = tiers.iter().map(
        |(tier, gangs, gpu_hours)| json!({ "tier": tier.to_string(), "gangs": gangs, "gpuHours": gpu_hours }),
    );
    let levels = levels.iter().map(|level| {
        json!({
            "tier": level.tier.to_string(),
            "largestGangNodes": level.largest,
            "possibleNodes": level.possible,
            "fragmentation": level.fragmentation(),
        })
    });
    json!({
        "policy": run.policy,
        "gangs": summary.gangs,
        "gangsOfSeveralNodes": summary.wide,
        "gpuHours": summary.gpu_hours,
        "gpuHoursOfSeveralNodes": summary.wide_gpu_hours,
        "ringCost": summary.ring,
        "gridCost": summary.grid,
        "leavesPerGang": summary.leaves,
        "tiers": tiers.collect::<Vec<_>>(),
        "delaySeconds": {
            "mean": delay.mean,
            "meanOfSeveralNodes": delay.wide,
            "median": delay.median,
            "p99": delay.p99,
            "most": delay.most,
            "meanOfHalves": delay.halves,
        },
        "utilisation": summary.utilisation,
        "strandedShare": summary.stranded,
        "freeNodes": summary.free_nodes,
        "fragmentation": levels.collect::<Vec<_>>(),
        "neverStarted": summary.stuck,
        "decisions": summary.decisions,
        "decisionsPerSecond": run.decisions_per_second(),
        "series": series(&run.samples),
    })
}

/// Column by column: a row for each of hundreds of samples would be mostly names.
fn series(samples: &[Sample]) -> Value {
    let column = |of: fn(&Sample) -> u64| samples.iter().map(of).collect::<Vec<_>>();
    json!({
        "atSeconds": column(|sample| sample.at),
        "queued": column(|sample| sample.queued as u64),
        "headWaitsSeconds": column(|sample| sample.head_waits),
        "freeGpus": column(|sample| sample.free_gpus),
        "freeNodes": column(|sample| u64::from(sample.free_nodes)),
        "largestGangNodes": samples.iter().map(|sample| sample.largest.clone()).collect::<Vec<_>>(),
    })
}
