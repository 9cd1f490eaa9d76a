//! The tree of a YAML document to a `JobFile`, going on after each problem.

use std::collections::BTreeMap;

use super::decoder::Decoder;
use super::error::Error;
use super::file::{JobFile, Output, Text, Variable};
use super::keys;
use super::lifecycle;
use super::place::{Given, Origin, Source};
use super::problem::{Expected, ProblemKind};
use super::read::{self, Scalar, Style};
use super::yaml;
use crate::yaml::{Found, Key, Node, Value};

/// Reads a job file; reports all that is wrong with it.
pub(super) fn decode(source: Source) -> Result<JobFile, Error> {
    let root = yaml::parse(&source)?.ok_or_else(|| Error::one(source.whole(ProblemKind::Empty)))?;
    decode_tree(source, &root)
}

/// The same for a tree that is there already.
pub(super) fn decode_tree(source: Source, root: &Node) -> Result<JobFile, Error> {
    let mut decoder = Decoder::new(&source);
    let mut file = JobFile::default();
    if let Some(entries) = decoder.mapping("", root, "keys such as `command: [python, train.py]`") {
        for (key, node) in entries {
            decoder.top(&mut file, key, node);
        }
    }
    decoder.finish()?;
    Ok(JobFile { source: Some(source), ..file })
}

impl Decoder<'_> {
    fn top(&mut self, file: &mut JobFile, key: &Key, node: &Node) {
        let name = key.text.as_str();
        match name {
            "name" => file.name = self.scalar(name, node, read::name),
            "ranks" => file.ranks = self.scalar(name, node, read::ranks),
            "nodes" => file.nodes = self.scalar(name, node, read::nodes),
            "ranksPerNode" => file.ranks_per_node = self.scalar(name, node, read::ranks_per_node),
            "resources" => file.resources = self.resources(node),
            "parallelism" => file.parallelism = self.parallelism(node),
            "placement" => file.placement = self.placement(node),
            "elastic" => file.elastic = Some(self.elastic(Origin::File(key.span), node)),
            "command" => file.command = self.command("command", node),
            "workingDir" => file.working_dir = self.scalar(name, node, read::path),
            "ship" => file.ship = self.scalar(name, node, read::path),
            "env" => file.env = self.env(node),
            "startTimeoutSeconds" => file.start_timeout_seconds = self.scalar(name, node, read::positive),
            "terminationGracePeriodSeconds" => {
                file.termination_grace_period_seconds = self.scalar(name, node, read::seconds);
            }
            "stopSignal" => file.stop_signal = self.scalar(name, node, lifecycle::stop_signal),
            "lifecycle" => file.lifecycle = self.lifecycle(node),
            "initContainers" => file.init_containers = self.init_containers(node),
            "initOnce" => file.init_once = self.scalar(name, node, read::boolean),
            "startupProbe" => {
                file.startup_probe = Some(self.probe("startupProbe", Origin::File(key.span), node))
            }
            "readinessProbe" => {
                file.readiness_probe = Some(self.probe("readinessProbe", Origin::File(key.span), node));
            }
            "livenessProbe" => {
                file.liveness_probe = Some(self.probe("livenessProbe", Origin::File(key.span), node));
            }
            "maxRestarts" => file.max_restarts = self.scalar(name, node, read::count),
            "restartPolicy" => file.restart_policy = self.scalar(name, node, read::choice),
            "restartScope" => file.restart_scope = self.scalar(name, node, read::choice),
            "restartBudget" => file.restart_budget = self.restart_budget(node),
            "failureRules" => file.failure_rules = self.failure_rules(node),
            "successPolicy" => {
                file.success_policy = Some(self.success_policy(Origin::File(key.span), node));
            }
            "activeDeadlineSeconds" => file.active_deadline_seconds = self.scalar(name, node, read::positive),
            "ttlSecondsAfterFinished" => {
                file.ttl_seconds_after_finished = self.scalar(name, node, read::seconds);
            }
            "suspend" => file.suspend = self.scalar(name, node, read::boolean),
            "fencing" => file.fencing = self.scalar(name, node, read::choice),
            "unreachableSeconds" => file.unreachable_seconds = self.scalar(name, node, read::positive),
            "leaseSeconds" => file.lease_seconds = self.scalar(name, node, read::lease),
            "stopScope" => file.stop_scope = self.scalar(name, node, read::choice),
            "keep" => file.keep = self.scalar(name, node, read::choice),
            "output" => file.output = self.output(node),
            _ => match keys::not_yet(name) {
                Some((what, why)) => self.problem(key.span, None, ProblemKind::NotYet { what, why }),
                None => self.unknown(key, None, keys::nearest_key, keys::SUPPORTED),
            },
        }
    }

    fn output(&mut self, node: &Node) -> Output {
        let mut output = Output::default();
        match &node.value {
            Value::Scalar { .. } if matches!(node.found(), Found::Text(_)) => {
                output.mode = self.scalar("output", node, read::choice);
            }
            Value::Mapping(_) => {
                for (key, node) in self.mapping("output", node, "").unwrap_or_default() {
                    let path = format!("output.{}", key.text);
                    match key.text.as_str() {
                        "mode" => output.mode = self.scalar(&path, node, read::choice),
                        "logDir" => output.log_dir = self.scalar(&path, node, read::path),
                        "maxFileSize" => output.max_file_size = self.scalar(&path, node, read::size),
                        "keepFiles" => output.keep_files = self.scalar(&path, node, read::count),
                        _ => {
                            let nearest = |name: &str| keys::nearest(name, keys::OUTPUT);
                            self.unknown(key, Some("output"), nearest, keys::OUTPUT);
                        }
                    }
                }
            }
            _ => self.expected("output", node, Expected::Output),
        }
        output
    }

    fn env(&mut self, node: &Node) -> BTreeMap<String, Given<Variable>> {
        let mut env = BTreeMap::new();
        for (key, node) in
            self.mapping("env", node, "variables such as `OMP_NUM_THREADS: 8`").unwrap_or_default()
        {
            if let Err(kind) = read::variable(&key.text) {
                let path = match kind {
                    ProblemKind::ReservedVariable => format!("env.{}", key.text),
                    _ => "env".to_string(),
                };
                self.problem(key.span, Some(path), kind);
                continue;
            }
            let path = format!("env.{}", key.text);
            let value = match &node.value {
                Value::Mapping(_) => self.secret(&path, node),
                _ => self.scalar(&path, node, read::variable_value),
            };
            env.extend(value.map(|value| (key.text.clone(), value)));
        }
        env
    }

    fn secret(&mut self, path: &str, node: &Node) -> Option<Given<Variable>> {
        let (mut secret, mut wrong) = (None, false);
        for (key, node) in self.mapping(path, node, "").unwrap_or_default() {
            if key.text == "secret" {
                secret = self.scalar(&format!("{path}.secret"), node, read::secret);
                wrong = secret.is_none();
            } else {
                let nearest = |name: &str| keys::nearest(name, keys::VARIABLE);
                self.unknown(key, Some("a variable"), nearest, keys::VARIABLE);
                wrong = true;
            }
        }
        if secret.is_none() && !wrong {
            self.expected(path, node, Expected::Variable);
        }
        secret
    }

    /// A program and its arguments, at `path`.
    pub(super) fn command(&mut self, path: &str, node: &Node) -> Option<Given<Vec<Text>>> {
        let items = match &node.value {
            Value::List(items) => items,
            Value::Scalar { text, .. } if matches!(node.found(), Found::Text(_)) => {
                let kind = ProblemKind::CommandIsText { advice: as_list(text) };
                self.problem(node.span, Some(path.into()), kind);
                return None;
            }
            _ => {
                self.expected(path, node, Expected::Command);
                return None;
            }
        };
        let mut words = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let program = |scalar: Scalar<'_>| match scalar {
                Scalar { text: "", style: Style::Quoted } if i == 0 => Err(ProblemKind::EmptyProgram),
                scalar => read::text(scalar),
            };
            words.extend(self.scalar(&format!("{path}[{i}]"), item, program).map(|word| word.value));
        }
        if items.is_empty() {
            self.problem(node.span, Some(path.into()), ProblemKind::EmptyCommand);
        }
        Some(Given::new(words, Origin::File(node.span)))
    }
}

/// `python train.py` as the list it should have been.
fn as_list(command: &str) -> String {
    let needs_shell = |c: char| "'\"\\|&;<>()$`*?#~".contains(c);
    let words: Vec<&str> = command.split_whitespace().collect();
    match command {
        // A shell reads this one; a block leaves its text alone.
        _ if command.contains(needs_shell) => "[sh, -c, \"…\"] to have one read it".to_string(),
        _ => format!("[{}]", words.iter().map(|word| flow(word)).collect::<Vec<_>>().join(", ")),
    }
}

/// A word as it can stand in a flow list.
fn flow(word: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "._/-+=".contains(c);
    match word.starts_with(|c: char| c.is_alphabetic() || "/.".contains(c)) || word.starts_with("--") {
        true if word.chars().all(safe) => word.to_string(),
        _ => format!("\"{word}\""),
    }
}
