//! Replay files: a seed that broke an invariant, kept so that its run can be stepped through.
//!
//! The file names all that the run follows from (seed, profile, sabotage), where it broke what, and its trace. A
//! [`Player`] runs it again, one event after another, with the code of today: it breaks the same way, or it shows
//! that it was mended.

use std::fs;
use std::path::{Path, PathBuf};

use phalanx_launcher_core::Coordinator;
use serde_json::{Value, json};

use super::profile::Profile;
use super::sabotage::Sabotage;
use super::seeded::{self, Run, Settling};
use super::world::World;

/// Of the format of replay files.
const VERSION: u64 = 1;

/// A run that broke an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub seed: u64,
    pub profile: Profile,
    pub sabotage: Option<Sabotage>,
    /// How many events had happened when it broke.
    pub events: u64,
    /// I1 to I10.
    pub invariant: String,
    pub what: String,
    pub trace: Vec<String>,
}

/// Why a replay file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write the replay file {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read the replay file {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not JSON", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{} is no replay file of version {VERSION}: its `{key}` is missing or wrong", path.display())]
    Key { path: PathBuf, key: &'static str },
}

impl Replay {
    /// `None` if the run broke nothing. It has a trace only if the run kept one.
    pub fn of(run: &Run) -> Option<Replay> {
        let violation = run.violations.first()?;
        Some(Replay {
            seed: run.seed,
            profile: run.profile,
            sabotage: run.sabotage,
            events: run.steps,
            invariant: format!("{:?}", violation.invariant),
            what: violation.what.clone(),
            trace: run.trace.clone(),
        })
    }

    /// Writes it into this directory, which is made if it is not there, and says where it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, Error> {
        let path = directory.join(format!("replay-{}-{}.json", self.profile.name(), self.seed));
        let value = json!({
            "version": VERSION,
            "seed": self.seed,
            "profile": self.profile.name(),
            "sabotage": self.sabotage.map(|sabotage| format!("{sabotage:?}")),
            "events": self.events,
            "invariant": self.invariant,
            "what": self.what,
            "trace": self.trace,
        });
        let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, format!("{value:#}\n")));
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(Error::Write { path, source }),
        }
    }

    /// # Errors
    /// The file cannot be read, or is none of these.
    pub fn read(path: &Path) -> Result<Replay, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let value: Value =
            serde_json::from_str(&text).map_err(|source| Error::Json { path: path.into(), source })?;
        Replay::parse(&value).map_err(|key| Error::Key { path: path.into(), key })
    }

    /// The key that is missing or wrong, if one is.
    fn parse(value: &Value) -> Result<Replay, &'static str> {
        let number = |key: &'static str| value[key].as_u64().ok_or(key);
        let text = |key: &'static str| value[key].as_str().ok_or(key);
        if number("version")? != VERSION {
            return Err("version");
        }
        let sabotage = match &value["sabotage"] {
            Value::Null => None,
            named => Some(named.as_str().and_then(Sabotage::named).ok_or("sabotage")?),
        };
        let trace = value["trace"].as_array().ok_or("trace")?;
        let lines = trace.iter().map(|line| line.as_str().map(str::to_owned).ok_or("trace"));
        Ok(Replay {
            seed: number("seed")?,
            profile: Profile::named(text("profile")?).ok_or("profile")?,
            sabotage,
            events: number("events")?,
            invariant: text("invariant")?.to_owned(),
            what: text("what")?.to_owned(),
            trace: lines.collect::<Result<_, _>>()?,
        })
    }
}

/// One event of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The first event is 1. The last one may be shared by the checks that are made at the end.
    pub event: u64,
    /// What the trace says of it.
    pub lines: Vec<String>,
    /// How jobs and nodes stand after it, as the coordinator sees them.
    pub state: String,
}

/// What became of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As the file says.
    BrokeAgain,
    /// Something broke, and not as the file says.
    BrokeElse {
        events: u64,
        invariant: String,
        what: String,
    },
    Holds,
}

/// Runs a replay, one event after another.
#[derive(Debug)]
pub struct Player {
    replay: Replay,
    world: World,
    settling: Settling,
    /// Lines of the trace that were shown.
    shown: usize,
    over: bool,
}

impl Player {
    pub fn new(replay: Replay) -> Player {
        let mut world = seeded::world(replay.seed, replay.profile, replay.sabotage, true);
        let settling = Settling::begin(&mut world);
        Player { replay, world, settling, shown: 0, over: false }
    }

    /// What happens next; `None` once all has happened.
    pub fn step(&mut self) -> Option<Step> {
        if self.over {
            return None;
        }
        self.over = !self.settling.step(&mut self.world);
        let lines = self.world.trace_lines()[self.shown..].to_vec();
        self.shown += lines.len();
        // The end of a run is no event, and shown only if it has something to say.
        let told = !self.over || !lines.is_empty();
        told.then(|| Step { event: self.world.steps(), lines, state: state(self.world.coordinator()) })
    }

    /// Asked once there is no further step.
    pub fn ended(&self) -> Ended {
        let Some(violation) = self.world.violations.first() else { return Ended::Holds };
        let (events, invariant) = (self.world.steps(), format!("{:?}", violation.invariant));
        let replay = &self.replay;
        if (events, &invariant, &violation.what) == (replay.events, &replay.invariant, &replay.what) {
            return Ended::BrokeAgain;
        }
        Ended::BrokeElse { events, invariant, what: violation.what.clone() }
    }
}

fn state(coordinator: Option<&Coordinator>) -> String {
    let Some(coordinator) = coordinator else { return "no coordinator".to_owned() };
    let jobs = coordinator.jobs().map(|view| {
        let generation = view.job.active().map(|active| format!(" generation {}", active.number));
        format!("{} {:?}{}", view.id, view.phase, generation.unwrap_or_default())
    });
    let lost = coordinator.nodes().iter().filter(|(_, node)| !node.reachable());
    let lost = lost.map(|(id, _)| format!("{id} unreachable"));
    let words: Vec<String> = jobs.chain(lost).collect();
    words.join(" · ")
}
