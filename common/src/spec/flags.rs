//! Flags laid over a job file.

use super::error::{Error, Place, Problem};
use super::file::{JobFile, Text, Variable};
use super::needs::NeedsFlags;
use super::place::{Given, Origin};
use super::problem::ProblemKind;
use super::read::{self, Read, Scalar, Style};
use super::resolve::Surroundings;

/// What was typed on the command line, as text: a flag's value is read exactly as the file's would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--name NAME`
    pub name: Option<String>,
    /// `-n`, `--ranks NUMBER|gpu|cpu`
    pub ranks: Option<String>,
    /// `--nodes NUMBER`
    pub nodes: Option<String>,
    /// `--ranks-per-node NUMBER`
    pub ranks_per_node: Option<String>,
    /// Devices, groups and placement.
    pub needs: NeedsFlags,
    /// `-C`, `--working-dir DIR`
    pub working_dir: Option<String>,
    /// `--ship DIR`
    pub ship: Option<String>,
    /// `--env NAME[=VALUE]`, any number of times; without a value, the launcher's own.
    pub env: Vec<String>,
    /// Lines of files given by `--env-file`, `NAME=VALUE`.
    pub env_file: Vec<String>,
    /// `--secret NAME[=FILE]`, any number of times.
    pub secret: Vec<String>,
    /// `--start-timeout SECONDS`
    pub start_timeout: Option<String>,
    /// `--grace SECONDS`
    pub grace: Option<String>,
    /// `--max-restarts NUMBER`
    pub max_restarts: Option<String>,
    /// `--restart-policy Never|OnFailure|Always`
    pub restart_policy: Option<String>,
    /// `--restart-scope gang|pod|rank`
    pub restart_scope: Option<String>,
    /// `--deadline SECONDS`
    pub deadline: Option<String>,
    /// `--suspend[=true|false]`
    pub suspend: Option<String>,
    /// `--fencing lenient|strict`
    pub fencing: Option<String>,
    /// `--unreachable SECONDS`
    pub unreachable: Option<String>,
    /// `--lease SECONDS`
    pub lease: Option<String>,
    /// `--stop-scope group|process`
    pub stop_scope: Option<String>,
    /// `--keep never|onFailure|always`
    pub keep: Option<String>,
    /// `--output label|raw|rank0|files`
    pub output: Option<String>,
    /// `--log-dir DIR`
    pub log_dir: Option<String>,
    /// `--max-file-size SIZE`
    pub max_file_size: Option<String>,
    /// `--keep-files NUMBER`
    pub keep_files: Option<String>,
    /// The command after the flags; empty if there is none.
    pub command: Vec<String>,
}

impl JobFile {
    /// Lays `flags` over the file: a flag wins over the same key, `env` is merged name by name, a number of
    /// ranks or devices by flag replaces both `ranks` and `ranksPerNode` of the file, and a directory both
    /// `workingDir` and `ship`.
    ///
    /// # Errors
    /// Every flag that cannot be read, named with what was typed.
    pub fn overlay(mut self, flags: &Flags, around: &Surroundings<'_>) -> Result<JobFile, Error> {
        if flags.ranks.is_some() || flags.ranks_per_node.is_some() || flags.needs.count_ranks() {
            (self.ranks, self.ranks_per_node) = (None, None);
        }
        if flags.max_restarts.is_some() {
            self.restart_budget.gang.max = None;
        }
        if flags.working_dir.is_some() || flags.ship.is_some() {
            (self.working_dir, self.ship) = (None, None);
        }
        let mut problems = Problems(Vec::new());
        problems.set(&mut self.name, "--name", &flags.name, read::name);
        problems.set(&mut self.ranks, "--ranks", &flags.ranks, read::ranks);
        problems.set(&mut self.nodes, "--nodes", &flags.nodes, read::nodes);
        problems.set(
            &mut self.ranks_per_node,
            "--ranks-per-node",
            &flags.ranks_per_node,
            read::ranks_per_node,
        );
        self.overlay_needs(&flags.needs, &mut problems);
        problems.set(&mut self.working_dir, "--working-dir", &flags.working_dir, read::path);
        problems.set(&mut self.ship, "--ship", &flags.ship, read::path);
        problems.set(
            &mut self.start_timeout_seconds,
            "--start-timeout",
            &flags.start_timeout,
            read::positive,
        );
        problems.set(&mut self.termination_grace_period_seconds, "--grace", &flags.grace, read::seconds);
        problems.set(&mut self.max_restarts, "--max-restarts", &flags.max_restarts, read::count);
        problems.set(&mut self.restart_policy, "--restart-policy", &flags.restart_policy, read::choice);
        problems.set(&mut self.restart_scope, "--restart-scope", &flags.restart_scope, read::choice);
        problems.set(&mut self.active_deadline_seconds, "--deadline", &flags.deadline, read::positive);
        problems.set(&mut self.suspend, "--suspend", &flags.suspend, read::boolean);
        problems.set(&mut self.fencing, "--fencing", &flags.fencing, read::choice);
        problems.set(&mut self.unreachable_seconds, "--unreachable", &flags.unreachable, read::positive);
        problems.set(&mut self.lease_seconds, "--lease", &flags.lease, read::lease);
        problems.set(&mut self.stop_scope, "--stop-scope", &flags.stop_scope, read::choice);
        problems.set(&mut self.keep, "--keep", &flags.keep, read::choice);
        problems.set(&mut self.output.mode, "--output", &flags.output, read::choice);
        problems.set(&mut self.output.log_dir, "--log-dir", &flags.log_dir, read::path);
        problems.set(&mut self.output.max_file_size, "--max-file-size", &flags.max_file_size, read::size);
        problems.set(&mut self.output.keep_files, "--keep-files", &flags.keep_files, read::count);
        for typed in &flags.env_file {
            // What a line says is not shown: it may be a secret.
            let shown = name_of(typed);
            if let Err(kind) = self.set_variable("--env-file", typed, around) {
                problems.push("--env-file", shown, kind);
            }
        }
        for typed in &flags.env {
            match self.set_variable("--env", typed, around) {
                Err(kind @ ProblemKind::PlainAndSecret { .. }) => {
                    problems.push("--env", name_of(typed), kind);
                }
                Err(kind) => problems.push("--env", typed, kind),
                Ok(()) => {}
            }
        }
        for typed in &flags.secret {
            if let Err(kind) = self.set_secret(typed) {
                problems.push("--secret", typed, kind);
            }
        }
        match command(&flags.command) {
            Ok(Some(words)) => self.command = Some(Given::new(words, Origin::Arguments)),
            Ok(None) => {}
            Err(kind) => problems.0.push(Problem::at(Place::Arguments, kind)),
        }
        Error::check(problems.0, 0)?;
        Ok(self)
    }
}

impl JobFile {
    /// `NAME=VALUE`, or `NAME` for the launcher's own value.
    fn set_variable(&mut self, flag: &'static str, typed: &str, around: &Surroundings<'_>) -> Read<()> {
        let (name, value) = variable(typed, around)?;
        self.not_both(&name, false)?;
        let origin = origin(flag, &name);
        self.env.insert(name, Given::new(Variable::Plain(value), origin));
        Ok(())
    }

    /// A secret that the file asks for is given by the flag under its name; any other is a variable of that
    /// name.
    fn set_secret(&mut self, typed: &str) -> Read<()> {
        let name = name_of(typed);
        read::variable(name)?;
        if self.secrets().any(|(_, key)| key == name) {
            return Ok(());
        }
        self.not_both(name, true)?;
        let secret = Given::new(Variable::Secret(name.to_owned()), origin("--secret", typed));
        self.env.insert(name.to_owned(), secret);
        Ok(())
    }
}

/// The name in `NAME=VALUE`.
fn name_of(typed: &str) -> &str {
    typed.split_once('=').map_or(typed, |(name, _)| name)
}

/// Collects what is wrong with flags.
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn set<T>(
        &mut self,
        value: &mut Option<Given<T>>,
        flag: &'static str,
        typed: &Option<String>,
        read: impl Fn(Scalar<'_>) -> Read<T>,
    ) {
        let Some(typed) = typed else { return };
        match read(Scalar { text: typed, style: Style::Flag }) {
            Ok(read) => *value = Some(Given::new(read, origin(flag, typed))),
            Err(kind) => self.push(flag, typed, kind),
        }
    }

    pub(super) fn push(&mut self, flag: &'static str, typed: &str, kind: ProblemKind) {
        self.0.push(Problem::at(Place::Flag { flag, typed: typed.to_string() }, kind));
    }
}

pub(super) fn origin(flag: &'static str, typed: &str) -> Origin {
    Origin::Flag { flag, typed: typed.to_string() }
}

fn variable(typed: &str, around: &Surroundings<'_>) -> Read<(String, Text)> {
    let (name, value) = match typed.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (typed, None),
    };
    read::variable(name)?;
    let value = value.or_else(|| (around.env)(name)).ok_or(ProblemKind::VariableNotSet)?;
    read::no_nul(&value)?;
    Ok((name.to_string(), Text(value)))
}

fn command(words: &[String]) -> Read<Option<Vec<Text>>> {
    match words.first() {
        None => return Ok(None),
        Some(program) if program.is_empty() => return Err(ProblemKind::EmptyProgram),
        Some(_) => {}
    }
    words.iter().map(|word| Ok(Text(read::no_nul(word)?.to_string()))).collect::<Read<_>>().map(Some)
}
