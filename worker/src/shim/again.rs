//! Ranks that start again in their generation.
//!
//! ```text
//! alive --told to make way--> ended -- the wait is over, nothing is left of it --> forked, released --> alive
//! ```
//! What one that ended left behind is ended first: two starts of a rank never run at the same time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::Rank;
use phalanx_common::report::{PrepareFailure, PrepareFailureKind};
use phalanx_worker_core::shim::{ShimPlan, ShimReport};

use super::guardian::Guardian;
use super::notify;
use super::pod::Pod;
use super::pod_events::Shim;
use super::prepare::start_again;
use super::refusal::Refusal;
use super::run::{Source, wall_clock};

/// Says to PyTorch how often it was started.
const RESTART_COUNT: &str = "TORCHELASTIC_RESTART_COUNT";
/// Between two rounds of SIGKILL to what a rank left behind.
const ROUND: Duration = Duration::from_millis(20);
/// What does not die in this time waits in the kernel, and can do no harm.
const GIVE_UP: Duration = Duration::from_secs(5);

/// What starts again, and how.
pub(super) struct Again {
    /// That of the generation, as it came.
    plan: ShimPlan,
    due: BTreeMap<usize, Due>,
    /// What was ordered while the pod was suspended: nobody is told to make way before it goes on.
    put_off: Vec<Ordered>,
}

/// Ranks that are to start again together, each as this attempt.
#[derive(Clone)]
struct Ordered {
    ranks: Vec<(Rank, u32)>,
    /// Not before this.
    at: Instant,
    /// Of those that live.
    grace: Duration,
}

struct Due {
    attempt: u32,
    /// Not before this.
    at: Instant,
    /// Something may be left of it until then.
    give_up: Option<Instant>,
    /// It has ended, and nothing is left of it.
    gone: bool,
    /// None of these starts before all of them are gone: they were ordered together.
    with: Rc<[usize]>,
}

impl Again {
    pub(super) fn new(plan: ShimPlan) -> Again {
        Again { plan, due: BTreeMap::new(), put_off: Vec::new() }
    }

    pub(super) fn is_due(&self, index: usize) -> bool {
        self.due.contains_key(&index)
    }

    fn index_of(&self, rank: Rank) -> Option<usize> {
        self.plan.ranks.iter().position(|known| known.rank == rank)
    }

    /// The plan with what is this attempt's own.
    fn plan_of(&self, index: usize, attempt: u32) -> ShimPlan {
        let mut plan = self.plan.clone();
        if let Some(rank) = plan.ranks.get_mut(index) {
            let own = rank.env.iter().chain(&plan.env).find(|(name, _)| name == RESTART_COUNT);
            let count = own.and_then(|(_, count)| count.parse::<u32>().ok());
            if let Some(count) = count {
                rank.env.retain(|(name, _)| name != RESTART_COUNT);
                rank.env.push((RESTART_COUNT.to_owned(), count.saturating_add(attempt).to_string()));
            }
        }
        plan
    }
}

impl Pod {
    /// When something is to be done about a rank that has made way.
    pub(super) fn again_deadline(&self) -> Option<Instant> {
        self.due_again().filter(|(_, due)| !due.gone).map(|(_, due)| due.at).min()
    }

    /// What waits for nothing but its time. One that could not be executed tells of it on a pipe that is shared.
    fn due_again(&self) -> impl Iterator<Item = (usize, &Due)> {
        let held_up = self.life.is_stopping() || self.life.is_suspended() || self.errors().is_some();
        let again = self.again.iter().filter(move |_| !held_up).flat_map(|again| &again.due);
        let ended = |index: usize| self.ranks().get(index).is_some_and(|rank| !rank.is_alive());
        again.map(|(index, due)| (*index, due)).filter(move |(index, _)| ended(*index))
    }

    /// The next rank to start, of which nothing is left, and its attempt.
    fn next_again(&mut self, guardian: Option<i32>, now: Instant) -> Option<(usize, u32)> {
        if self.life.is_stopping() {
            self.again.iter_mut().for_each(|again| (again.due, again.put_off) = Default::default());
        }
        let due = self.due_again().filter(|(_, due)| !due.gone && due.at <= now);
        let due: Vec<usize> = due.map(|(index, _)| index).collect();
        for index in due {
            let left = self.sweep_after(index, guardian);
            let due = self.again.as_mut()?.due.get_mut(&index)?;
            let give_up = *due.give_up.get_or_insert(now + GIVE_UP);
            due.gone = !left || now >= give_up;
            if !due.gone {
                due.at = now + ROUND;
            }
        }
        let all = &self.again.as_ref()?.due;
        // Of those that were ordered together, who is not here any more has started.
        let are_gone = |due: &Due| due.with.iter().all(|other| all.get(other).is_none_or(|due| due.gone));
        let next = self.due_again().find(|(_, due)| due.gone && are_gone(due));
        next.map(|(index, due)| (index, due.attempt))
    }
}

impl Shim {
    pub(super) fn on_restart(&mut self, ranks: &[(Rank, u32)], at: Instant, grace: Duration, now: Instant) {
        let Some(pod) = self.pod.as_mut().filter(|pod| !pod.life.is_stopping() && !pod.life.is_held()) else {
            return;
        };
        if pod.life.is_suspended() {
            let put_off = Ordered { ranks: ranks.to_vec(), at, grace };
            return pod.again.iter_mut().for_each(|again| again.put_off.push(put_off.clone()));
        }
        let Some(again) = &pod.again else { return };
        let indices = ranks.iter().filter_map(|(rank, attempt)| Some((again.index_of(*rank)?, *attempt)));
        let known = |index: usize| pod.ranks().get(index).map_or(u32::MAX, |process| process.attempt);
        let new: Vec<(usize, u32)> = indices.filter(|(index, attempt)| known(*index) < *attempt).collect();
        let with: Rc<[usize]> = new.iter().map(|(index, _)| *index).collect();
        for (index, attempt) in new {
            if let Some(again) = &mut pod.again {
                let with = Rc::clone(&with);
                again.due.insert(index, Due { attempt, at, give_up: None, gone: false, with });
            }
            pod.make_way(index, grace, now);
        }
    }

    /// The pod goes on: what was ordered meanwhile is done now.
    pub(super) fn catch_up_restarts(&mut self, now: Instant) {
        let again = self.pod.as_mut().and_then(|pod| pod.again.as_mut());
        let put_off = again.map(|again| std::mem::take(&mut again.put_off)).unwrap_or_default();
        for Ordered { ranks, at, grace } in put_off {
            self.on_restart(&ranks, at.max(now), grace, now);
        }
    }

    /// Starts what is due and has made way.
    pub(super) fn turn_again(&mut self, now: Instant) {
        let guardian = self.kept.guardian.as_ref().map(Guardian::pid);
        while let Some((index, attempt)) = self.pod.as_mut().and_then(|pod| pod.next_again(guardian, now)) {
            // The end of the last one is told first.
            self.report_exits();
            self.start(index, attempt, now);
        }
    }

    fn start(&mut self, index: usize, attempt: u32, now: Instant) {
        let Some(pod) = &mut self.pod else { return };
        let Some(again) = &mut pod.again else { return };
        again.due.remove(&index);
        let mut plan = again.plan_of(index, attempt);
        // Old pipes leave the epoll before their numbers go to others.
        for stream in pod.ranks()[index].streams.iter() {
            if let Some(pipe) = stream.pipe() {
                self.poll.remove(pipe);
            }
        }
        pod.expect_exec();
        let started = notify::open_one(&mut plan, index).and_then(|socket| {
            if let (Some(socket), Some(rank)) = (socket, plan.ranks.get(index)) {
                pod.checks.renew(index, rank, socket, &self.poll);
            }
            start_again(pod, &plan, index, &self.files)
        });
        let process = &mut pod.ranks_mut()[index];
        process.attempt = attempt;
        let (rank, pid) = (process.rank, process.pid as u32);
        match started.and_then(|()| self.watch_rank(index)) {
            Ok(()) => {
                self.children = true;
                let Some(pod) = &self.pod else { return };
                let generation = pod.generation;
                self.report(&ShimReport::Restarted { generation, rank, attempt, pid });
            }
            Err(refusal) => self.fail_again(index, refusal, now),
        }
    }

    /// It counts as a rank that failed at its exec.
    fn fail_again(&mut self, index: usize, refusal: Refusal, now: Instant) {
        let PrepareFailure { kind, message } = refusal.into();
        let code = if kind == PrepareFailureKind::CommandNotFound { 127 } else { 126 };
        let why = format!("phalanx: the rank cannot be started again: {message}\n");
        let Some(pod) = &mut self.pod else { return };
        pod.parts_mut().errors = None;
        pod.checks.on_rank_ended(index, &self.poll);
        let process = &mut pod.ranks_mut()[index];
        if process.is_alive() {
            // Forked, and not as it should be: it ends held.
            pod.kill_rank(index);
        }
        let process = &mut pod.ranks_mut()[index];
        process.fail_again(&why, ExitStatus::Code(code), now, wall_clock());
        self.exits.push(index);
    }

    /// Has the loop hear a rank that was started again.
    fn watch_rank(&self, index: usize) -> Result<(), Refusal> {
        let Some(pod) = &self.pod else { return Ok(()) };
        let refuse = |errno: nix::Error| Refusal::Start { rank: 0, what: "epoll", error: errno.into() };
        if let Some(errors) = pod.errors() {
            self.poll.add(errors, Source::ExecErrors).map_err(refuse)?;
        }
        for (at, stream) in pod.ranks()[index].streams.iter().enumerate() {
            if let Some(pipe) = stream.pipe() {
                self.poll.add(pipe, Source::Output(index, at)).map_err(refuse)?;
            }
        }
        Ok(())
    }
}
