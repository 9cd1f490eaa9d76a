//! When a rank is probed, and what follows from the answers: the kubelet's prober (`pkg/kubelet/prober/worker.go`) for
//! one rank, without its clock.
//!
//! ```text
//! begun --initialDelay--> startup ----good---> readiness, liveness
//!                            |                     |          |
//!                            bad                 ready /      bad
//!                            v                  not ready     v
//!                       the rank is ended                 the rank is ended
//! ```
//!
//! A probe is good or bad after so many equal answers in a row as its thresholds say; an answer that is none changes
//! nothing. A bad startup or liveness probe asks nothing more until the next program. Probes tick on a grid from the
//! start of the program plus their delay; a tick that comes while an answer is awaited is kept, once.
//!
//! Two handlers are not asked: the rank tells by itself. What it tells counts at once, and silence is an answer at
//! the end of each period, where it can change anything.

use std::collections::VecDeque;
use std::time::Duration;

use phalanx_common::spec::{Probe, ProbeHandler, ProbeKind, Probes};
use phalanx_common::time::Timestamp;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Good,
    /// With what it said.
    Bad(String),
    /// It could not be asked: nothing follows from that.
    Unknown,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Ask this probe, and hand in the answer with the number.
    Ask { kind: ProbeKind, number: u64 },
    /// The rank became ready, or is not ready any more.
    Ready(bool),
    /// End the rank: this probe is bad.
    End { kind: ProbeKind, message: String },
}

/// The probes of one rank.
#[derive(Clone, Debug)]
pub struct Prober {
    /// By `ProbeKind::ALL`.
    workers: [Option<Worker>; 3],
    /// When its program began; `None`: nothing runs.
    since: Option<Timestamp>,
    /// The startup probe is good, or there is none.
    started: bool,
    stopping: bool,
    ready: bool,
    asked: u64,
    acts: VecDeque<Act>,
}

/// One probe of the rank.
#[derive(Clone, Debug)]
struct Worker {
    kind: ProbeKind,
    initial_delay: Duration,
    period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    /// The rank tells by itself.
    told: bool,
    /// What its silence is called.
    silence: &'static str,
    /// What it told last, of startup and readiness.
    said: bool,
    /// Good or bad; `None`: unknown.
    value: Option<bool>,
    /// The last answer, and how often it came in a row.
    last: Option<bool>,
    run: u32,
    on_hold: bool,
    /// The start of its grid.
    opens: Timestamp,
    /// The next tick; `None`: it has not begun, or is over.
    next: Option<Timestamp>,
    /// The number of the question that has no answer yet.
    asking: Option<u64>,
    /// What the last bad answer said.
    message: Option<String>,
}

impl Prober {
    /// A rank whose program does not run yet.
    pub fn new(probes: &Probes) -> Prober {
        let worker = |kind| probes.get(kind).map(|probe| Worker::new(kind, probe));
        Prober {
            workers: ProbeKind::ALL.map(worker),
            since: None,
            started: false,
            stopping: false,
            ready: false,
            asked: 0,
            acts: VecDeque::new(),
        }
    }

    /// A program of this rank began to run.
    pub fn handle_begun(&mut self, now: Timestamp) {
        self.since = Some(now);
        self.stopping = false;
        self.workers.iter_mut().flatten().for_each(Worker::reset);
        self.started = self.worker(ProbeKind::Startup).is_none();
        self.acts.clear();
        self.begin(now);
        self.settle();
    }

    /// It ended.
    pub fn handle_ended(&mut self) {
        self.since = None;
        for worker in self.workers.iter_mut().flatten() {
            worker.value = Some(false);
            worker.close();
        }
        self.settle();
    }

    /// Its end was ordered: startup and liveness count as good and ask nothing more, readiness goes on.
    pub fn handle_stopping(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.stopping, true) || self.since.is_none() {
            return;
        }
        for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
            if let Some(worker) = self.worker_mut(kind).filter(|worker| !worker.on_hold) {
                worker.value = Some(true);
                worker.close();
            }
        }
        let startup = self.worker(ProbeKind::Startup);
        if !self.started && startup.is_some_and(|worker| worker.value == Some(true)) {
            self.started = true;
            self.begin(now);
        }
        self.settle();
    }

    /// What the rank told by itself. `good`: for liveness, that it is alive.
    pub fn handle_told(&mut self, now: Timestamp, kind: ProbeKind, good: bool, message: &str) {
        let (turn, Some(since)) = (self.asks(kind), self.since) else { return };
        let Some(worker) = self.worker_mut(kind).filter(|worker| worker.told) else { return };
        worker.said = good && kind != ProbeKind::Liveness;
        let opens = since + worker.initial_delay;
        match turn {
            // Its turn will come, and find what was said.
            false => return,
            true if now < opens => {
                worker.next = Some(if worker.said { opens } else { opens + worker.period });
                return;
            }
            true => worker.next = Some(now + worker.period),
        }
        let answer = if good { Answer::Good } else { Answer::Bad(message.to_owned()) };
        self.observe(now, kind, answer);
    }

    /// The answer to a question. Late ones, of a program that is gone, are dropped.
    pub fn handle_answer(&mut self, now: Timestamp, kind: ProbeKind, number: u64, answer: Answer) {
        let Some(worker) = self.worker_mut(kind).filter(|worker| worker.asking == Some(number)) else {
            return;
        };
        worker.asking = None;
        self.observe(now, kind, answer);
    }

    /// Ticks that are due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for kind in ProbeKind::ALL {
            if !self.asks(kind) {
                continue;
            }
            let number = self.asked + 1;
            let Some(worker) = self.worker_mut(kind) else { continue };
            let Some(next) = worker.tick().filter(|next| *next <= now) else { continue };
            worker.next = Some(if worker.told { next + worker.period } else { worker.after(now) });
            if !worker.told {
                worker.asking = Some(number);
                self.asked = number;
                self.acts.push_back(Act::Ask { kind, number });
            } else if worker.said {
                self.observe(now, kind, Answer::Good);
            } else {
                let silent = worker.silence();
                self.observe(now, kind, Answer::Bad(silent));
            }
        }
    }

    /// The next tick.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.workers.iter().flatten().filter(|worker| self.asks(worker.kind)).filter_map(Worker::tick).min()
    }

    /// The next thing to do.
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether the answer to this question would count.
    pub fn awaits(&self, kind: ProbeKind, number: u64) -> bool {
        self.worker(kind).is_some_and(|worker| worker.asking == Some(number))
    }

    /// Which probe keeps the rank from being ready, and what it said last.
    pub fn why_not_ready(&self) -> Option<(ProbeKind, String)> {
        let kind = if self.started { ProbeKind::Readiness } else { ProbeKind::Startup };
        let worker = self.worker(kind).filter(|worker| worker.value != Some(true))?;
        let message = match (&worker.message, worker.told) {
            (Some(message), _) => message.clone(),
            (None, true) => worker.silence.to_owned(),
            (None, false) => "no answer yet".to_owned(),
        };
        Some((kind, message))
    }

    fn worker(&self, kind: ProbeKind) -> Option<&Worker> {
        self.workers.iter().flatten().find(|worker| worker.kind == kind)
    }

    fn worker_mut(&mut self, kind: ProbeKind) -> Option<&mut Worker> {
        self.workers.iter_mut().flatten().find(|worker| worker.kind == kind)
    }

    /// Whether it is this probe's turn.
    fn asks(&self, kind: ProbeKind) -> bool {
        let turn = match kind {
            ProbeKind::Startup => !self.started && !self.stopping,
            ProbeKind::Readiness => self.started,
            ProbeKind::Liveness => self.started && !self.stopping,
        };
        turn && self.since.is_some()
    }

    /// Sets the first tick of each probe whose turn it is from here on.
    fn begin(&mut self, now: Timestamp) {
        let Some(since) = self.since else { return };
        for kind in ProbeKind::ALL {
            if !self.asks(kind) {
                continue;
            }
            let Some(worker) = self.worker_mut(kind) else { continue };
            worker.opens = since + worker.initial_delay;
            let first = worker.opens.max(now);
            worker.next = Some(match kind {
                _ if worker.told && !worker.said => first + worker.period,
                // Readiness is wanted at once after startup; liveness keeps to its grid.
                ProbeKind::Liveness if worker.opens < now && !worker.told => {
                    worker.after(Timestamp(now.0.saturating_sub(1)))
                }
                _ => first,
            });
        }
    }

    fn observe(&mut self, now: Timestamp, kind: ProbeKind, answer: Answer) {
        let asks = self.asks(kind);
        let Some(worker) = self.worker_mut(kind).filter(|worker| asks && !worker.on_hold) else { return };
        let (good, message) = match answer {
            Answer::Unknown => return,
            Answer::Good => (true, None),
            Answer::Bad(message) => (false, Some(message)),
        };
        worker.message = message;
        worker.run = if worker.last == Some(good) { worker.run.saturating_add(1) } else { 1 };
        worker.last = Some(good);
        let enough = if good { worker.success_threshold } else { worker.failure_threshold };
        if worker.run < enough {
            return;
        }
        worker.value = Some(good);
        if !good && kind != ProbeKind::Readiness {
            worker.on_hold = true;
            worker.run = 0;
            worker.close();
            let message = worker.message.clone().unwrap_or_default();
            self.acts.push_back(Act::End { kind, message });
        } else if good && kind == ProbeKind::Startup {
            worker.close();
            self.started = true;
            self.begin(now);
        }
        self.settle();
    }

    /// Says whether the rank is ready, if that changed.
    fn settle(&mut self) {
        let readiness = self.worker(ProbeKind::Readiness).is_none_or(|worker| worker.value == Some(true));
        let ready = self.since.is_some() && self.started && readiness;
        if std::mem::replace(&mut self.ready, ready) != ready {
            self.acts.push_back(Act::Ready(ready));
        }
    }
}

impl Worker {
    fn new(kind: ProbeKind, probe: &Probe) -> Worker {
        let mut worker = Worker {
            kind,
            initial_delay: probe.initial_delay,
            period: probe.period.max(Duration::from_micros(1)),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
            told: probe.handler.is_told(),
            silence: match (&probe.handler, kind) {
                (ProbeHandler::Log { .. }, _) => "no line of its output had the pattern",
                (_, ProbeKind::Liveness) => "no WATCHDOG=1 was heard",
                _ => "no READY=1 was heard",
            },
            said: false,
            value: None,
            last: None,
            run: 0,
            on_hold: false,
            opens: Timestamp::default(),
            next: None,
            asking: None,
            message: None,
        };
        worker.reset();
        worker
    }

    /// As a new program finds it.
    fn reset(&mut self) {
        self.value = match self.kind {
            ProbeKind::Startup => None,
            ProbeKind::Readiness => Some(false),
            ProbeKind::Liveness => Some(true),
        };
        (self.last, self.run, self.on_hold, self.said) = (None, 0, false, false);
        self.message = None;
        self.close();
    }

    /// Asks nothing more, and awaits nothing.
    fn close(&mut self) {
        self.next = None;
        self.asking = None;
    }

    /// When to ask next; `None` while an answer is awaited, and where no answer could change anything.
    fn tick(&self) -> Option<Timestamp> {
        let settled = self.told && self.kind != ProbeKind::Liveness && self.value == Some(self.said);
        self.next.filter(|_| self.asking.is_none() && !self.on_hold && !settled)
    }

    /// The first tick of its grid after `now`.
    fn after(&self, now: Timestamp) -> Timestamp {
        let period = micros(self.period);
        let passed = now.0.saturating_sub(self.opens.0) / period;
        Timestamp(self.opens.0.saturating_add((passed + 1).saturating_mul(period)))
    }

    /// What to say of a rank that said nothing.
    fn silence(&self) -> String {
        match (self.kind, &self.message) {
            (ProbeKind::Liveness, _) => format!("{} within {} s", self.silence, self.period.as_secs_f64()),
            // What took its readiness back says more.
            (_, Some(message)) => message.clone(),
            (_, None) => self.silence.to_owned(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "prober_tests.rs"]
mod tests;
