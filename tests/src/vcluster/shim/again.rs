//! Virtual ranks that start again in their generation.

use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::Rank;
use phalanx_common::report::RankExit;
use phalanx_common::time::Timestamp;
use phalanx_worker_core::shim::ShimReport;

use super::{Around, Shim, ShimPod, State, Timer};
use crate::vcluster::script::RankScript;

impl Shim {
    /// What this start of the rank does.
    pub(super) fn script(&self, rank: Rank, around: &Around<'_>) -> RankScript {
        let pod = self.pod.as_ref();
        let generation = pod.map(|pod| pod.plan.generation).unwrap_or_default();
        let attempt = pod.and_then(|pod| pod.attempts.get(&rank).copied()).unwrap_or(0);
        around.scripts.attempt(&self.job, generation, rank, attempt)
    }

    pub(super) fn on_restart(
        &mut self,
        ranks: Vec<(Rank, u32)>,
        delay: Duration,
        grace: Duration,
        around: &mut Around<'_>,
    ) {
        let base = if self.suspended { Timestamp::default() } else { around.now };
        let with: Vec<Rank> = ranks.iter().map(|(rank, _)| *rank).collect();
        for (rank, attempt) in ranks {
            let Some(pod) = self.pod.as_mut().filter(|pod| pod.state == State::Released && !pod.stop) else {
                return;
            };
            let known = pod.attempts.get(&rank).copied().unwrap_or(0);
            if attempt <= known || !pod.plan.in_place {
                around.broken.push(format!("restart of rank {rank} as {attempt}, it is at {known}"));
                continue;
            }
            pod.again.insert(rank, (attempt, with.clone()));
            pod.timers.insert(Timer::Again(rank), base + delay);
            if around.processes.live_ranks(&self.job, pod.plan.generation).contains(&rank) {
                pod.timers.insert(Timer::End(rank), base + grace);
                self.ask_to_end(rank, false, around);
            }
        }
    }

    /// Its wait is over: it starts if nothing of it is alive, and else once that has ended.
    pub(super) fn start_again(&mut self, rank: Rank, around: &mut Around<'_>) {
        let Some(pod) =
            self.pod.as_mut().filter(|pod| !pod.stop && !pod.timers.contains_key(&Timer::Again(rank)))
        else {
            return;
        };
        let generation = pod.plan.generation;
        let live = around.processes.live_ranks(&self.job, generation);
        let Some((_, with)) = pod.again.get(&rank).filter(|_| !live.contains(&rank)) else { return };
        // None of those that were ordered together starts before all of them are gone.
        let alive = |other: &Rank| pod.again.contains_key(other) && live.contains(other);
        if with.iter().any(alive) {
            return;
        }
        let together: Vec<Rank> = with.iter().copied().filter(|other| *other != rank).collect();
        self.start_now(rank, around);
        for other in together {
            self.start_again(other, around);
        }
    }

    fn start_now(&mut self, rank: Rank, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let generation = pod.plan.generation;
        let Some((attempt, _)) = pod.again.remove(&rank) else { return };
        if !pod.failed.remove(&rank) {
            pod.left += 1;
        }
        pod.attempts.insert(rank, attempt);
        if self.script(rank, around).cannot_start_again {
            return self.fail_again(rank, attempt, around);
        }
        let Some(pod) = self.pod.as_mut() else { return };
        let pid = around.processes.start_rank(&self.job, generation, rank);
        around.reports.push(ShimReport::Restarted { generation, rank, attempt, pid });
        let begins = pod.started;
        if begins {
            self.begin_rank(rank, around);
            self.begin_checks(rank, around);
        }
    }

    /// It ends as the start that it did not come to, and its pod waits for what follows.
    fn fail_again(&mut self, rank: Rank, attempt: u32, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        around.met.push("a rank could not be started again");
        pod.failed.insert(rank);
        let exit = RankExit { attempt, ..RankExit::new(rank, ExitStatus::Code(126), around.now) };
        around.reports.push(ShimReport::Exited { generation: pod.plan.generation, exit });
    }

    /// What a rank does from the start of its program on.
    pub(super) fn begin_rank(&mut self, rank: Rank, around: &mut Around<'_>) {
        let script = self.script(rank, around);
        let Some(pod) = self.pod.as_mut() else { return };
        if let Some(runs) = script.runs {
            pod.timers.insert(Timer::Exit(rank), around.now + around.takes(runs));
        }
        if let Some(hangs) = script.hangs {
            pod.timers.insert(Timer::Hang(rank), around.now + hangs);
        }
        for _ in 0..script.grandchildren {
            around.processes.add_grandchild(&self.job, pod.plan.generation);
        }
    }

    /// A rank has ended: whether its pod waits for what follows.
    pub(super) fn is_awaited(&mut self, rank: Rank, status: ExitStatus) -> bool {
        let runs = |pod: &ShimPod| pod.plan.in_place && pod.state == State::Released && !pod.stop;
        let Some(pod) = self.pod.as_mut().filter(|pod| runs(pod)) else { return false };
        let awaited = !status.success() || pod.again.contains_key(&rank);
        if awaited {
            pod.failed.insert(rank);
        }
        awaited
    }

    /// The pod is to end: nothing starts again.
    pub(super) fn give_up_again(&mut self) {
        let Some(pod) = self.pod.as_mut() else { return };
        pod.again.clear();
        pod.timers.retain(|timer, _| !matches!(timer, Timer::Again(_)));
        let failed = std::mem::take(&mut pod.failed).len();
        pod.left = pod.left.saturating_sub(u32::try_from(failed).unwrap_or(u32::MAX));
    }
}
