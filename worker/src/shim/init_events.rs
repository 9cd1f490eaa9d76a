//! What the shim does about init containers and sidecars.

use std::time::{Duration, Instant};

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::Generation;
use phalanx_worker_core::shim::{ShimPlan, ShimReport};

use super::init::Turned;
use super::output::Drained;
use super::pod_events::Shim;
use super::prepare::make_ranks;
use super::refusal::Refusal;
use super::run::wall_clock;

/// A generation whose init containers run.
pub(super) struct Pending {
    pub(super) plan: ShimPlan,
    pub(super) interpreter: Option<String>,
}

impl Shim {
    /// Goes on with what comes before the ranks; once that is done, there are ranks.
    pub(super) fn turn_inits(&mut self, now: Instant) {
        let turned = match &mut self.pod {
            Some(pod) => pod.turn_inits(now, &self.poll),
            None => return,
        };
        match turned {
            Turned::Waits => {}
            Turned::Failed(why) => self.give_up(why),
            Turned::Done => self.make_ranks(now),
        }
        self.children |= self
            .pod
            .as_ref()
            .and_then(|pod| pod.inits.as_ref())
            .is_some_and(|inits| !inits.pids().is_empty());
    }

    fn make_ranks(&mut self, now: Instant) {
        let (Some(pod), Some(Pending { mut plan, interpreter })) = (&mut self.pod, self.pending.take())
        else {
            return;
        };
        let ended = pod.inits.iter().flat_map(|inits| inits.ended_well());
        self.init_done.extend(ended.filter(|_| plan.init_once).map(str::to_owned));
        let made = make_ranks(pod, &mut plan, &self.files, now);
        match made.and_then(|()| self.watch_pod()) {
            Ok(()) => self.prepared(plan.generation, interpreter),
            Err(why) => self.give_up(why),
        }
    }

    /// There will be no ranks: once nothing of it is left, that is told.
    fn give_up(&mut self, why: Refusal) {
        self.pending = None;
        let Some(pod) = &mut self.pod else { return };
        if !pod.life.is_stopping() {
            pod.refusal = Some(why);
            self.stop(Duration::ZERO);
        }
    }

    /// Output of an init container.
    pub(super) fn on_init_output(&mut self, number: usize, stream: usize, now: Instant) {
        let inits = self.pod.as_mut().and_then(|pod| pod.inits.as_mut());
        let Some(output) = inits.and_then(|inits| inits.stream(number, stream)) else { return };
        if output.read_turn(&mut self.buffer, now, wall_clock()) == Drained::End {
            if let Some(pipe) = output.pipe() {
                self.poll.remove(pipe);
            }
            output.close_pipe();
        }
    }

    /// A child was reaped; false if it is no init container, and nothing that asks one.
    pub(super) fn on_init_reaped(&mut self, pid: i32, status: ExitStatus, now: Instant) -> bool {
        let inits = self.pod.as_mut().and_then(|pod| pod.inits.as_mut());
        inits.is_some_and(|inits| inits.on_reaped(pid, status, (now, &mut self.buffer), &self.poll))
    }

    pub(super) fn prepared(&mut self, generation: Generation, interpreter: Option<String>) {
        let told = self.pod.as_mut().map(super::pod::Pod::told).unwrap_or_default();
        told.into_iter().for_each(|notice| self.report(&ShimReport::Notice { notice }));
        self.report(&ShimReport::Prepared { generation, interpreter });
    }
}
