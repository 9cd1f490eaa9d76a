//! Probes of the ranks of one generation: what is being asked, what was answered, and what there is to report of it.
//! When to ask, and what follows, `phalanx_worker_core::prober` decides; the event loop is `checks_events`.

mod clock;
mod exec;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{MAX_MESSAGE, ProbeWord, RankHealth, last_of};
use phalanx_common::id::Rank;
use phalanx_common::spec::{ProbeHandler, ProbeKind, Probes};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::prober::{Act, Answer, Prober};
use phalanx_worker_core::shim::ShimPlan;

use self::clock::PodClock;
use self::exec::{Exec, Kit};
use self::socket::{Connection, Progress};
use super::cgroup::Cgroup;
use super::environ::Inherited;
use super::limits::OpenFiles;
use super::notify::{NotifySocket, Said};
use super::output::Watch;
use super::refusal::Refusal;
use super::run::{Poll, Source};

/// At least this much time between two reports of what ranks and their probes say; that a rank is ready, or not any
/// more, is told at once.
const WORDS_EVERY: Duration = Duration::from_secs(1);
/// Ranks in one report: with the longest words it fits a frame.
const RANKS_PER_REPORT: usize = 256;

/// The probes of a generation.
pub(super) struct Checks {
    probes: Probes,
    kit: Option<Kit>,
    clock: PodClock,
    ranks: Vec<Checked>,
    running: BTreeMap<(usize, ProbeKind), Running>,
    /// Ranks of which something is to be reported.
    changed: BTreeSet<usize>,
    /// One of them became ready, or not ready.
    urgent: bool,
    /// Something was learnt after the last turn.
    moved: bool,
    /// When something is due, as the last turn found it.
    next: Option<Timestamp>,
    reported_at: Option<Instant>,
}

/// One rank.
struct Checked {
    rank: Rank,
    prober: Prober,
    socket: Option<NotifySocket>,
    status: Option<String>,
    /// What it told before the programs of all ranks ran.
    early: BTreeMap<ProbeKind, (bool, &'static str)>,
    begun: bool,
    ended: bool,
    told: Option<RankHealth>,
    /// SIGKILL, for one that was told to end.
    kill_at: Option<Timestamp>,
}

/// A question without an answer.
struct Running {
    number: u64,
    until: Timestamp,
    asking: Asking,
}

enum Asking {
    Exec(Exec),
    Connection(Connection),
}

/// What the pod has to do about a rank.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The stop signal: this probe is bad.
    End {
        index: usize,
        kind: ProbeKind,
        message: String,
    },
    Kill {
        index: usize,
    },
}

impl Checks {
    /// Checks the probes of a plan, before anything is started.
    pub(super) fn prepare(
        plan: &ShimPlan,
        inherited: &Inherited,
        files: &OpenFiles,
        sockets: Vec<NotifySocket>,
        now: Instant,
    ) -> Result<Checks, Refusal> {
        let ranks = plan.ranks.iter().zip(sockets).map(|(rank, socket)| Checked {
            rank: rank.rank,
            prober: Prober::new(&plan.probes),
            socket: Some(socket),
            status: None,
            early: BTreeMap::new(),
            begun: false,
            ended: false,
            told: None,
            kill_at: None,
        });
        Ok(Checks {
            probes: plan.probes.clone(),
            kit: Kit::prepare(plan, inherited, files)?,
            clock: PodClock::new(now),
            ranks: ranks.collect(),
            running: BTreeMap::new(),
            changed: BTreeSet::new(),
            urgent: false,
            moved: false,
            next: None,
            reported_at: None,
        })
    }

    /// What is looked for in the output of each rank.
    pub(super) fn watch(plan: &ShimPlan) -> Result<Watch, Refusal> {
        let mut patterns = Vec::new();
        for (kind, probe) in plan.probes.iter() {
            if let ProbeHandler::Log { pattern } = &probe.handler {
                let why = |error: regex::Error| Refusal::Pattern { probe: kind, error: Box::new(error) };
                patterns.push((kind, pattern.compile().map_err(why)?));
            }
        }
        Ok(Watch::new(patterns))
    }

    /// Has the loop hear every rank.
    pub(super) fn add_to(&self, poll: &Poll) -> nix::Result<()> {
        let sockets = self.ranks.iter().enumerate();
        sockets
            .filter_map(|(index, rank)| Some((index, rank.socket.as_ref()?)))
            .try_for_each(|(index, socket)| poll.add(socket.as_fd(), Source::Notify(index)))
    }

    /// The programs of all ranks run.
    pub(super) fn begin(&mut self, now: Instant) {
        let at = self.clock.at(now);
        self.moved = true;
        for index in 0..self.ranks.len() {
            let checked = &mut self.ranks[index];
            if !checked.ended && !std::mem::replace(&mut checked.begun, true) {
                checked.prober.handle_begun(at);
                for (kind, (good, message)) in std::mem::take(&mut checked.early) {
                    checked.prober.handle_told(at, kind, good, message);
                }
                if self.probes.gate() {
                    self.changed.insert(index);
                    self.urgent = true;
                }
            }
        }
    }

    /// A rank has ended: nobody asks it any more.
    pub(super) fn on_rank_ended(&mut self, index: usize, poll: &Poll) {
        let Some(checked) = self.ranks.get_mut(index) else { return };
        self.moved = true;
        checked.ended = true;
        checked.kill_at = None;
        checked.prober.handle_ended();
        while checked.prober.poll_act().is_some() {}
        if let Some(socket) = checked.socket.take() {
            poll.remove(socket.as_fd());
        }
        self.changed.remove(&index);
        self.drop_unwanted(poll);
    }

    /// The end of the pod was ordered.
    pub(super) fn on_stopping(&mut self, now: Instant, poll: &Poll) {
        self.clock.thaw(now);
        let at = self.clock.at(now);
        self.moved = true;
        self.ranks.iter_mut().for_each(|checked| checked.prober.handle_stopping(at));
        self.drop_unwanted(poll);
    }

    /// The pod stands still, and so does its time.
    pub(super) fn freeze(&mut self, now: Instant) {
        self.clock.freeze(now);
    }

    pub(super) fn thaw(&mut self, now: Instant) {
        self.moved = true;
        self.clock.thaw(now);
    }

    /// What a rank says on its socket.
    pub(super) fn hear(&mut self, index: usize, now: Instant) {
        let at = self.clock.at(now);
        let Some(checked) = self.ranks.get_mut(index) else { return };
        let Some(socket) = &checked.socket else { return };
        for said in socket.hear() {
            let of = |kind| (self.probes.get(kind)).is_some_and(|it| it.handler == ProbeHandler::Notify);
            let mut tell = |kind, good, message| {
                if of(kind) {
                    checked.tell(at, kind, good, message);
                }
            };
            match said {
                Said::Ready => {
                    tell(ProbeKind::Readiness, true, "");
                    tell(ProbeKind::Startup, true, "");
                }
                Said::NotReady(message) => tell(ProbeKind::Readiness, false, message),
                Said::Alive => tell(ProbeKind::Liveness, true, ""),
                Said::Status(status) => {
                    checked.status = Some(status).filter(|status| !status.is_empty());
                }
            }
        }
        self.changed.insert(index);
        self.moved = true;
    }

    /// Patterns that were seen in the output of a rank.
    pub(super) fn on_seen(&mut self, index: usize, seen: Vec<ProbeKind>, now: Instant) {
        let at = self.clock.at(now);
        let Some(checked) = self.ranks.get_mut(index) else { return };
        // Readiness first: startup may be good by the same line.
        for kind in seen.into_iter().rev() {
            checked.tell(at, kind, true, "");
        }
        self.changed.insert(index);
        self.moved = true;
    }

    /// Whether this process is one of a probe; then that has its answer.
    pub(super) fn on_reaped(
        &mut self,
        pid: i32,
        status: ExitStatus,
        known: &[i32],
        now: Instant,
        poll: &Poll,
    ) -> bool {
        let is_it = |running: &Running| matches!(&running.asking, Asking::Exec(exec) if exec.pid == pid);
        let Some(key) = self.running.iter().find(|(_, running)| is_it(running)).map(|(key, _)| *key) else {
            return false;
        };
        if let Some(Running { number, asking: Asking::Exec(exec), .. }) = self.running.remove(&key) {
            poll.remove(exec.as_fd());
            let answer = exec.finish(status, known);
            self.answer(key, number, answer, now);
        }
        true
    }

    /// Something happened to what a probe asks.
    pub(super) fn on_event(&mut self, index: usize, kind: ProbeKind, now: Instant, poll: &Poll) {
        let key = (index, kind);
        let Some(running) = self.running.get_mut(&key) else { return };
        match &mut running.asking {
            // It answers by its end.
            Asking::Exec(exec) => {
                if !exec.read() {
                    poll.remove(exec.as_fd());
                }
            }
            Asking::Connection(connection) => match connection.go_on() {
                Progress::Waits(flags) => poll.want(connection.as_fd(), Source::Check(index, kind), flags),
                Progress::Done(answer) => {
                    poll.remove(connection.as_fd());
                    let number = running.number;
                    self.running.remove(&key);
                    self.answer(key, number, answer, now);
                }
            },
        }
    }

    /// Asks what is due, gives up what takes too long, and says what is to be done about ranks.
    pub(super) fn turn(&mut self, now: Instant, poll: &Poll, cgroup: Option<&Cgroup>) -> Vec<Order> {
        let at = self.clock.at(now);
        let mut orders = Vec::new();
        if !self.moved && self.next.is_none_or(|next| next > at) {
            return orders;
        }
        self.give_up(at, now, poll);
        for index in 0..self.ranks.len() {
            let checked = &mut self.ranks[index];
            if checked.kill_at.is_some_and(|kill_at| kill_at <= at) {
                checked.kill_at = None;
                orders.push(Order::Kill { index });
            }
            checked.prober.handle_timeout(at);
            while let Some(act) = self.ranks[index].prober.poll_act() {
                match act {
                    Act::Ask { kind, number } => self.ask(index, kind, number, now, poll, cgroup),
                    Act::Ready(_) => {
                        self.urgent |= self.probes.gate();
                        self.changed.insert(index);
                    }
                    Act::End { kind, message } => {
                        self.changed.insert(index);
                        orders.push(Order::End { index, kind, message });
                    }
                }
            }
        }
        self.moved = false;
        let ticks = self.ranks.iter().flat_map(|checked| [checked.prober.poll_timeout(), checked.kill_at]);
        let late = self.running.values().map(|running| Some(running.until));
        self.next = ticks.chain(late).flatten().min();
        orders
    }

    /// The rank was told to end, and has this long.
    pub(super) fn ends(&mut self, index: usize, kind: ProbeKind, job: Duration, now: Instant) {
        let grace = self.probes.get(kind).and_then(|probe| probe.grace).unwrap_or(job);
        let at = self.clock.at(now);
        if let Some(checked) = self.ranks.get_mut(index) {
            checked.kill_at = Some(at + grace);
            self.moved = true;
        }
    }

    /// When to turn again if nothing else happens.
    pub(super) fn deadline(&self, may_report: bool) -> Option<Instant> {
        let due = self.next.and_then(|at| self.clock.instant(at));
        let due = if self.moved { Some(Instant::now()) } else { due };
        let report = (may_report && !self.changed.is_empty()).then(|| match self.reported_at {
            Some(at) if !self.urgent => at + WORDS_EVERY,
            _ => Instant::now(),
        });
        due.into_iter().chain(report).min()
    }

    /// How ranks stand, where that is not what was told last, in as many reports as it takes.
    pub(super) fn report(&mut self, now: Instant) -> Vec<Vec<RankHealth>> {
        let early = self.reported_at.is_some_and(|at| now < at + WORDS_EVERY);
        if self.changed.is_empty() || (early && !self.urgent) {
            return Vec::new();
        }
        let mut news = Vec::new();
        for index in std::mem::take(&mut self.changed) {
            let checked = &mut self.ranks[index];
            if !checked.begun || checked.ended {
                continue;
            }
            let health = checked.health();
            let says_nothing = checked.told.is_none() && !self.probes.gate() && health.status.is_none();
            if !says_nothing && checked.told.as_ref() != Some(&health) {
                checked.told = Some(health.clone());
                news.push(health);
            }
        }
        self.urgent = false;
        if !news.is_empty() {
            self.reported_at = Some(now);
        }
        news.chunks(RANKS_PER_REPORT).map(<[RankHealth]>::to_vec).collect()
    }

    /// Processes of probes.
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        self.running.values().filter_map(|running| match &running.asking {
            Asking::Exec(exec) => Some(exec.pid),
            Asking::Connection(_) => None,
        })
    }

    fn ask(
        &mut self,
        index: usize,
        kind: ProbeKind,
        number: u64,
        now: Instant,
        poll: &Poll,
        cgroup: Option<&Cgroup>,
    ) {
        let Some(probe) = self.probes.get(kind) else { return };
        let until = self.clock.at(now) + probe.timeout;
        let address = |at: &phalanx_common::spec::ProbePort| at.address(index as u32);
        let opened = match &probe.handler {
            ProbeHandler::Exec { .. } => match &mut self.kit {
                Some(kit) => kit.start(index, kind, cgroup).map(Asking::Exec),
                None => return,
            },
            ProbeHandler::HttpGet { path, at, headers } => {
                let address = address(at);
                let request = socket::request(path, address, headers);
                Connection::open(address, Some(request)).map(Asking::Connection)
            }
            ProbeHandler::TcpSocket { at } => Connection::open(address(at), None).map(Asking::Connection),
            // They are told, not asked.
            ProbeHandler::Notify | ProbeHandler::Log { .. } => return,
        };
        let asking = match opened {
            Ok(asking) => asking,
            // Refused at once.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                return self.answer((index, kind), number, Answer::Bad(error.to_string()), now);
            }
            // This host has no room for a process or a socket: that says nothing of the rank.
            Err(_) => return self.answer((index, kind), number, Answer::Unknown, now),
        };
        let (fd, flags) = match &asking {
            Asking::Exec(exec) => (exec.as_fd(), EpollFlags::EPOLLIN),
            Asking::Connection(connection) => (connection.as_fd(), EpollFlags::EPOLLOUT),
        };
        let watched = poll.add_for(fd, Source::Check(index, kind), flags);
        self.running.insert((index, kind), Running { number, until, asking });
        if watched.is_err() {
            self.drop_running((index, kind), poll);
            self.answer((index, kind), number, Answer::Unknown, now);
        }
    }

    fn answer(&mut self, (index, kind): (usize, ProbeKind), number: u64, answer: Answer, now: Instant) {
        let at = self.clock.at(now);
        if let Some(checked) = self.ranks.get_mut(index) {
            checked.prober.handle_answer(at, kind, number, answer);
            self.changed.insert(index);
            self.moved = true;
        }
    }

    /// No answer in time is a failure.
    fn give_up(&mut self, at: Timestamp, now: Instant, poll: &Poll) {
        let late = self.running.iter().filter(|(_, running)| running.until <= at);
        let late: Vec<_> = late.map(|(key, running)| (*key, running.number)).collect();
        for (key, number) in late {
            let timeout = self.probes.get(key.1).map_or(Duration::ZERO, |probe| probe.timeout);
            let what = format!("no answer within {} s", timeout.as_secs_f64());
            let answer = self.running.get(&key).and_then(|running| match &running.asking {
                Asking::Exec(exec) => Some(Answer::Bad(exec.message(&what))),
                Asking::Connection(connection) => connection.as_far(),
            });
            self.drop_running(key, poll);
            self.answer(key, number, answer.unwrap_or(Answer::Bad(what)), now);
        }
    }

    /// Ends what nobody waits for any more.
    fn drop_unwanted(&mut self, poll: &Poll) {
        let unwanted = self.running.iter().filter(|((index, kind), running)| {
            self.ranks.get(*index).is_none_or(|checked| !checked.prober.awaits(*kind, running.number))
        });
        let unwanted: Vec<_> = unwanted.map(|(key, _)| *key).collect();
        unwanted.into_iter().for_each(|key| self.drop_running(key, poll));
    }

    fn drop_running(&mut self, key: (usize, ProbeKind), poll: &Poll) {
        match self.running.remove(&key).map(|running| running.asking) {
            Some(Asking::Exec(exec)) => {
                poll.remove(exec.as_fd());
                exec.kill();
            }
            Some(Asking::Connection(connection)) => poll.remove(connection.as_fd()),
            None => {}
        }
    }
}

impl Checked {
    fn tell(&mut self, at: Timestamp, kind: ProbeKind, good: bool, message: &'static str) {
        if self.begun {
            self.prober.handle_told(at, kind, good, message);
        } else {
            self.early.insert(kind, (good, message));
        }
    }

    fn health(&self) -> RankHealth {
        let ready = self.prober.is_ready();
        let waits = self.prober.why_not_ready().filter(|_| !ready);
        let word = |(probe, message): (ProbeKind, String)| ProbeWord {
            probe,
            message: last_of(&message, MAX_MESSAGE).to_owned(),
        };
        RankHealth { rank: self.rank, ready, waits: waits.map(word), status: self.status.clone() }
    }
}
