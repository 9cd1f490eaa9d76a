//! From the tree of a file to the keys of what follows a failure.

use super::keys::{BackoffKeys, BudgetKeys, CodeKeys, ReplaceKeys, RuleKeys, StepKeys};
use super::{FailureReason, MAX_RULES, RecoveryProblem, read};
use crate::spec::decoder::Decoder;
use crate::spec::job::Choice;
use crate::spec::keys;
use crate::spec::place::{Given, Origin};
use crate::spec::problem::{Expected, ProblemKind};
use crate::spec::read::{choice, count};
use crate::yaml::{Node, Value};

/// Most items of one list of a rule: as many as there are codes.
const MAX_ITEMS: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
}

impl Choice for Operator {
    const CHOICES: &'static [(&'static str, Operator)] = &[("In", Operator::In), ("NotIn", Operator::NotIn)];
}

impl Decoder<'_> {
    pub(in crate::spec) fn restart_budget(&mut self, node: &Node) -> BudgetKeys {
        let mut it = BudgetKeys::default();
        let within = "restartBudget";
        for (key, node) in self.mapping(within, node, "keys such as `gang: {max: 3}`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "gang" => it.gang = self.step(&path, node),
                "pod" => it.pod = self.step(&path, node),
                "rank" => it.rank = self.step(&path, node),
                "replaceNode" => it.replace_node = self.replace(&path, node),
                "noProgress" => it.no_progress = self.scalar(&path, node, count),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::BUDGET);
                    self.unknown(key, Some(within), nearest, keys::BUDGET);
                }
            }
        }
        it
    }

    fn step(&mut self, within: &str, node: &Node) -> StepKeys {
        let mut it = StepKeys::default();
        for (key, node) in self.mapping(within, node, "keys such as `max: 3`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "max" => it.max = self.scalar(&path, node, count),
                "window" => it.window = self.scalar(&path, node, read::span),
                "backoff" => it.backoff = self.backoff(&path, node),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::STEP);
                    self.unknown(key, Some("a budget"), nearest, keys::STEP);
                }
            }
        }
        it
    }

    fn replace(&mut self, within: &str, node: &Node) -> ReplaceKeys {
        let mut it = ReplaceKeys::default();
        for (key, node) in self.mapping(within, node, "a key such as `max: 3`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "max" => it.max = self.scalar(&path, node, count),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::REPLACE);
                    self.unknown(key, Some("restartBudget.replaceNode"), nearest, keys::REPLACE);
                }
            }
        }
        it
    }

    fn backoff(&mut self, within: &str, node: &Node) -> BackoffKeys {
        let mut it = BackoffKeys::default();
        for (key, node) in self.mapping(within, node, "keys such as `initial: 1s`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "initial" => it.initial = self.scalar(&path, node, read::span),
                "max" => it.max = self.scalar(&path, node, read::span),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::BACKOFF);
                    self.unknown(key, Some("a backoff"), nearest, keys::BACKOFF);
                }
            }
        }
        it
    }

    pub(in crate::spec) fn failure_rules(&mut self, node: &Node) -> Option<Given<Vec<RuleKeys>>> {
        let within = "failureRules";
        let of = "rules such as `{exitCodes: [93], action: FailJob}`";
        let items = self.items(within, node, MAX_RULES, of)?;
        let rules = items.iter().enumerate().map(|(i, item)| self.rule(&format!("{within}[{i}]"), item));
        let rules = rules.collect();
        Some(Given::new(rules, Origin::File(node.span)))
    }

    fn rule(&mut self, within: &str, node: &Node) -> RuleKeys {
        let origin = Origin::File(node.span);
        let mut it = RuleKeys { exit_codes: None, signals: None, reasons: None, action: None, origin };
        let of = "keys such as `exitCodes: [93]` and `action: FailJob`";
        for (key, node) in self.mapping(within, node, of).unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "exitCodes" => it.exit_codes = self.exit_codes(&path, node),
                "signals" => {
                    let signals = self.list(&path, node, MAX_ITEMS, "signals such as SIGKILL", read::signal);
                    it.signals = signals.map(|signals| signals.value);
                }
                "reasons" => {
                    let reasons = self.list(&path, node, MAX_ITEMS, "reasons", choice::<FailureReason>);
                    it.reasons = reasons.map(|reasons| reasons.value);
                }
                "action" => it.action = self.scalar(&path, node, choice),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::RULE);
                    self.unknown(key, Some("a rule"), nearest, keys::RULE);
                }
            }
        }
        it
    }

    /// A list of codes, or an operator and its values.
    fn exit_codes(&mut self, within: &str, node: &Node) -> Option<CodeKeys> {
        let of = "exit codes from 1 to 255";
        if matches!(node.value, Value::List(_)) {
            let codes = self.list(within, node, MAX_ITEMS, of, read::exit_code)?.value;
            return Some(CodeKeys { not_in: false, codes });
        }
        if matches!(node.value, Value::Scalar { .. }) {
            self.expected(within, node, Expected::List(of));
            return None;
        }
        let (mut operator, mut codes, mut wrong) = (None, None, false);
        for (key, node) in self.mapping(within, node, of)? {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "operator" => {
                    operator = self.scalar(&path, node, choice::<Operator>);
                    wrong |= operator.is_none();
                }
                "values" => {
                    codes = self.list(&path, node, MAX_ITEMS, of, read::exit_code);
                    wrong |= codes.is_none();
                }
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::CODES);
                    self.unknown(key, Some("exitCodes"), nearest, keys::CODES);
                    wrong = true;
                }
            }
        }
        match (operator, codes) {
            (Some(operator), Some(codes)) => {
                Some(CodeKeys { not_in: operator.value == Operator::NotIn, codes: codes.value })
            }
            _ if wrong => None,
            (operator, _) => {
                let missing = match operator {
                    None => RecoveryProblem::NoOperator,
                    Some(_) => RecoveryProblem::NoValues,
                };
                self.problem(node.span, Some(within.to_owned()), ProblemKind::from(missing));
                None
            }
        }
    }
}
