//! The jobs of a seed.

use std::time::Duration;

use phalanx_common::id::JobId;
use phalanx_common::spec::{
    ExitCodes, FailureAction, FailureReason, FailureRule, Fencing, Hook, InitContainer, JobSpec, Lifecycle,
    Lifetime, Recovery, RestartPolicy, RestartScope, SuccessRule,
};

use super::rng::Rng;
use super::script::{MOST_INIT, seeded_probes};
use super::seeded::job_spec;

/// A job of this seed.
pub(crate) fn seeded_job(seed: u64, job: &JobId, rng: &mut Rng) -> JobSpec {
    let mut spec = job_spec(*rng.pick(&[1, 1, 2, 3]).unwrap_or(&1), *rng.pick(&[1, 2, 3]).unwrap_or(&1));
    spec.lease = Duration::from_secs(rng.between(20, 60));
    spec.unreachable = Duration::from_secs(rng.between(8, 30));
    spec.fencing = if rng.chance(40) { Fencing::Strict } else { Fencing::Lenient };
    spec.start_timeout = Duration::from_secs(rng.between(5, 60));
    spec.termination_grace = rng.millis(0, 10_000);
    spec.max_restarts = *rng.pick(&[0, 1, 3, 8]).unwrap_or(&0);
    spec.recovery = recovery(rng, spec.max_restarts);
    in_place(&mut Rng::fork(seed, &format!("{job}/in place")), &mut spec.recovery);
    spec.lifetime = lifetime(rng, spec.world_size(), spec.recovery.policy);
    if Rng::fork(seed, &format!("{job}/probed")).chance(40) {
        spec.probes = seeded_probes(&mut Rng::fork(seed, &format!("{job}/probes")));
    }
    spec.lifecycle = lifecycle(&mut Rng::fork(seed, &format!("{job}/lifecycle")));
    if Rng::fork(seed, &format!("{job}/postStart")).chance(20) {
        spec.lifecycle.post_start = Some(Hook::Exec { command: vec!["true".to_owned()] });
    }
    spec
}

/// Hooks and init containers, of which some seeds have some.
fn lifecycle(rng: &mut Rng) -> Lifecycle {
    let command = || vec!["true".to_owned()];
    let pre_stop = rng.chance(30).then(|| Hook::Exec { command: command() });
    let count = if rng.chance(30) { rng.between(1, MOST_INIT) } else { 0 };
    let init = (0..count).map(|number| InitContainer {
        name: format!("init{number}"),
        command: command(),
        env: [].into(),
        sidecar: false,
        startup: None,
    });
    Lifecycle { pre_stop, init: init.collect(), init_once: rng.chance(50), ..Lifecycle::default() }
}

/// Deadlines and rules of success, of which some seeds have some.
fn lifetime(rng: &mut Rng, world: u32, policy: RestartPolicy) -> Lifetime {
    let mut lifetime = Lifetime::default();
    if rng.chance(20) {
        lifetime.active_deadline = Some(Duration::from_secs(rng.between(5, 200)));
    }
    if rng.chance(20) {
        lifetime.ttl_after_finished = Some(rng.millis(0, 120_000));
    }
    if rng.chance(20) && policy != RestartPolicy::Always {
        let rank = u32::try_from(rng.between(0, u64::from(world) - 1)).unwrap_or(0);
        let ranks = if rng.chance(50) { vec![(rank, rank)] } else { Vec::new() };
        lifetime.success.push(SuccessRule { ranks, count: Some(1) });
    }
    lifetime
}

/// Restarts of single ranks and pods, of which some seeds have some.
fn in_place(rng: &mut Rng, recovery: &mut Recovery) {
    if recovery.policy == RestartPolicy::Never {
        return;
    }
    let gang = RestartScope::Gang;
    recovery.scope = *rng.pick(&[gang, gang, RestartScope::Rank, RestartScope::Pod]).unwrap_or(&gang);
    for rule in recovery.rules.iter_mut().filter(|rule| rule.reasons.is_empty()) {
        if rng.chance(30) {
            rule.action = if rng.chance(50) { FailureAction::RestartRank } else { FailureAction::RestartPod };
        }
    }
    for step in [&mut recovery.rank, &mut recovery.pod] {
        step.max = *rng.pick(&[None, None, Some(0), Some(2)]).unwrap_or(&None);
        if rng.chance(30) {
            step.window = Some(Duration::from_secs(rng.between(5, 60)));
        }
    }
}

/// Policies, windows and rules, of which each seed has some.
fn recovery(rng: &mut Rng, max_restarts: u32) -> Recovery {
    let mut recovery = Recovery::default();
    if max_restarts == 0 && rng.chance(30) {
        recovery.policy = RestartPolicy::Never;
        return recovery;
    }
    if rng.chance(10) {
        recovery.policy = RestartPolicy::Always;
    }
    if rng.chance(30) {
        recovery.window = Some(Duration::from_secs(rng.between(5, 120)));
    }
    recovery.no_progress = *rng.pick(&[0, 1, 3]).unwrap_or(&3);
    recovery.replace_node = *rng.pick(&[None, None, Some(0), Some(1)]).unwrap_or(&None);
    let actions = [
        FailureAction::RestartGang,
        FailureAction::ReplaceNode,
        FailureAction::FailJob,
        FailureAction::Ignore,
    ];
    for _ in 0..rng.between(0, 2) {
        let code = u8::try_from(rng.between(1, 3)).unwrap_or(1);
        let codes = [code].into();
        recovery.rules.push(FailureRule {
            exit_codes: Some(if rng.chance(80) { ExitCodes::In(codes) } else { ExitCodes::NotIn(codes) }),
            signals: if rng.chance(30) { [9, 11].into() } else { [].into() },
            reasons: if rng.chance(30) {
                [FailureReason::NodeLost, FailureReason::InitFailed].into()
            } else {
                [].into()
            },
            action: *rng.pick(&actions).unwrap_or(&FailureAction::RestartGang),
        });
    }
    recovery
}
