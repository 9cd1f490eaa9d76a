//! From what was asked to a `JobSpec` in which nothing is missing.

use std::fmt;

use super::error::{Error, Place, Problem};
use super::file::{JobFile, Ranks, Variable};
use super::job::{JobSpec, OutputSpec, Shape};
use super::lifecycle::Times;
use super::name;
use super::place::{Given, Origin};
use super::problem::ProblemKind;
use crate::defaults;

/// Most bytes of a job's command and variables together: they fit a frame with all that goes beside them.
pub const MAX_TEXT_BYTES: usize = defaults::FRAME_CAP / 2;

/// What a job is resolved against. The questions are asked only if the job depends on the answer.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The launcher's directory, absolute.
    pub cwd: &'a str,
    /// Directory of the job file, absolute or relative to `cwd`; `cwd` if `None`.
    pub file_dir: Option<&'a str>,
    /// Directory for logs if none is asked for, absolute or relative to `cwd`; `None` leaves it to the workers.
    pub log_dir: Option<&'a str>,
    /// The job is for a cluster, not for the launcher's machine.
    pub cluster: bool,
    /// Cores the launcher may use: what `ranks: cpu` means.
    pub cpus: u32,
    /// Counts the GPUs the launcher may use: what `ranks: gpu` means.
    pub gpus: &'a dyn Fn() -> Result<u32, CountError>,
    /// A variable of the launcher's environment: what `--env NAME` means.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Why GPUs could not be counted, in the words of whoever tried.
pub type CountError = Box<dyn std::error::Error + Send + Sync>;

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("cwd", &self.cwd)
            .field("file_dir", &self.file_dir)
            .field("log_dir", &self.log_dir)
            .field("cluster", &self.cluster)
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

impl JobFile {
    /// Fills in the defaults and checks what depends on more than one value.
    ///
    /// # Errors
    /// No command, impossible probes, numbers of ranks that contradict each other, `gpu` without a GPU, groups that do not multiply to
    /// the ranks, wishes that contradict each other, more text than travels.
    pub fn resolve(&self, around: &Surroundings<'_>) -> Result<JobSpec, Error> {
        let shape = self.resolve_shape(around);
        let command = self.command.as_ref().ok_or_else(|| Box::new(self.missing(ProblemKind::NoCommand)));
        let start = self.one_start();
        let (shape, command) = match (shape, command, start) {
            (Ok(shape), Ok(command), Ok(())) => (shape, command),
            (shape, command, start) => return Err(Error::all([shape.err(), start.err(), command.err()])),
        };
        let time = |given: &Option<Given<super::file::Positive>>| given.as_ref().map(|given| given.value.0);
        let start_timeout = time(&self.start_timeout_seconds).unwrap_or(defaults::START_TIMEOUT);
        let needs = self.resolve_needs(shape);
        let probes = self.resolve_probes(shape, start_timeout);
        let grace = self.termination_grace_period_seconds.as_ref();
        let grace = grace.map_or(defaults::TERMINATION_GRACE, |given| given.value.0);
        let lifecycle = self.resolve_lifecycle(shape, Times { start: start_timeout, grace });
        let (recovery, lifetime) = (self.resolve_recovery(), self.resolve_lifetime(shape.ranks()));
        let (needs, probes, lifecycle, (recovery, max_restarts), lifetime) =
            match (needs, probes, lifecycle, recovery, lifetime) {
                (Ok(needs), Ok(probes), Ok(lifecycle), Ok(recovery), Ok(lifetime)) => {
                    (needs, probes, lifecycle, recovery, lifetime)
                }
                (needs, probes, lifecycle, recovery, lifetime) => {
                    let problems =
                        [needs.err(), probes.err(), lifecycle.err(), recovery.err(), lifetime.err()];
                    return Err(Error::of(problems.into_iter().flatten().flatten().collect()));
                }
            };
        let command: Vec<String> = command.value.iter().map(|word| word.0.clone()).collect();
        let bytes = command.iter().map(String::len).sum::<usize>()
            + self
                .env
                .iter()
                .map(|(name, given)| name.len() + plain(given).map_or(0, str::len))
                .sum::<usize>()
            + needs.placement.text_bytes()
            + probes.text_bytes()
            + lifecycle.text_bytes();
        if bytes > MAX_TEXT_BYTES {
            let kind = ProblemKind::TooMuchText { bytes, cap: MAX_TEXT_BYTES };
            return Err(Error::one(self.missing(kind)));
        }
        let output = &self.output;
        let log_dir = output.log_dir.as_ref().map(|dir| place(dir, around));
        Ok(JobSpec {
            name: value(&self.name).unwrap_or_else(|| name::from_command(&command)),
            shape,
            resources: needs.resources,
            parallelism: needs.parallelism,
            placement: needs.placement,
            elastic: needs.elastic,
            command,
            working_dir: match &self.ship {
                // On one machine the directory is there already.
                Some(dir) => (!around.cluster).then(|| place(dir, around)),
                None => self.working_dir.as_ref().map(|dir| place(dir, around)),
            },
            ship: None,
            virtual_env: None,
            secrets: self.secrets().map(|(name, _)| name.to_owned()).collect(),
            unreachable: time(&self.unreachable_seconds).unwrap_or(defaults::UNREACHABLE),
            lease: time(&self.lease_seconds).unwrap_or(defaults::LEASE),
            fencing: value(&self.fencing).unwrap_or_default(),
            env: self
                .env
                .iter()
                .filter_map(|(name, given)| Some((name.clone(), plain(given)?.to_owned())))
                .collect(),
            start_timeout,
            termination_grace: grace,
            max_restarts,
            recovery,
            lifetime,
            probes,
            lifecycle,
            stop_scope: value(&self.stop_scope).unwrap_or_default(),
            keep: value(&self.keep).unwrap_or_default(),
            output: OutputSpec {
                mode: value(&output.mode).unwrap_or_default(),
                log_dir: log_dir.or_else(|| around.log_dir.map(|dir| absolute(around.cwd, dir))),
                max_file_bytes: value(&output.max_file_size).map_or(defaults::LOG_FILE_CAP, |size| size.0),
                keep_files: value(&output.keep_files).unwrap_or(defaults::LOG_FILES_KEPT),
            },
        })
    }

    /// The directory that travels with the job, as an absolute path; `None` if none does. `JobSpec::ship` is
    /// what it becomes once it is packed.
    pub fn ship_dir(&self, around: &Surroundings<'_>) -> Option<String> {
        self.ship.as_ref().filter(|_| around.cluster).map(|dir| place(dir, around))
    }

    /// Ranks start in one place: `workingDir`, or the copy of `ship`.
    fn one_start(&self) -> Result<(), Box<Problem>> {
        match (&self.working_dir, &self.ship) {
            (Some(_), Some(ship)) => {
                Err(Box::new(self.problem("ship", &ship.origin, ProblemKind::TwoStarts)))
            }
            _ => Ok(()),
        }
    }

    /// `ranks` alone or the devices of the whole job, `ranksPerNode` alone, or both if they agree; on as many nodes as were asked for.
    fn resolve_shape(&self, around: &Surroundings<'_>) -> Result<Shape, Box<Problem>> {
        let nodes = value(&self.nodes);
        if let Some(given) = &self.nodes
            && !around.cluster
            && given.value > 1
        {
            let kind = ProblemKind::OneMachine { nodes: given.value };
            return Err(Box::new(self.problem("nodes", &given.origin, kind)));
        }
        let per_node = value(&self.ranks_per_node);
        let Some(asked) = self.ranks_asked()? else {
            return self.by_node(nodes.unwrap_or(1), per_node.unwrap_or(1));
        };
        let refuse = |kind| Err(Box::new(self.problem("ranks", &asked.origin, kind)));
        let ranks = match asked.value {
            Ranks::Number(ranks) => ranks,
            Ranks::Cpu | Ranks::Gpu if around.cluster => {
                let what = if asked.value == Ranks::Cpu { "cpu" } else { "gpu" };
                return refuse(ProblemKind::WhichMachine { what });
            }
            Ranks::Cpu => around.cpus.max(1),
            Ranks::Gpu => match (around.gpus)() {
                Ok(0) => return refuse(ProblemKind::NoGpu),
                Ok(count) => count,
                Err(why) => return refuse(ProblemKind::GpusUnknown(why)),
            },
        };
        let unequal = value(&self.placement.uneven).unwrap_or_default();
        match (nodes, per_node) {
            (None, Some(ranks_per_node)) if around.cluster && !ranks.is_multiple_of(ranks_per_node) => {
                refuse(ProblemKind::PartOfNode { ranks, ranks_per_node, unequal })
            }
            (nodes, Some(ranks_per_node)) => {
                let nodes = nodes.unwrap_or(if around.cluster { ranks / ranks_per_node } else { 1 });
                match u64::from(nodes) * u64::from(ranks_per_node) {
                    _ if nodes > defaults::MAX_NODES => refuse(ProblemKind::TooManyNodes { nodes }),
                    all if all == u64::from(ranks) => Ok(Shape::Nodes { nodes, ranks_per_node }),
                    _ => refuse(ProblemKind::Contradiction { ranks, nodes, ranks_per_node }),
                }
            }
            (None, None) if around.cluster => Ok(Shape::Ranks(ranks)),
            (nodes, None) => match (nodes.unwrap_or(1), asked.value) {
                (nodes, _) if !ranks.is_multiple_of(nodes) => {
                    refuse(ProblemKind::Uneven { ranks, nodes, cluster: around.cluster, unequal })
                }
                (nodes, _) if ranks / nodes <= defaults::MAX_RANKS_PER_NODE => {
                    Ok(Shape::Nodes { nodes, ranks_per_node: ranks / nodes })
                }
                (_, Ranks::Cpu) => refuse(ProblemKind::TooManyRanks { count: ranks }),
                (nodes, _) => refuse(ProblemKind::TooManyOnNode { count: ranks / nodes }),
            },
        }
    }

    /// The shape of a job that says only how many ranks a node has.
    fn by_node(&self, nodes: u32, ranks_per_node: u32) -> Result<Shape, Box<Problem>> {
        let count = u64::from(nodes) * u64::from(ranks_per_node);
        match &self.ranks_per_node {
            Some(Given { origin, .. }) if count > u64::from(defaults::MAX_RANKS) => {
                Err(Box::new(self.problem("ranksPerNode", origin, ProblemKind::TooManyInAll { count })))
            }
            _ => Ok(Shape::Nodes { nodes, ranks_per_node }),
        }
    }

    pub(super) fn problem(&self, key: &str, origin: &Origin, kind: ProblemKind) -> Problem {
        match (origin, &self.source) {
            (Origin::File(span), Some(source)) => source.problem(*span, Some(key.to_string()), kind),
            _ => Problem::at(self.place_of(origin), kind),
        }
    }

    pub(super) fn place_of(&self, origin: &Origin) -> Place {
        match (origin, &self.source) {
            (Origin::File(span), Some(source)) => source.place(*span),
            (Origin::Flag { flag, typed }, _) => Place::Flag { flag, typed: typed.clone() },
            (Origin::Arguments, _) => Place::Arguments,
            (Origin::File(_), None) => Place::Missing,
        }
    }

    /// A problem of something that stands nowhere.
    fn missing(&self, kind: ProblemKind) -> Problem {
        match &self.source {
            Some(source) => source.whole(kind),
            None => Problem::at(Place::Missing, kind),
        }
    }
}

fn plain(given: &Given<Variable>) -> Option<&str> {
    match &given.value {
        Variable::Plain(text) => Some(&text.0),
        Variable::Secret(_) => None,
    }
}

fn value<T: Clone>(given: &Option<Given<T>>) -> Option<T> {
    given.as_ref().map(|given| given.value.clone())
}

/// The absolute form of a directory: from a file it is relative to that file, else to the launcher.
fn place(dir: &Given<String>, around: &Surroundings<'_>) -> String {
    let base = match around.file_dir {
        Some(file_dir) if dir.is_from_file() => absolute(around.cwd, file_dir),
        _ => around.cwd.to_string(),
    };
    absolute(&base, &dir.value)
}

/// `path` from `base`, without `.` and doubled slashes. `..` stays: only the kernel knows where it leads.
fn absolute(base: &str, path: &str) -> String {
    let whole = match path.starts_with('/') {
        true => path.to_string(),
        false => format!("{base}/{path}"),
    };
    let parts: Vec<&str> = whole.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}
