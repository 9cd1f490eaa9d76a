//! What comes before virtual ranks, and at their ends: init containers, hangs, preStop hooks.

use std::time::Duration;

use phalanx_common::health::{ProbeWord, Question, RankHealth};
use phalanx_common::id::Rank;
use phalanx_common::report::{Notice, PrepareFailure, PrepareFailureKind};
use phalanx_common::spec::Hook;
use phalanx_worker_core::shim::{ShimRank, ShimReport};

use super::{Around, KILL_TAKES, Shim, State, Timer};
use crate::vcluster::machine::Processes;
use crate::vcluster::script::InitScript;

/// Between the stop signal that came after a preStop hook and SIGKILL, at least.
const AFTER_HOOK: Duration = Duration::from_secs(2);

impl Shim {
    /// Starts the next init container that is to run; without one left, holds the ranks.
    pub(super) fn begin_init(&mut self, around: &mut Around<'_>) {
        let script = self.init_script(around);
        let Some(pod) = self.pod.as_mut() else { return };
        match pod.plan.init.get(pod.init) {
            None => self.on_prepare_done(around),
            Some(init) if self.init_done.contains(&init.name) => {
                around.met.push("an init container was not run again");
                pod.init += 1;
                self.begin_init(around);
            }
            Some(init) => {
                let (name, begun, all) = (&init.name, pod.init + 1, pod.plan.init.len());
                let waits = ProbeWord { probe: Question::Init, message: format!("{name}, {begun} of {all}") };
                let waits = |rank: &ShimRank| RankHealth {
                    rank: rank.rank,
                    ready: false,
                    waits: Some(waits.clone()),
                    status: None,
                };
                let ranks = pod.plan.ranks.iter().map(waits).collect();
                around.reports.push(ShimReport::Health { generation: pod.plan.generation, ranks });
                around.processes.add_init(&self.job, pod.plan.generation);
                if let Some(takes) = script.takes {
                    pod.timers.insert(Timer::Init, around.now + around.takes(takes));
                }
            }
        }
    }

    fn init_script(&self, around: &Around<'_>) -> InitScript {
        let Some(pod) = &self.pod else { return InitScript::default() };
        let script = around.scripts.pod(&self.job, pod.plan.generation, &self.node);
        script.init.get(pod.init).copied().unwrap_or_default()
    }

    pub(super) fn on_init_done(&mut self, around: &mut Around<'_>) {
        let script = self.init_script(around);
        let Some(pod) = self.pod.as_mut() else { return };
        around.processes.end_init(&self.job, pod.plan.generation);
        if pod.stop {
            return self.over(around);
        }
        if !script.good {
            return self.refuse(PrepareFailureKind::Init, around);
        }
        if let Some(init) = pod.plan.init.get(pod.init).filter(|_| pod.plan.init_once) {
            self.init_done.insert(init.name.clone());
        }
        pod.init += 1;
        self.begin_init(around);
    }

    /// Stop signal, grace, SIGKILL for the init container that runs.
    pub(super) fn stop_init(&mut self, grace: Duration, around: &mut Around<'_>) {
        let script = self.init_script(around);
        let Some(pod) = self.pod.as_mut() else { return };
        let killed = around.now + grace + around.takes(KILL_TAKES);
        let heeds = script.heeds_term.filter(|_| !pod.stop).map(|after| around.now + around.takes(after));
        let gone = heeds.map_or(killed, |heeds| heeds.min(killed));
        let known = pod.timers.get(&Timer::InitGone).copied();
        pod.timers.insert(Timer::InitGone, known.map_or(gone, |known| known.min(gone)));
        if !std::mem::replace(&mut pod.stop, true) {
            around.met.push("a stop ended an init container");
        }
    }

    pub(super) fn on_init_gone(&mut self, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        around.processes.end_init(&self.job, pod.plan.generation);
        self.over(around);
    }

    fn refuse(&mut self, kind: PrepareFailureKind, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let generation = pod.plan.generation;
        pod.state = State::Refused;
        let program = pod.plan.command.first().map_or("", String::as_str);
        let message = match kind {
            PrepareFailureKind::CommandNotFound => {
                format!("{program}: command not found in PATH (/usr/bin)")
            }
            PrepareFailureKind::CommandNotExecutable => {
                format!("/usr/bin/{program}: cannot be executed: Permission denied")
            }
            PrepareFailureKind::Init => {
                let name = pod.plan.init.get(pod.init).map_or("", |init| init.name.as_str());
                format!("the init container {name}: exit code 1")
            }
            PrepareFailureKind::Node => "cannot write logs to /logs: No space left on device".to_owned(),
            PrepareFailureKind::PortTaken(port) => format!("port {port} is taken"),
            PrepareFailureKind::Job => "a secret of the job is not there any more".to_owned(),
        };
        let reason = PrepareFailure { kind, message };
        around.reports.push(ShimReport::NotPrepared { generation, reason });
    }

    /// Checks, and holds the ranks.
    fn on_prepare_done(&mut self, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let generation = pod.plan.generation;
        let taken = pod
            .plan
            .ports
            .iter()
            .find(|port| around.foreign_ports.contains(port) || around.processes.port_is_bound(**port))
            .map(|port| PrepareFailureKind::PortTaken(*port));
        let fails = around.scripts.pod(&self.job, generation, &self.node).fails.or(taken);
        if let Some(kind) = fails {
            return self.refuse(kind, around);
        }
        pod.state = State::Prepared;
        let ranks: Vec<Rank> = pod.plan.ranks.iter().map(|rank| rank.rank).collect();
        around.processes.hold(&self.job, generation, &ranks, &pod.plan.ports);
        around.prepared.push((self.job.clone(), generation));
        around.reports.push(ShimReport::Prepared { generation, interpreter: None });
    }

    /// Whether a rank of it makes no progress any more.
    pub(crate) fn hangs(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| !pod.hung.is_empty())
    }

    /// Its ranks whose programs run.
    pub(crate) fn running(&self, processes: &Processes) -> Vec<Rank> {
        let pod = self.pod.as_ref().filter(|pod| pod.started && pod.state == State::Released);
        pod.map(|pod| processes.live_ranks(&self.job, pod.plan.generation)).unwrap_or_default()
    }

    /// From here on the rank makes no progress, and does not end by itself.
    pub(crate) fn hang(&mut self, rank: Rank) {
        let Some(pod) = self.pod.as_mut() else { return };
        pod.timers.remove(&Timer::Exit(rank));
        pod.hung.insert(rank);
    }

    /// A preStop hook if it is wanted and there is one, and the stop signal.
    pub(super) fn ask_to_end(&mut self, rank: Rank, pre_stop: bool, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let hook = pod.plan.pre_stop.as_ref().filter(|_| pre_stop && pod.started);
        let Some(hook) = hook.filter(|_| !pod.beginning.contains(&rank)).cloned() else {
            return self.signal(rank, around);
        };
        if pod.hooks.insert(rank) {
            around.met.push("a preStop hook put off a stop signal");
            let hung = pod.hung.contains(&rank);
            let takes = match hook {
                Hook::Sleep(time) => Some(time),
                _ => self.script(rank, around).pre_stop.filter(|_| !hung).map(|takes| around.takes(takes)),
            };
            if let (Some(pod), Some(takes)) = (&mut self.pod, takes) {
                pod.timers.insert(Timer::Hook(rank), around.now + takes);
            }
        }
    }

    pub(super) fn signal(&mut self, rank: Rank, around: &mut Around<'_>) {
        let heeds_term = self.script(rank, around).heeds_term;
        let Some(pod) = self.pod.as_mut() else { return };
        if let Some(after) = heeds_term {
            pod.timers.insert(Timer::Term(rank), around.now + around.takes(after));
        }
    }

    pub(super) fn after_hook(&mut self, rank: Rank, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut().filter(|pod| pod.hooks.contains(&rank)) else { return };
        pod.hooks.remove(&rank);
        // The rank has a moment at least.
        if let Some(kill) = pod.timers.get_mut(&Timer::Kill) {
            *kill = (around.now + AFTER_HOOK).max(*kill);
        }
        self.signal(rank, around);
    }

    /// SIGKILL, unless a hook had all of the grace: then its rank has a moment.
    pub(super) fn on_grace_over(&mut self, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        if pod.hooks.is_empty() {
            return self.kill(around);
        }
        around.met.push("a preStop hook outlasted the grace");
        pod.timers.insert(Timer::Kill, around.now + AFTER_HOOK);
        let hooks: Vec<Rank> = pod.hooks.iter().copied().collect();
        for rank in hooks {
            self.after_hook(rank, around);
            let why = "it was not done within the grace".to_owned();
            around.reports.push(ShimReport::Notice { notice: Notice::PreStopFailed { rank, why } });
        }
    }
}
