//! What the shim does about each event, and what it says to the worker.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollEvent;
use nix::sys::signalfd::SignalFd;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Generation, NodeId};
use phalanx_common::report::{Notice, PodEnd};
use phalanx_worker_core::shim::{ShimOrder, ShimReport};

use super::guardian::Guardian;
use super::init::Inits;
use super::life::{Act, Facts};
use super::limits::OpenFiles;
use super::link::{self, Link};
use super::output::{Drained, TURN};
use super::pod::Pod;
use super::prepare::Kept;
use super::preparing::Pending;
use super::probe::{Probes, Verdict};
use super::reports::REPORT_EVERY;
use super::run::{Poll, Source, wall_clock};
use super::spawn::Orphans;
use super::sys::{self, Reaped};

/// The shim of one pod.
pub(super) struct Shim {
    pub(super) link: Link,
    /// The worker is gone: nothing is reported any more.
    pub(super) orphaned: bool,
    pub(super) poll: Poll,
    pub(super) signals: SignalFd,
    pub(super) orphans: Orphans,
    pub(super) files: OpenFiles,
    pub(super) kept: Kept,
    pub(super) pod: Option<Pod>,
    /// What there is to do once its init containers are done.
    pub(super) pending: Option<Pending>,
    /// Init containers that ended well and are not to run again.
    pub(super) init_done: BTreeSet<String>,
    /// Exits that wait for Started: indices of ranks.
    pub(super) exits: Vec<usize>,
    pub(super) children: bool,
    pub(super) wants_room: bool,
    pub(super) reported_at: Option<Instant>,
    pub(super) buffer: Box<[u8]>,
    /// Set once the job is over: whether it failed.
    pub(super) leaving: Option<bool>,
    pub(super) done: bool,
}

impl Shim {
    pub(super) fn new(link: Link, poll: Poll, signals: SignalFd, orphans: Orphans) -> Shim {
        Shim {
            link,
            orphaned: false,
            poll,
            signals,
            orphans,
            files: OpenFiles::inherited(),
            kept: Kept::default(),
            pod: None,
            pending: None,
            init_done: BTreeSet::new(),
            exits: Vec::new(),
            children: false,
            wants_room: false,
            reported_at: None,
            buffer: vec![0; TURN].into_boxed_slice(),
            leaving: None,
            done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Waits for events, no longer than until the next deadline.
    pub(super) fn wait<'e>(&self, events: &'e mut [EpollEvent]) -> nix::Result<&'e [EpollEvent]> {
        self.poll.wait(events, self.deadline())
    }

    fn deadline(&self) -> Option<Instant> {
        let Some(pod) = &self.pod else {
            // The worker may turn out to be gone while something is sent to it, after the last look.
            return self.is_leaving().then(Instant::now);
        };
        let streams = || pod.ranks().iter().flat_map(|rank| &rank.streams);
        let retry = pod.streams().filter_map(|stream| stream.retry_at()).min();
        let may_report = !self.orphaned && !self.link.is_behind();
        let report = (may_report && streams().any(|stream| stream.is_unreported()))
            .then(|| self.reported_at.map_or_else(Instant::now, |at| at + REPORT_EVERY));
        let probes = pod.probes.as_ref().and_then(Probes::deadline);
        let checks = pod.checks.deadline(may_report);
        let inits = pod.inits.as_ref().and_then(Inits::deadline);
        let again = pod.again_deadline();
        [pod.life.deadline(), retry, report, probes, checks, inits, again].into_iter().flatten().min()
    }

    pub(super) fn on_event(&mut self, source: Source) {
        match source {
            Source::Worker => self.on_worker(),
            Source::Signals => self.on_signals(),
            Source::ExecErrors => self.on_exec_errors(),
            Source::Probes => self.on_probes(),
            Source::Output(rank, stream) => self.on_output(rank, stream),
            Source::Notify(rank) => self.on_notify(rank),
            Source::Check(rank, kind) => self.on_check(rank, kind),
            Source::Memory(rank) => {
                let limits = self.pod.as_mut().and_then(|pod| pod.parts_mut().limits.as_mut());
                limits.into_iter().for_each(|limits| limits.on_alarm(rank));
            }
        }
    }

    /// After every batch of events: what is due, and what there is to say.
    pub(super) fn turn(&mut self) {
        let now = Instant::now();
        self.retry_output(now);
        self.turn_probes(now);
        self.turn_checks(now);
        self.turn_inits(now);
        self.turn_again(now);
        while let Some(act) = self.next_act(now) {
            self.perform(act);
        }
        self.report_exits();
        self.report_health(now);
        // First what is waiting: output is only reported to a worker that keeps up.
        self.flush();
        self.report_output(now);
        if self.is_leaving() {
            self.leave();
        }
        self.flush();
    }

    /// Nothing is left to do here.
    fn is_leaving(&self) -> bool {
        self.pod.is_none() && (self.leaving.is_some() || self.orphaned)
    }

    fn next_act(&mut self, now: Instant) -> Option<Act> {
        let pod = self.pod.as_mut()?;
        let facts = Facts {
            ranks: pod.alive() + pod.awaited() + usize::from(pod.inits.as_ref().is_some_and(Inits::holds)),
            sidecars: pod.inits.as_ref().is_some_and(Inits::has_sidecars),
            children: self.children,
            pipes: pod.has_open_pipes(),
            hooks: pod.checks.has_pre_stop(),
        };
        pod.life.step(now, facts)
    }

    pub(super) fn perform(&mut self, act: Act) {
        let guardian = self.kept.guardian.as_ref().map(Guardian::pid);
        let Some(pod) = &mut self.pod else { return };
        if act != Act::Finish {
            pod.checks.on_stopping(Instant::now(), &self.poll);
        }
        match act {
            Act::Terminate => pod.terminate(guardian),
            Act::EndHooks => self.end_hooks(),
            Act::EndSidecars => pod.inits.iter_mut().for_each(Inits::end_sidecars),
            Act::Proceed => pod.resume(guardian),
            Act::Kill => {
                pod.checks.give_up_pre_stop(&self.poll);
                pod.kill(guardian);
            }
            Act::Finish => self.finish(),
        }
    }

    fn on_worker(&mut self) {
        if self.orphaned {
            return;
        }
        match self.link.orders() {
            Ok(orders) => orders.into_iter().for_each(|order| self.on_order(order)),
            Err(error) => self.on_worker_gone(&error),
        }
    }

    pub(super) fn on_worker_gone(&mut self, error: &link::Error) {
        self.orphaned = true;
        self.poll.remove(self.link.as_fd());
        if error.is_end() {
            return self.live_on();
        }
        // A worker that lives and cannot be understood takes the pod for lost.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("phalanx shim: {error}; the pod ends\n").as_bytes(),
        );
        self.stop(self.orphan_grace());
    }

    /// The pod goes on without a worker, for as long as it may.
    fn live_on(&mut self) {
        let (limit, grace) = (self.orphans.limit, self.orphan_grace());
        let act = self.pod.as_mut().and_then(|pod| pod.life.orphan(Instant::now(), limit, grace));
        if let Some(act) = act {
            self.perform(act);
        }
    }

    /// How long the pod has between SIGTERM and SIGKILL if no order says so.
    fn orphan_grace(&self) -> Duration {
        let of_job = || self.pod.as_ref().map_or(Duration::ZERO, |pod| pod.grace);
        self.orphans.grace.unwrap_or_else(of_job)
    }

    fn on_order(&mut self, order: ShimOrder) {
        let now = Instant::now();
        match order {
            ShimOrder::Prepare(plan) => self.on_prepare(*plan, now),
            ShimOrder::Go { generation } => self.on_go(generation, now),
            ShimOrder::Stop { generation, .. } if self.pod.is_none() => {
                // What was never prepared, or has ended, is at its end.
                self.report(&ShimReport::Ended { generation, end: PodEnd::default() });
            }
            ShimOrder::Stop { generation, grace, pre_stop } => {
                if self.concerns(generation, "stop") {
                    if let Some(pod) = &mut self.pod {
                        pod.wants_pre_stop = pre_stop;
                    }
                    self.stop(grace);
                }
            }
            ShimOrder::Suspend => self.on_suspend(now),
            ShimOrder::Resume => self.on_resume(now),
            ShimOrder::Lease { remaining } => {
                if let Some(pod) = &mut self.pod {
                    pod.life.renew(now, remaining);
                }
            }
            ShimOrder::Probe { generation, target, address } => {
                self.on_probe(generation, target, address, now);
            }
            ShimOrder::Restart { generation, ranks, delay, grace } => {
                if self.concerns(generation, "restart") {
                    self.on_restart(&ranks, now + delay, grace, now);
                }
            }
            ShimOrder::Exit { failed } => {
                self.leaving = Some(failed);
                self.stop(Duration::ZERO);
            }
        }
    }

    fn on_go(&mut self, generation: Generation, now: Instant) {
        if !self.concerns(generation, "go") {
            return;
        }
        let Some(pod) = self.pod.as_mut().filter(|_| self.pending.is_none()) else { return };
        if pod.life.go(now)
            && let Err(error) = pod.release()
        {
            // A full pipe or a bad descriptor: neither can be. Held ranks abort.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("phalanx shim: cannot release generation {generation}: {error}\n").as_bytes(),
            );
        }
    }

    /// Older and unknown generations are refused.
    fn concerns(&mut self, generation: Generation, what: &str) -> bool {
        let alive = self.pod.as_ref().map(|pod| pod.generation);
        if alive == Some(generation) {
            return true;
        }
        let what = match alive {
            Some(alive) => format!("{what} for generation {generation}: generation {alive} is alive"),
            None => format!("{what} for generation {generation}: nothing is alive"),
        };
        self.report(&ShimReport::Notice { notice: Notice::Refused { what } });
        false
    }

    pub(super) fn stop(&mut self, grace: Duration) {
        let act = self.pod.as_mut().and_then(|pod| pod.life.stop(Instant::now(), grace));
        if let Some(act) = act {
            self.perform(act);
        }
    }

    fn on_probe(&mut self, generation: Generation, target: NodeId, address: SocketAddr, now: Instant) {
        let probes =
            self.pod.as_mut().filter(|pod| pod.generation == generation).and_then(|pod| pod.probes.as_mut());
        if probes.and_then(|probes| probes.ask(target.clone(), address, now)).is_none() {
            self.report(&ShimReport::Probed { generation, target, heard: false });
        }
    }

    fn on_probes(&mut self) {
        let Some(probes) = self.pod.as_mut().and_then(|pod| pod.probes.as_mut()) else { return };
        let verdicts = probes.on_readable();
        self.report_verdicts(verdicts);
    }

    fn turn_probes(&mut self, now: Instant) {
        let Some(probes) = self.pod.as_mut().and_then(|pod| pod.probes.as_mut()) else { return };
        let verdicts = probes.turn(now);
        self.report_verdicts(verdicts);
    }

    fn report_verdicts(&mut self, verdicts: Vec<Verdict>) {
        let Some(generation) = self.pod.as_ref().map(|pod| pod.generation) else { return };
        for Verdict { target, heard } in verdicts {
            self.report(&ShimReport::Probed { generation, target, heard });
        }
    }

    fn on_suspend(&mut self, now: Instant) {
        let guardian = self.kept.guardian.as_ref().map(Guardian::pid);
        if let Some(pod) = &mut self.pod
            && pod.life.suspend(now)
        {
            pod.checks.freeze(now);
            pod.inits.iter_mut().for_each(|inits| inits.freeze(now));
            pod.suspend(guardian);
        }
    }

    fn on_resume(&mut self, now: Instant) {
        let guardian = self.kept.guardian.as_ref().map(Guardian::pid);
        if let Some(pod) = &mut self.pod {
            pod.life.resume(now);
            pod.checks.thaw(now);
            pod.inits.iter_mut().for_each(|inits| inits.thaw(now));
            pod.resume(guardian);
        }
        self.catch_up_restarts(now);
    }

    fn on_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == libc::SIGTERM as u32 {
                // Someone wants this process gone: the worker hears of it.
                self.leaving.get_or_insert(true);
                self.stop(self.orphan_grace());
            }
        }
        // What a rank said before it ended is reported before its end.
        self.on_exec_errors();
        loop {
            match sys::reap() {
                Reaped::Child(pid, status) => {
                    self.on_reaped(pid, status);
                    continue;
                }
                Reaped::NoneYet => self.children = true,
                Reaped::NoChildren => self.children = false,
            }
            break;
        }
        // Ranks that executed and ended while the others were being reaped.
        self.on_exec_errors();
    }

    fn on_reaped(&mut self, pid: i32, status: ExitStatus) {
        let (now, at) = (Instant::now(), wall_clock());
        let guardian = self.kept.guardian.as_ref().map(Guardian::pid);
        if self.on_init_reaped(pid, status, now) {
            return;
        }
        let Some(pod) = &mut self.pod else { return };
        // What a rank left behind and this process adopted needs no more than reaping.
        let Some(index) = pod.on_reaped(pid, status, at) else {
            let known: Vec<i32> = pod.ranks().iter().map(|rank| rank.pid).chain(guardian).collect();
            pod.checks.on_reaped(pid, status, &known, now, &self.poll);
            return;
        };
        pod.checks.on_rank_ended(index, &self.poll);
        for stream in &mut pod.ranks_mut()[index].streams {
            stream.drain(&mut self.buffer, now, at);
        }
        self.close_ended_pipes(index);
        self.exits.push(index);
    }

    fn on_exec_errors(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        if pod.life.is_held() {
            return;
        }
        let Some(all_made_it) = pod.read_errors(Instant::now(), wall_clock()) else { return };
        pod.life.execs_done();
        if all_made_it {
            pod.checks.begin(Instant::now());
            let report = ShimReport::Started { generation: pod.generation, pids: pod.pids() };
            self.report(&report);
        }
    }

    fn on_output(&mut self, rank: usize, stream: usize) {
        let now = Instant::now();
        let Some(pod) = &mut self.pod else { return };
        let Some(process) = pod.ranks_mut().get_mut(rank) else {
            return self.on_init_output(rank, stream, now);
        };
        let read = process.streams[stream].read_turn(&mut self.buffer, now, wall_clock());
        let seen = process.streams[stream].take_seen();
        if !seen.is_empty() {
            pod.checks.on_seen(rank, seen, now);
        }
        if read == Drained::End {
            self.close_ended_pipes(rank);
        }
    }

    /// Held ranks may have copies of a pipe, so epoll does not forget it when it is closed here.
    fn close_ended_pipes(&mut self, rank: usize) {
        let Some(pod) = &mut self.pod else { return };
        let Some(process) = pod.ranks_mut().get_mut(rank) else { return };
        for stream in process.streams.iter_mut().filter(|stream| stream.is_at_end()) {
            if let Some(pipe) = stream.pipe() {
                self.poll.remove(pipe);
            }
            stream.close_pipe();
        }
    }

    fn retry_output(&mut self, now: Instant) {
        let Some(pod) = &mut self.pod else { return };
        pod.streams_mut().for_each(|stream| stream.retry(now));
    }

    /// The job is over: what is not to be kept goes, and so does this process.
    fn leave(&mut self) {
        self.flush();
        if let Some(home) = self.kept.home.take() {
            home.close(self.leaving.unwrap_or(true));
        }
        if let Some(guardian) = self.kept.guardian.take() {
            guardian.dismiss();
        }
        self.done = true;
    }
}
