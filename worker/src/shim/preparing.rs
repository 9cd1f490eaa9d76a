//! How the shim prepares a generation: what came with the job, then its init containers and sidecars, then its ranks.

use std::path::Path;
use std::time::{Duration, Instant};

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::RankHealth;
use phalanx_common::id::Generation;
use phalanx_worker_core::shim::{ShimPlan, ShimRank, ShimReport};

use super::again::Again;
use super::init::{Inits, Turned};
use super::output::Drained;
use super::pod_events::Shim;
use super::prepare::{make_ranks, prepare};
use super::refusal::Refusal;
use super::run::{Source, wall_clock};
use super::unpack::unpack;
use super::virtual_env;

/// A generation whose init containers run.
pub(super) struct Pending {
    pub(super) plan: ShimPlan,
    pub(super) interpreter: Option<String>,
}

/// What came with the job: its directory, and its Python environment.
fn bring_along(plan: &mut ShimPlan) -> Result<Option<String>, Refusal> {
    if let Some(archive) = &plan.ship {
        let code = unpack(Path::new(archive), Path::new(&plan.job_dir))?;
        plan.working_dir.get_or_insert(code.to_string_lossy().into_owned());
    }
    virtual_env::activate(plan)
}

impl Shim {
    pub(super) fn on_prepare(&mut self, mut plan: ShimPlan, now: Instant) {
        let generation = plan.generation;
        let interpreter = match bring_along(&mut plan) {
            Ok(interpreter) => interpreter,
            Err(refusal) => {
                return self.report(&ShimReport::NotPrepared { generation, reason: refusal.into() });
            }
        };
        // What the job sets itself stands behind it, and wins.
        plan.env.splice(0..0, std::mem::take(&mut plan.secrets.0));
        self.files.make_room(plan.ranks.len() + plan.init.len());
        // As it is before this attempt's own sockets are in it.
        let again = plan.in_place.then(|| Again::new(plan.clone()));
        let prepared = match &self.pod {
            Some(pod) => Err(Refusal::Busy { alive: pod.generation.0 }),
            None => {
                let once = plan.init_once;
                let done = |name: &str| once && self.init_done.contains(name);
                prepare(&mut plan, &mut self.kept, &self.files, &done, now)
            }
        };
        let prepared = prepared.map(|mut pod| {
            pod.again = again;
            pod
        });
        let refused = match prepared {
            Ok(pod) if pod.inits.is_some() => {
                self.pod = Some(pod);
                self.pending = Some(Pending { plan, interpreter });
                return;
            }
            Ok(pod) => {
                self.children = pod.alive() > 0;
                self.pod = Some(pod);
                match self.watch_pod() {
                    Ok(()) => return self.prepared(generation, interpreter),
                    Err(refusal) => {
                        self.pod = None;
                        refusal
                    }
                }
            }
            Err(refusal) => refusal,
        };
        self.report(&ShimReport::NotPrepared { generation, reason: refused.into() });
    }

    /// Has the loop hear all of a prepared pod.
    fn watch_pod(&self) -> Result<(), Refusal> {
        let Some(pod) = &self.pod else { return Ok(()) };
        let refuse = |errno: nix::Error| Refusal::Start { rank: 0, what: "epoll", error: errno.into() };
        if let Some(errors) = pod.errors() {
            self.poll.add(errors, Source::ExecErrors).map_err(refuse)?;
        }
        if let Some(probes) = &pod.probes {
            self.poll.add(probes.as_fd(), Source::Probes).map_err(refuse)?;
        }
        pod.checks.add_to(&self.poll).map_err(refuse)?;
        for (index, alarm) in pod.alarms() {
            self.poll.add(alarm, Source::Memory(index)).map_err(refuse)?;
        }
        for (index, rank) in pod.ranks().iter().enumerate() {
            for (at, stream) in rank.streams.iter().enumerate() {
                if let Some(pipe) = stream.pipe() {
                    self.poll.add(pipe, Source::Output(index, at)).map_err(refuse)?;
                }
            }
        }
        Ok(())
    }

    /// Goes on with what comes before the ranks; once that is done, there are ranks.
    pub(super) fn turn_inits(&mut self, now: Instant) {
        let turned = match &mut self.pod {
            Some(pod) => pod.turn_inits(now, &self.poll),
            None => return,
        };
        match turned {
            Turned::Waits => self.tell_of_inits(),
            Turned::Failed(why) => self.give_up(why),
            Turned::Done => self.make_ranks(now),
        }
        self.children |= self
            .pod
            .as_ref()
            .and_then(|pod| pod.inits.as_ref())
            .is_some_and(|inits| !inits.pids().is_empty());
    }

    /// Which init container the ranks wait for.
    fn tell_of_inits(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        let Some(waits) = pod.inits.as_mut().and_then(Inits::news) else { return };
        let generation = pod.generation;
        let Some(Pending { plan, .. }) = &self.pending else { return };
        let waits = |rank: &ShimRank| RankHealth {
            rank: rank.rank,
            ready: false,
            waits: Some(waits.clone()),
            status: None,
        };
        let ranks = plan.ranks.iter().map(waits).collect();
        self.report(&ShimReport::Health { generation, ranks });
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

    fn prepared(&mut self, generation: Generation, interpreter: Option<String>) {
        let told = self.pod.as_mut().map(super::pod::Pod::told).unwrap_or_default();
        told.into_iter().for_each(|notice| self.report(&ShimReport::Notice { notice }));
        self.report(&ShimReport::Prepared { generation, interpreter });
    }
}
