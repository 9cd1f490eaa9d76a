//! What a person (or a program, with `--json`) sees of a job.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::Duration;

use phalanx_common::event::{Cause, Event, EventKind, Outcome};
use phalanx_common::health::one_line;
use phalanx_common::id::{Generation, NodeId, Rank};
use phalanx_common::report::{Notice, RankExit};
use phalanx_common::spec::{JobSpec, Keep, OutputMode};
use phalanx_common::time::Timestamp;
use serde::Serialize;

use super::summary::{self, Ending};
use super::timings::Timings;
use crate::driver::wall;
use crate::output::{JSON_VERSION, Printer};

/// A start shorter than this shows no live line: it would only flicker.
const LIVE_AFTER: Duration = Duration::from_millis(250);
/// The live line is redrawn this often.
const LIVE_EVERY: Duration = Duration::from_millis(100);
/// Failing exits remembered for the summary; the first cause is among the earliest.
const EXITS_KEPT: usize = 16;

/// Kept directories named at the end.
const DIRECTORIES_NAMED: usize = 8;

/// Variables whose value decides whether ranks meet at all; other overrides are only in the events.
const DECISIVE: [&str; 11] = [
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "RANK",
    "ROCR_VISIBLE_DEVICES",
    "WORLD_SIZE",
];

/// What to show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViewOptions {
    /// The job runs on this host, whose name says nothing new.
    pub(crate) local: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) timings: bool,
    /// Standard error is a terminal.
    pub(crate) live: bool,
    /// When this process began.
    pub(crate) began: Timestamp,
}

/// The foreground's view of its job.
pub(crate) struct View {
    printer: Printer,
    options: ViewOptions,
    timings: Timings,
    generation: Generation,
    ranks: u32,
    prepared: u32,
    nodes: u32,
    /// Nodes of the current generation, and how many ranks each has.
    places: Vec<(NodeId, u32)>,
    log_dir: Option<String>,
    mode: OutputMode,
    phase: Phase,
    exits: Vec<RankExit>,
    failed: usize,
    /// Ranks that were not ready in time.
    late: Vec<Rank>,
    /// Ranks that were ready, and are not any more.
    unready: BTreeSet<Rank>,
    output_seen: bool,
    ticked: bool,
    /// Directories that may outlive the job, by node.
    directories: BTreeMap<NodeId, (String, Keep)>,
    /// For nodes.
    waiting: bool,
    unwaited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Forming,
    Started,
    Stopping,
}

/// The JSON form of an event.
#[derive(Serialize)]
struct JsonEvent<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
}

impl View {
    pub(crate) fn new(printer: Printer, options: ViewOptions) -> View {
        View {
            printer,
            options,
            timings: Timings::begin(options.began),
            generation: Generation(0),
            ranks: 0,
            prepared: 0,
            nodes: 0,
            places: Vec::new(),
            log_dir: None,
            mode: OutputMode::default(),
            phase: Phase::Forming,
            exits: Vec::new(),
            failed: 0,
            late: Vec::new(),
            unready: BTreeSet::new(),
            output_seen: false,
            ticked: false,
            directories: BTreeMap::new(),
            waiting: false,
            unwaited: false,
        }
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.0
    }

    /// Some rank of the current generation was released: output may exist.
    pub(super) fn started(&self) -> bool {
        self.phase != Phase::Forming
    }

    pub(super) fn output_seen(&self) -> bool {
        self.output_seen
    }

    /// What is known of the job before anything happens to it.
    pub(crate) fn on_submit(&mut self, spec: &JobSpec) {
        self.ranks = spec.world_size();
        self.log_dir.clone_from(&spec.output.log_dir);
        self.mode = spec.output.mode;
    }

    /// The same of a job that somebody else submitted.
    pub(crate) fn on_attach(&mut self, ranks: u32) {
        self.ranks = ranks;
    }

    pub(super) fn on_no_suspend(&self) {
        self.say("the job runs on other machines, where Ctrl-Z does not stop it; Ctrl-C ends it");
    }

    pub(super) fn on_first_output(&mut self) {
        self.output_seen = true;
        self.timings.on_first_output(wall());
    }

    /// The job is given up because it would have to wait: whoever runs this says so, once.
    pub(super) fn on_unwaited(&mut self) {
        self.printer.status(None);
        self.unwaited = true;
    }

    pub(super) fn on_interrupt_unheard(&self) {
        self.warn(
            "the coordinator does not answer: the job is stopped as soon as it does; again to leave the job alone",
        );
    }

    pub(super) fn on_interrupt(&self, force: bool) {
        if self.waiting {
            self.say("giving the job up, no rank of it runs");
        } else if force {
            self.say("stopping at once");
        } else {
            self.say("stopping the ranks; again to stop at once");
        }
    }

    /// Completes when the live line is due again; never without one.
    pub(super) async fn tick(&self) {
        let live = self.options.live && !self.options.quiet && !self.options.json;
        if live && self.phase == Phase::Forming && !self.output_seen {
            tokio::time::sleep(if self.ticked { LIVE_EVERY } else { LIVE_AFTER }).await;
        } else {
            pending::<()>().await;
        }
    }

    pub(super) fn on_tick(&mut self) {
        self.ticked = true;
        let seconds = wall().since(self.options.began).as_secs_f64();
        let text = if self.nodes == 0 {
            format!("phalanx: placing {} ranks… {seconds:.1} s", self.ranks)
        } else {
            format!(
                "phalanx: preparing {} ranks… {}/{} pods, {seconds:.1} s",
                self.ranks, self.prepared, self.nodes
            )
        };
        self.printer.status(Some(text));
    }

    pub(crate) fn on_event(&mut self, event: &Event) {
        if self.options.json
            && let Ok(line) = serde_json::to_string(&JsonEvent { v: JSON_VERSION, event })
        {
            self.printer.json(line);
        }
        self.timings.on_event(event);
        match &event.kind {
            EventKind::GangPlaced { nodes, ranks, .. } => {
                self.places = nodes.iter().cloned().zip(ranks.iter().copied()).collect();
                // An elastic job has as many as fit.
                self.ranks = ranks.iter().fold(0, |sum, ranks| sum.saturating_add(*ranks));
                self.generation = event.generation.unwrap_or(self.generation);
                self.nodes = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
                (self.prepared, self.phase, self.failed) = (0, Phase::Forming, 0);
                self.exits.clear();
                self.late.clear();
                self.unready.clear();
                (self.output_seen, self.waiting) = (false, false);
            }
            EventKind::JobQueued { .. } if self.unwaited => {}
            EventKind::JobQueued { .. } => {
                self.waiting = true;
                self.say_of(&event.kind);
            }
            EventKind::PodPrepared { .. } => self.prepared += 1,
            EventKind::GangReleased => self.phase = Phase::Started,
            EventKind::GangRunning => self.on_running(event),
            EventKind::RankExited { exit, .. } => self.on_exit(exit),
            EventKind::GangStopping { cause, .. } | EventKind::CauseRevised { cause } => {
                self.on_stopping(cause)
            }
            EventKind::RankNotReady { rank, waits, .. } => {
                self.unready.insert(*rank);
                let why =
                    waits.as_ref().map(|waits| format!(", {}: {}", waits.probe, one_line(&waits.message)));
                let (node, why) = (self.on_node(*rank), why.unwrap_or_default());
                self.say(&format!("rank {rank}{node} is not ready any more{why}"));
            }
            EventKind::RanksReady { ranks, .. } => {
                for rank in ranks.iter().filter(|rank| self.unready.remove(*rank)).collect::<Vec<_>>() {
                    self.say(&format!("rank {rank}{} is ready again", self.on_node(*rank)));
                }
            }
            EventKind::InterpretersDiffer { submitter, versions } => {
                let here = submitter.iter().map(|version| format!("{version} where it was submitted"));
                let nodes = versions.iter().map(|(version, nodes)| {
                    let nodes: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
                    format!("{version} on {}", nodes.join(", "))
                });
                let each: Vec<String> = here.chain(nodes).collect();
                self.warn(&format!("the job's Python is not the same everywhere: {}", each.join("; ")));
            }
            EventKind::Notice { notice } => self.on_notice(notice),
            EventKind::JobEnded { outcome } => self.on_end(event, outcome),
            kind => self.say_of(kind),
        }
    }

    fn on_running(&mut self, event: &Event) {
        self.printer.status(None);
        let Some(job) = &event.job else { return };
        let ms = self.timings.start_ms().unwrap_or_default();
        let ranks = if self.ranks == 1 { "1 rank".to_owned() } else { format!("{} ranks", self.ranks) };
        let again =
            if self.generation.0 > 1 { format!(", generation {}", self.generation) } else { String::new() };
        let logs = match &self.log_dir {
            Some(dir) => format!("logs in {dir}/{job}"),
            None => format!("logs: phalanx logs {job}"),
        };
        self.say(&format!("{job}: {ranks} running after {ms:.0} ms{again}; {logs}"));
    }

    fn on_exit(&mut self, exit: &RankExit) {
        let failed = exit.probe.is_some() || (!exit.status.success() && !exit.after_stop);
        if !failed && !self.late.contains(&exit.rank) {
            return;
        }
        self.failed += usize::from(failed);
        if self.exits.len() < EXITS_KEPT {
            self.exits.push(exit.clone());
        }
    }

    fn on_stopping(&mut self, cause: &Cause) {
        self.printer.status(None);
        // What they said last comes with their end.
        self.late.extend(cause.rank().filter(|_| matches!(cause, Cause::StartTimeout { .. })));
        self.phase = if self.started() { Phase::Stopping } else { self.phase };
    }

    fn on_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::OutputDropped { rank, bytes, why } => self.warn(&format!(
                "{bytes} bytes of rank {rank}'s output{} reached no file: {why}; free space or choose another --log-dir",
                self.on_node(*rank)
            )),
            Notice::OutputRotatedOut { rank, bytes } => {
                self.warn(&format!("the oldest {bytes} bytes of rank {rank}'s log were removed by rotation; raise output.keepFiles to keep more"));
            }
            Notice::EnvironmentOverridden { job, inherited } => {
                for (names, whose) in [(job, "the job"), (inherited, "the environment of this launch")] {
                    let decisive: Vec<&str> =
                        names.iter().map(String::as_str).filter(|name| DECISIVE.contains(name)).collect();
                    if !decisive.is_empty() {
                        self.warn(&format!("{} as {whose} sets it, not as Phalanx would", decisive.join(", ")));
                    }
                }
            }
            Notice::Refused { what } => self.warn(&format!("refused: {what}")),
            Notice::Directory { node, path, keep } => {
                self.directories.insert(node.clone(), (path.clone(), *keep));
            }
            Notice::MemoryNotPreferred { rank, why } => self.warn(&format!(
                "memory of ranks{} comes from any NUMA node, not from the nearest: {why}; containers forbid set_mempolicy without CAP_SYS_NICE",
                self.on_node(*rank)
            )),
            Notice::PreStopFailed { rank, why } => self.warn(&format!(
                "the preStop hook of rank {rank}{} failed ({}); the rank is stopped all the same",
                self.on_node(*rank),
                one_line(why)
            )),
        }
    }

    fn on_end(&mut self, event: &Event, outcome: &Outcome) {
        self.printer.status(None);
        if self.options.timings && !self.options.json {
            self.printer.line(self.timings.tables());
        }
        let Some(job) = &event.job else { return };
        let culprit = match outcome {
            Outcome::Failed { first_cause, .. } => {
                first_cause.rank().and_then(|rank| self.exits.iter().find(|exit| exit.rank == rank))
            }
            _ => None,
        };
        let ending = Ending {
            job,
            generation: self.generation,
            local: self.options.local,
            log_dir: self.log_dir.as_deref(),
            culprit,
            failed: self.failed,
        };
        let text = summary::lines(outcome, &ending);
        if !text.is_empty() && !self.options.json && !self.unwaited {
            self.printer.line(text);
        }
        self.tell_kept(outcome);
    }

    fn tell_kept(&self, outcome: &Outcome) {
        let failed = *outcome != Outcome::Succeeded;
        let is_kept = |keep: Keep| keep == Keep::Always || (failed && keep == Keep::OnFailure);
        let kept: Vec<_> = self.directories.iter().filter(|(_, (_, keep))| is_kept(*keep)).collect();
        for (node, (path, _)) in kept.iter().take(DIRECTORIES_NAMED) {
            self.say(&format!("its TMPDIR on {node} is kept: {path}"));
        }
        if kept.len() > DIRECTORIES_NAMED {
            self.say(&format!("and {} more, on other nodes", kept.len() - DIRECTORIES_NAMED));
        }
    }

    /// ` on NODE`, where a job may have several.
    fn on_node(&self, rank: Rank) -> String {
        let mut end = 0;
        let mut places = self.places.iter();
        let place = places.find(|(_, ranks)| {
            end += ranks;
            rank.0 < end
        });
        match place {
            Some((node, _)) if !self.options.local => format!(" on {node}"),
            _ => String::new(),
        }
    }

    /// What the event says by itself.
    fn say_of(&self, kind: &EventKind) {
        if let Some(said) = kind.said(self.options.local) {
            self.say(&said);
        }
    }

    /// A line for people that `--quiet` leaves out.
    fn say(&self, text: &str) {
        if !self.options.quiet && !self.options.json {
            self.printer.line(format!("phalanx: {text}"));
        }
    }

    /// A line for people that is always shown.
    fn warn(&self, text: &str) {
        if !self.options.json {
            self.printer.line(format!("phalanx: warning: {text}"));
        }
    }
}
