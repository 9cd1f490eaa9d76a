//! One job over some days.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::event::Cause;
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::Question;
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::spec::{JobSpec, Recovery, Shape};
use phalanx_common::time::Timestamp;

use super::profile::{Effect, Profile};
use crate::records::EndedRecord;
use crate::restart::{Accounting, Came, Verdict, blames, decide};
use crate::simulate::random::Draws;

const DAY: f64 = 86_400.0;
/// Of the faults of a device, those after which it is as good as before.
const RESET_SHARE: f64 = 0.7;
/// Where the clock of a run begins, so that none of its times is before the epoch's own.
const BEGINNING: f64 = 1e9;
/// The name of faults that are the program's.
const PROGRAM: &str = "program";

/// Where time went that trained nothing that was kept, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lost {
    /// From a fault until it was known.
    pub detect: f64,
    /// Stop, backoff, start, load.
    pub restart: f64,
    /// Training since the last checkpoint.
    pub work: f64,
    /// No node could take the place of one that was gone.
    pub nodes: f64,
    pub checkpoints: f64,
    /// The job had been given up, and nobody had submitted it again.
    pub given_up: f64,
}

impl Lost {
    pub fn total(&self) -> f64 {
        self.detect + self.restart + self.work + self.nodes + self.checkpoints + self.given_up
    }
}

/// What became of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Seconds in all.
    pub elapsed: f64,
    /// Seconds of training that were kept.
    pub useful: f64,
    pub lost: Lost,
    /// How often each class of faults interrupted it.
    pub interruptions: BTreeMap<&'static str, u32>,
    /// How often its restarts were used up.
    pub given_up: u32,
}

impl Run {
    /// Effective training time ratio, from 0 to 1.
    pub fn goodput(&self) -> f64 {
        self.useful / self.elapsed.max(f64::MIN_POSITIVE)
    }
}

/// A job on so many nodes for so many days.
pub fn run(profile: &Profile, nodes: u32, days: u32, seed: u64) -> Run {
    let job = Job {
        profile,
        nodes,
        end: f64::from(days) * DAY,
        spec: spec(profile),
        faults: Draws::fork(seed, 1),
        repairs: Draws::fork(seed, 2),
        now: 0.0,
        away: Vec::new(),
        used: Accounting::default(),
        run: Run::default(),
    };
    job.run()
}

struct Job<'a> {
    profile: &'a Profile,
    nodes: u32,
    end: f64,
    spec: JobSpec,
    faults: Draws,
    repairs: Draws,
    now: f64,
    /// When each node comes back that is gone.
    away: Vec<f64>,
    used: Accounting,
    run: Run,
}

/// What strikes.
#[derive(Clone, Copy)]
struct Fault {
    name: &'static str,
    effect: Effect,
}

impl Job<'_> {
    fn run(mut self) -> Run {
        while self.now < self.end {
            let (fault, ran) = self.attempt();
            if let Some(fault) = fault {
                self.interrupt(fault, ran);
            }
        }
        self.run.elapsed = self.now;
        self.run
    }

    /// From the start of its ranks to a fault, or to the end of all; and how long it was Running.
    fn attempt(&mut self) -> (Option<Fault>, f64) {
        let up = self.profile.start + self.profile.load;
        let strikes = self.faults.waits(self.rate());
        if strikes < up {
            spend(&mut self.now, self.end, &mut self.run.lost.restart, strikes);
            return (self.strike(), 0.0);
        }
        spend(&mut self.now, self.end, &mut self.run.lost.restart, up);
        let left = self.end - self.now;
        // Poisson processes remember nothing.
        let strikes = self.faults.waits(self.rate());
        let ran = strikes.min(left);
        let fault = if strikes < left { self.strike() } else { None };
        self.train(ran, fault.is_some_and(|fault| fault.effect != Effect::Planned));
        self.now += ran;
        (fault, ran)
    }

    /// `ran` seconds of training and checkpoints; `loses`: all since the last checkpoint is gone.
    fn train(&mut self, ran: f64, loses: bool) {
        let (interval, stall) = (self.profile.checkpoint, self.profile.stall);
        let whole = (ran / (interval + stall)).floor();
        let rest = ran - whole * (interval + stall);
        let since = rest.min(interval);
        self.run.useful += whole * interval;
        self.run.lost.checkpoints += whole * stall + (rest - since);
        *if loses { &mut self.run.lost.work } else { &mut self.run.useful } += since;
    }

    /// Faults per second that hit the job.
    fn rate(&self) -> f64 {
        let classes: f64 = self.profile.classes.iter().map(|class| class.rate).sum();
        (classes / 1000.0 * f64::from(self.nodes) + self.profile.job_failures_per_day) / DAY
    }

    /// Which fault it is.
    fn strike(&mut self) -> Option<Fault> {
        let per_node = f64::from(self.nodes) / 1000.0;
        let mut drawn = self.faults.share() * self.rate() * DAY;
        let classes = self.profile.classes.iter();
        let classes = classes.map(|class| (class.name, class.effect, class.rate * per_node));
        let program = (PROGRAM, Effect::Program, self.profile.job_failures_per_day);
        let hit = classes.chain([program]).filter(|(.., rate)| *rate > 0.0).find(|(.., rate)| {
            drawn -= rate;
            drawn < 0.0
        });
        hit.map(|(name, effect, _)| Fault { name, effect })
    }

    /// All from a fault to where its ranks may start again.
    fn interrupt(&mut self, fault: Fault, ran: f64) {
        *self.run.interruptions.entry(fault.name).or_default() += 1;
        self.repair(fault.effect);
        let profile = self.profile;
        let unknown = match fault.effect {
            Effect::Planned => 0.0,
            Effect::Program | Effect::Device => profile.detect_exit,
            Effect::Replace | Effect::Network => profile.detect_node,
            Effect::Hang => profile.detect_hang,
            Effect::Silent => profile.detect_silent,
        };
        spend(&mut self.now, self.end, &mut self.run.lost.detect, unknown);
        let wait = self.decide(fault.effect, ran);
        spend(&mut self.now, self.end, &mut self.run.lost.restart, profile.stop);
        match wait {
            Some(backoff) => spend(&mut self.now, self.end, &mut self.run.lost.restart, backoff),
            None => {
                self.run.given_up += 1;
                self.used = Accounting::default();
                spend(&mut self.now, self.end, &mut self.run.lost.given_up, profile.resubmit);
            }
        }
        self.await_nodes();
    }

    /// Nodes that this takes away, and when they are back.
    fn repair(&mut self, effect: Effect) {
        let profile = self.profile;
        let (count, mean) = match effect {
            Effect::Program => return,
            Effect::Replace | Effect::Silent => (1, profile.replace),
            Effect::Device if self.repairs.share() >= RESET_SHARE => (1, profile.replace),
            Effect::Device | Effect::Hang => (1, profile.reset),
            Effect::Planned => (1, profile.reboot),
            Effect::Network if self.repairs.share() < profile.leaf_share => {
                (profile.leaf_nodes.min(self.nodes), profile.mend_link)
            }
            Effect::Network => (1, profile.mend_link),
        };
        // Nodes of one incident come back together.
        let back = self.now + if mean > 0.0 { self.repairs.waits(1.0 / mean) } else { 0.0 };
        self.away.extend((0..count).map(|_| back));
    }

    /// What the coordinator decides: how long the next generation waits; `None`: it gives the job up.
    fn decide(&mut self, effect: Effect, ran: f64) -> Option<f64> {
        let cause = cause(effect, node(&mut self.repairs, self.nodes));
        let at = timestamp(self.now);
        let came = Came::Released { conflict: false, ran: Duration::from_secs_f64(ran) };
        let Verdict::Restart { charge, delay, progress, shun } =
            decide(&self.spec, &self.used, &cause, came, at)
        else {
            return None;
        };
        let record = EndedRecord {
            job: JobId::from_existing("simulated"),
            generation: Generation(1),
            at,
            charge,
            progress,
            delay,
            blamed: blames(&cause).cloned(),
            shun,
        };
        self.used.count(&record, self.spec.recovery.window);
        Some(delay.as_secs_f64())
    }

    /// Until there are as many nodes as the job has.
    fn await_nodes(&mut self) {
        let spares = usize::try_from(self.profile.spares).unwrap_or(usize::MAX);
        self.away.retain(|back| *back > self.now);
        self.away.sort_by(f64::total_cmp);
        // The last ones but as many as there are spares need not be waited for.
        let Some(needed) = self.away.len().checked_sub(spares + 1) else { return };
        let until = self.away[needed];
        let wait = until - self.now;
        spend(&mut self.now, self.end, &mut self.run.lost.nodes, wait);
    }
}

/// Time that trains nothing, up to the end of all.
fn spend(now: &mut f64, end: f64, lost: &mut f64, time: f64) {
    let time = time.min(end - *now).max(0.0);
    *lost += time;
    *now += time;
}

/// What the ladder asks of a job; of the rest nothing matters here.
fn spec(profile: &Profile) -> JobSpec {
    let window = Some(Duration::from_secs_f64(profile.restart_window));
    JobSpec {
        max_restarts: profile.max_restarts,
        recovery: Recovery { window, ..Recovery::default() },
        ..JobSpec::of("simulated", Shape::Nodes { nodes: 1, ranks_per_node: 1 }, &["train"])
    }
}

/// One of the nodes of the job.
fn node(draws: &mut Draws, nodes: u32) -> NodeId {
    NodeId::new(format!("n{}", draws.below(u64::from(nodes))))
}

/// What the coordinator takes for the cause.
fn cause(effect: Effect, node: NodeId) -> Cause {
    match effect {
        Effect::Replace | Effect::Network => Cause::NodeLost { node },
        Effect::Planned => Cause::Drained { node },
        Effect::Device => Cause::RankFailed { rank: Rank(0), node, status: ExitStatus::Signal(6) },
        Effect::Program => Cause::RankFailed { rank: Rank(0), node, status: ExitStatus::Code(1) },
        Effect::Hang | Effect::Silent => Cause::ProbeFailed {
            rank: Rank(0),
            node,
            probe: Question::Liveness,
            message: String::new(),
            status: ExitStatus::Signal(15),
        },
    }
}

fn timestamp(seconds: f64) -> Timestamp {
    Timestamp(((BEGINNING + seconds) * 1e6) as u64)
}
