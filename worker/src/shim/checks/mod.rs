//! Probes and hooks of the ranks of one generation: what is being asked, what was answered, and what there is to report of it.
//! When to ask, and what follows, `phalanx_worker_core::prober` decides; `checks_events` is where the event loop
//! meets this.

pub(super) mod clock;
pub(super) mod exec;
mod hook;
pub(super) mod questions;
mod rank;
mod socket;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{Question, RankHealth};
use phalanx_common::spec::{Hook, ProbeHandler, ProbeKind, Probes};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::prober::{Act, Answer};
use phalanx_worker_core::shim::{ShimPlan, ShimRank};

use self::clock::PodClock;
use self::exec::Kit;
use self::hook::{Hooks, Turn};
use self::questions::{Answered, Asks, Questions};
use self::rank::Checked;
use super::cgroup::Cgroup;
use super::environ::Inherited;
use super::life::AFTER_HOOK;
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

/// Hooks are asked once, so their questions have one number.
const HOOK: u64 = 0;
/// What is said of a preStop hook that had all of the grace.
pub(super) const LATE_HOOK: &str = "it was not done within the grace";

/// The probes and hooks of a generation.
pub(super) struct Checks {
    probes: Probes,
    hooks: Hooks,
    clock: PodClock,
    ranks: Vec<Checked>,
    questions: Questions,
    /// Ranks of which something may be to be reported.
    changed: BTreeSet<usize>,
    /// One of them became ready, or not ready.
    urgent: bool,
    reported_at: Option<Instant>,
    /// Something was learnt after the last turn.
    moved: bool,
    /// When something is due, as the last turn found it.
    next: Option<Timestamp>,
    /// What answers lead to, until the next turn.
    orders: Vec<Order>,
}

/// What the pod has to do about a rank.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The end of the rank: this probe is bad, or this hook failed.
    End {
        index: usize,
        question: Question,
        message: String,
    },
    /// The stop signal: its preStop hook is over. With what that said if it failed.
    Signal {
        index: usize,
        failed: Option<String>,
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
        let ranks = plan.ranks.iter().zip(sockets);
        Ok(Checks {
            probes: plan.probes.clone(),
            hooks: Hooks { post_start: plan.post_start.clone(), pre_stop: plan.pre_stop.clone() },
            ranks: ranks.map(|(rank, socket)| Checked::new(rank.rank, &plan.probes, socket)).collect(),
            questions: Questions::new(Kit::prepare(plan, inherited, files)?, 0),
            ..Checks::none(now)
        })
    }

    /// Of a generation that has no ranks yet.
    pub(super) fn none(now: Instant) -> Checks {
        Checks {
            probes: Probes::default(),
            hooks: Hooks::default(),
            clock: PodClock::new(now),
            ranks: Vec::new(),
            questions: Questions::new(None, 0),
            changed: BTreeSet::new(),
            urgent: false,
            reported_at: None,
            moved: false,
            next: None,
            orders: Vec::new(),
        }
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
        let hooked = self.hooks.post_start.is_some();
        for index in 0..self.ranks.len() {
            let checked = &mut self.ranks[index];
            if !hooked {
                self.begin_rank(index, at);
            } else if !checked.ended && !checked.begun && !checked.post_start.is_on() {
                checked.post_start = Turn::Due;
                self.changed.insert(index);
            }
        }
    }

    fn begin_rank(&mut self, index: usize, at: Timestamp) {
        if self.ranks[index].begin(at) && self.is_gated() {
            self.changed.insert(index);
            self.urgent = true;
        }
    }

    /// A rank is not ready before something said so.
    fn is_gated(&self) -> bool {
        self.probes.gate() || self.hooks.post_start.is_some()
    }

    /// A rank has ended: nobody asks it any more.
    pub(super) fn on_rank_ended(&mut self, index: usize, poll: &Poll) {
        let Some(checked) = self.ranks.get_mut(index) else { return };
        self.moved = true;
        if let Some(socket) = checked.end() {
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
        for checked in &mut self.ranks {
            checked.prober.handle_stopping(at);
            checked.post_start = Turn::None;
        }
        self.drop_unwanted(poll);
    }

    /// Begins the preStop hook of a rank; false if there is none to do.
    pub(super) fn begin_pre_stop(&mut self, index: usize) -> bool {
        let Some(checked) = self.ranks.get_mut(index).filter(|rank| rank.begun && !rank.ended) else {
            return false;
        };
        if self.hooks.pre_stop.is_none() {
            return false;
        }
        if !checked.pre_stop.is_on() {
            checked.pre_stop = Turn::Due;
        }
        self.moved = true;
        true
    }

    /// Some rank is still doing its preStop hook.
    pub(super) fn has_pre_stop(&self) -> bool {
        self.ranks.iter().any(|checked| checked.pre_stop.is_on())
    }

    /// Ends all preStop hooks; the ranks that were doing theirs.
    pub(super) fn give_up_pre_stop(&mut self, poll: &Poll) -> Vec<usize> {
        let ranks = self.ranks.iter_mut().enumerate();
        let given_up = ranks.filter(|(_, checked)| checked.pre_stop.is_on()).map(|(index, checked)| {
            checked.pre_stop = Turn::None;
            index
        });
        let given_up: Vec<usize> = given_up.collect();
        self.drop_unwanted(poll);
        given_up
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

    /// A child that is no rank has ended.
    pub(super) fn on_reaped(
        &mut self,
        pid: i32,
        status: ExitStatus,
        known: &[i32],
        now: Instant,
        poll: &Poll,
    ) {
        let answered = self.questions.on_reaped(pid, status, known, poll);
        self.answer(answered, now);
    }

    /// Something happened to what a probe asks.
    pub(super) fn on_event(&mut self, index: usize, question: Question, now: Instant, poll: &Poll) {
        let answered = self.questions.on_event((index, question), poll);
        self.answer(answered, now);
    }

    /// Asks what is due, gives up what takes too long, and says what is to be done about ranks.
    pub(super) fn turn(&mut self, now: Instant, poll: &Poll, cgroup: Option<&Cgroup>) -> Vec<Order> {
        let at = self.clock.at(now);
        if !self.moved && self.next.is_none_or(|next| next > at) {
            return Vec::new();
        }
        let late = self.questions.late(at, poll);
        self.answer(late, now);
        for index in 0..self.ranks.len() {
            for question in [Question::PostStart, Question::PreStop] {
                self.turn_hook((index, question), now, (poll, cgroup));
            }
            self.turn_kill(index, at, poll);
            self.ranks[index].prober.handle_timeout(at);
            while let Some(act) = self.ranks[index].prober.poll_act() {
                match act {
                    Act::Ask { kind, number } => {
                        let Some(probe) = self.probes.get(kind) else { continue };
                        let (key, handler) = ((index, kind.into()), &probe.handler);
                        let asks = Asks { key, number, handler, within: Some((probe.timeout, at)) };
                        let answered = self.questions.ask(asks, (poll, cgroup));
                        self.answer(answered, now);
                    }
                    Act::Ready(_) => {
                        self.urgent |= self.is_gated();
                        self.changed.insert(index);
                    }
                    Act::End { kind, message } => {
                        self.changed.insert(index);
                        self.orders.push(Order::End { index, question: kind.into(), message });
                    }
                }
            }
        }
        self.moved = false;
        self.next = self.ranks.iter().filter_map(Checked::next).chain(self.questions.next()).min();
        std::mem::take(&mut self.orders)
    }

    /// The grace of a rank that was told to end may be over. One whose preStop hook had all of it has a moment.
    fn turn_kill(&mut self, index: usize, at: Timestamp, poll: &Poll) {
        let checked = &mut self.ranks[index];
        if checked.kill_at.is_none_or(|kill_at| kill_at > at) {
            return;
        }
        if !checked.pre_stop.is_on() {
            checked.kill_at = None;
            return self.orders.push(Order::Kill { index });
        }
        checked.pre_stop = Turn::None;
        checked.kill_at = Some(at + AFTER_HOOK);
        self.orders.push(Order::Signal { index, failed: Some(LATE_HOOK.to_owned()) });
        self.drop_unwanted(poll);
    }

    /// Does what is due of a hook.
    fn turn_hook(&mut self, key: (usize, Question), now: Instant, ways: (&Poll, Option<&Cgroup>)) {
        let at = self.clock.at(now);
        let (index, question) = key;
        let done = |answer| Some(Answered { key, number: HOOK, answer });
        let (turn, hook) = match question {
            Question::PostStart => (&mut self.ranks[index].post_start, &self.hooks.post_start),
            _ => (&mut self.ranks[index].pre_stop, &self.hooks.pre_stop),
        };
        let answered = match (*turn, hook) {
            (Turn::Due, Some(Hook::Sleep(time))) => {
                *turn = Turn::Sleeps { until: at + *time };
                None
            }
            (Turn::Due, Some(hook)) => {
                *turn = Turn::Asked;
                hook.handler().and_then(|handler| {
                    let asks = Asks { key, number: HOOK, handler: &handler, within: None };
                    self.questions.ask(asks, ways)
                })
            }
            (Turn::Sleeps { until }, _) if until <= at => done(Answer::Good),
            _ => None,
        };
        self.answer(answered, now);
    }

    /// The rank was told to end, and has this long.
    pub(super) fn ends(&mut self, index: usize, question: Question, job: Duration, now: Instant) {
        let probe = question.probe().and_then(|kind| self.probes.get(kind));
        let grace = probe.and_then(|probe| probe.grace).unwrap_or(job);
        self.kills(index, grace, now);
    }

    /// SIGKILL for this rank once the grace is over.
    pub(super) fn kills(&mut self, index: usize, grace: Duration, now: Instant) {
        let at = self.clock.at(now);
        if let Some(checked) = self.ranks.get_mut(index) {
            checked.kill_at = Some(at + grace);
            self.moved = true;
        }
    }

    /// Another process of this rank: nothing of the last one counts.
    pub(super) fn renew(&mut self, index: usize, rank: &ShimRank, socket: NotifySocket, poll: &Poll) {
        let Some(checked) = self.ranks.get_mut(index) else { return };
        self.questions.renew(index, rank);
        // Watched in vain, it is heard with the next one's first words.
        let _ = poll.add(socket.as_fd(), Source::Notify(index));
        checked.renew(&self.probes, socket);
        self.moved = true;
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
        let gated = self.is_gated();
        let changed = std::mem::take(&mut self.changed);
        let news: Vec<RankHealth> =
            changed.into_iter().filter_map(|index| self.ranks.get_mut(index)?.news(gated)).collect();
        self.urgent = false;
        if !news.is_empty() {
            self.reported_at = Some(now);
        }
        news.chunks(RANKS_PER_REPORT).map(<[RankHealth]>::to_vec).collect()
    }

    /// Processes of probes.
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        self.questions.pids()
    }

    fn answer(&mut self, answered: impl IntoIterator<Item = Answered>, now: Instant) {
        let at = self.clock.at(now);
        for Answered { key: (index, question), number, answer } in answered {
            let Some(checked) = self.ranks.get_mut(index) else { continue };
            self.changed.insert(index);
            self.moved = true;
            let failed = match (question.probe(), &answer) {
                (Some(kind), _) => {
                    checked.prober.handle_answer(at, kind, number, answer);
                    continue;
                }
                (None, Answer::Good) => None,
                (None, Answer::Bad(message)) => Some(message.clone()),
                (None, Answer::Unknown) => Some("this node has no room for it".to_owned()),
            };
            if question == Question::PreStop {
                checked.pre_stop = Turn::None;
                checked.kill_at = checked.kill_at.map(|kill_at| kill_at.max(at + AFTER_HOOK));
                self.orders.push(Order::Signal { index, failed });
                continue;
            }
            checked.post_start = Turn::None;
            match failed {
                None => self.begin_rank(index, at),
                Some(message) => self.orders.push(Order::End { index, question, message }),
            }
        }
    }

    fn drop_unwanted(&mut self, poll: &Poll) {
        let awaits = |(index, question): (usize, Question), number| {
            self.ranks.get(index).is_some_and(|checked| match (question, question.probe()) {
                (_, Some(kind)) => checked.prober.awaits(kind, number),
                (Question::PostStart, None) => checked.post_start == Turn::Asked,
                (_, None) => checked.pre_stop == Turn::Asked,
            })
        };
        self.questions.keep(poll, awaits);
    }
}
