//! From what was written to what follows a failure, with the checks that take more than one value.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use super::keys::{CodeKeys, RuleKeys};
use super::{
    Backoff, ExitCodes, FailureAction, FailureReason, FailureRule, InPlace, MAX_IN_WINDOW, Recovery,
    RecoveryProblem, RestartPolicy, RestartScope, StepKeys,
};
use crate::defaults;
use crate::exit::signal_name;
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::place::{Given, Origin};

impl JobFile {
    /// What follows a failure, and how often the gang may be started again.
    ///
    /// # Errors
    /// Everything that contradicts itself, or that can never matter.
    pub(in crate::spec) fn resolve_recovery(&self) -> Result<(Recovery, u32), Vec<Problem>> {
        let mut problems = Vec::new();
        let max_restarts = self.budget(&mut problems);
        let policy = self.restart_policy.as_ref().map(|given| given.value).unwrap_or_default();
        let rules = self.rules(policy, max_restarts, &mut problems);
        let scope = self.restart_scope.as_ref().map(|given| given.value).unwrap_or_default();
        self.check_scope(scope, max_restarts, &rules, &mut problems);
        let keys = &self.restart_budget;
        let backoff = self.backoff("gang", &keys.gang, &mut problems);
        let rank = self.in_place("rank", &keys.rank, max_restarts, &mut problems);
        let pod = self.in_place("pod", &keys.pod, max_restarts, &mut problems);
        if let Some(given) = keys.replace_node.max.as_ref().filter(|_| max_restarts == 0) {
            let kind = RecoveryProblem::ReplacesNothing;
            problems.push(self.problem("restartBudget.replaceNode.max", &given.origin, kind.into()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let recovery = Recovery {
            policy,
            rules,
            window: keys.gang.window.as_ref().map(|given| given.value.0),
            backoff,
            scope,
            rank,
            pod,
            replace_node: self.restart_budget.replace_node.max.as_ref().map(|given| given.value),
            no_progress: self
                .restart_budget
                .no_progress
                .as_ref()
                .map_or(defaults::NO_PROGRESS, |given| given.value),
        };
        Ok((recovery, max_restarts))
    }

    /// `maxRestarts` or `restartBudget.gang.max`: two names of one number.
    fn budget(&self, problems: &mut Vec<Problem>) -> u32 {
        let gang = &self.restart_budget.gang;
        let long = ("restartBudget.gang.max", &gang.max);
        let short = ("maxRestarts", &self.max_restarts);
        if let (Some(max), Some(other)) = (&gang.max, &self.max_restarts)
            && max.value != other.value
        {
            let at = self.place_of(&other.origin);
            let kind = RecoveryProblem::TwoBudgets { max: max.value, other: other.value, at };
            problems.push(self.problem(long.0, &max.origin, kind.into()));
        }
        let given = [long, short].into_iter().find_map(|(key, given)| Some((key, given.as_ref()?)));
        let max = given.map_or(defaults::MAX_RESTARTS, |(_, given)| given.value);
        if let (Some((key, given)), Some(policy)) = (given.filter(|_| max > 0), self.never()) {
            let kind = RecoveryProblem::BudgetOfNever { policy: self.place_of(policy) };
            problems.push(self.problem(key, &given.origin, kind.into()));
        }
        self.check_window("gang", gang, max, problems);
        max
    }

    fn check_window(&self, step: &str, keys: &StepKeys, max: u32, problems: &mut Vec<Problem>) {
        let Some(window) = &keys.window else { return };
        let wrong = match max {
            0 => Some(RecoveryProblem::WindowOfNone),
            1..=MAX_IN_WINDOW => None,
            max => Some(RecoveryProblem::WindowTooLarge { max }),
        };
        let key = format!("restartBudget.{step}.window");
        problems.extend(wrong.map(|kind| self.problem(&key, &window.origin, kind.into())));
    }

    /// The budget of a step below the gang.
    fn in_place(
        &self,
        step: &str,
        keys: &StepKeys,
        max_restarts: u32,
        problems: &mut Vec<Problem>,
    ) -> InPlace {
        let max = keys.max.as_ref().map(|given| given.value);
        self.check_window(step, keys, max.unwrap_or(max_restarts), problems);
        let backoff = self.backoff(step, keys, problems);
        InPlace { max, window: keys.window.as_ref().map(|given| given.value.0), backoff }
    }

    /// A scope, or the budget of a step, that can never matter.
    fn check_scope(
        &self,
        scope: RestartScope,
        max_restarts: u32,
        rules: &[FailureRule],
        problems: &mut Vec<Problem>,
    ) {
        let keys = &self.restart_budget;
        if let (Some(given), Some(policy)) = (&self.restart_scope, self.never()) {
            let kind = RecoveryProblem::ScopeOfNever { policy: self.place_of(policy) };
            problems.push(self.problem("restartScope", &given.origin, kind.into()));
        }
        let steps = [
            (RestartScope::Rank, FailureAction::RestartRank, "rank", &keys.rank),
            (RestartScope::Pod, FailureAction::RestartPod, "pod", &keys.pod),
        ];
        for (own, action, step, keys) in steps {
            let max = keys.max.as_ref().map_or(max_restarts, |given| given.value);
            if let Some(given) = self.restart_scope.as_ref().filter(|_| scope == own && max == 0) {
                let kind = RecoveryProblem::ScopeWithoutBudget { step };
                problems.push(self.problem("restartScope", &given.origin, kind.into()));
            }
            // A pod is what is tried after a rank.
            let used = scope <= own || rules.iter().any(|rule| rule.action == action);
            let any = [&keys.max.as_ref().map(|it| &it.origin), &keys.window.as_ref().map(|it| &it.origin)];
            if let Some(origin) = any.into_iter().flatten().next().filter(|_| !used) {
                let kind = RecoveryProblem::UnusedStep { step };
                problems.push(self.problem(&format!("restartBudget.{step}"), origin, kind.into()));
            }
        }
    }

    /// Where `restartPolicy: Never` stands, if it does.
    fn never(&self) -> Option<&Origin> {
        let policy = self.restart_policy.as_ref();
        policy.filter(|given| given.value == RestartPolicy::Never).map(|given| &given.origin)
    }

    fn backoff(&self, step: &str, keys: &StepKeys, problems: &mut Vec<Problem>) -> Backoff {
        let keys = &keys.backoff;
        let max = keys.max.as_ref().map_or(defaults::BACKOFF_MAX, |given| given.value.0);
        let initial: Duration = match (&keys.initial, &keys.max) {
            (Some(initial), Some(longest)) if initial.value.0 > longest.value.0 => {
                let kind = RecoveryProblem::BackoffOrder { longest: self.place_of(&longest.origin) };
                let key = format!("restartBudget.{step}.backoff.initial");
                problems.push(self.problem(&key, &initial.origin, kind.into()));
                initial.value.0
            }
            (Some(initial), _) => initial.value.0,
            (None, _) => defaults::BACKOFF_INITIAL.min(max),
        };
        Backoff { initial, max: max.max(initial) }
    }

    fn rules(
        &self,
        policy: RestartPolicy,
        max_restarts: u32,
        problems: &mut Vec<Problem>,
    ) -> Vec<FailureRule> {
        let mut rules: Vec<FailureRule> = Vec::new();
        let mut origins: Vec<&Origin> = Vec::new();
        for (i, keys) in self.failure_rules.iter().flat_map(|given| &given.value).enumerate() {
            let path = format!("failureRules[{i}]");
            let before = problems.len();
            let refuse = |problems: &mut Vec<Problem>, key: &str, origin: &Origin, kind: RecoveryProblem| {
                problems.push(self.problem(&format!("{path}{key}"), origin, kind.into()));
            };
            self.twice(keys, &path, problems);
            for given in keys.reasons.iter().flatten() {
                let (startup, liveness) = (&self.startup_probe, &self.liveness_probe);
                let kind = match given.value {
                    FailureReason::ProbeFailed
                        if startup.is_none() && liveness.is_none() && self.lifecycle.post_start.is_none() =>
                    {
                        RecoveryProblem::NoProbe
                    }
                    FailureReason::InitFailed if self.init_containers.is_none() => RecoveryProblem::NoInit,
                    FailureReason::OomKilled if self.resources.memory_limit.is_none() => {
                        RecoveryProblem::NoMemoryLimit
                    }
                    FailureReason::DeviceError if !self.wants_devices() => RecoveryProblem::NoDevices,
                    _ => continue,
                };
                refuse(problems, ".reasons", &given.origin, kind);
            }
            let matches = keys.matches();
            if matches == Matches::default() && keys.exit_codes.is_none() {
                refuse(problems, "", &keys.origin, RecoveryProblem::MatchesNothing);
            } else if matches == Matches::default() {
                refuse(problems, ".exitCodes", &keys.origin, RecoveryProblem::NoCodesLeft);
            } else if let Some(first) = shadowed(&matches, &rules) {
                let first = self.place_of(origins[first]);
                refuse(problems, "", &keys.origin, RecoveryProblem::Shadowed { first });
            }
            match &keys.action {
                None => refuse(problems, "", &keys.origin, RecoveryProblem::NoAction),
                Some(action) => {
                    let restarts = action.value != FailureAction::FailJob;
                    let paid = restarts && action.value != FailureAction::Ignore;
                    let kind = match self.never() {
                        Some(policy) if restarts => Some(RecoveryProblem::ActionOfNever {
                            action: action.value,
                            policy: self.place_of(policy),
                        }),
                        _ if paid
                            && self.budget_of(action.value, max_restarts) == 0
                            && policy != RestartPolicy::Never =>
                        {
                            Some(RecoveryProblem::ActionWithoutBudget { action: action.value })
                        }
                        _ if is_in_place(action.value) => keys
                            .reasons
                            .iter()
                            .flatten()
                            .find(|reason| reason.value != FailureReason::ProbeFailed)
                            .map(|reason| RecoveryProblem::NothingInPlace {
                                action: action.value,
                                reason: reason.value,
                            }),
                        _ if action.value == FailureAction::ReplaceNode => {
                            let mut reasons = keys.reasons.iter().flatten();
                            let of_none = reasons.find(|reason| reason.value == FailureReason::StartTimeout);
                            of_none.map(|reason| RecoveryProblem::NoNodeToReplace { reason: reason.value })
                        }
                        _ => None,
                    };
                    if let Some(kind) = kind {
                        refuse(problems, ".action", &action.origin, kind);
                    }
                    if problems.len() == before {
                        rules.push(keys.resolved(action.value));
                        origins.push(&keys.origin);
                    }
                }
            }
        }
        rules
    }

    fn wants_devices(&self) -> bool {
        self.resources.devices.is_some() || self.devices_in_all.is_some()
    }

    /// Restarts that this action may be.
    fn budget_of(&self, action: FailureAction, max_restarts: u32) -> u32 {
        let keys = match action {
            FailureAction::RestartRank => &self.restart_budget.rank,
            FailureAction::RestartPod => &self.restart_budget.pod,
            _ => return max_restarts,
        };
        keys.max.as_ref().map_or(max_restarts, |given| given.value)
    }

    /// Items that stand twice in one list of a rule.
    fn twice(&self, keys: &RuleKeys, path: &str, problems: &mut Vec<Problem>) {
        let mut check = |key: &str, items: Vec<(String, &Origin)>| {
            let mut seen = BTreeSet::new();
            for (item, origin) in items {
                if !seen.insert(item.clone()) {
                    let kind = RecoveryProblem::Twice(item);
                    problems.push(self.problem(&format!("{path}.{key}"), origin, kind.into()));
                }
            }
        };
        if let Some(codes) = &keys.exit_codes {
            check("exitCodes", named(&codes.codes, u8::to_string));
        }
        if let Some(signals) = &keys.signals {
            check("signals", named(signals, |signal| signal_name(*signal).unwrap_or_default().to_owned()));
        }
        if let Some(reasons) = &keys.reasons {
            check("reasons", named(reasons, |reason| format!("{reason:?}")));
        }
    }
}

/// Whether the rest of the gang goes on.
fn is_in_place(action: FailureAction) -> bool {
    matches!(action, FailureAction::RestartRank | FailureAction::RestartPod)
}

fn named<T, N: Display>(items: &[Given<T>], name: impl Fn(&T) -> N) -> Vec<(String, &Origin)> {
    items.iter().map(|item| (name(&item.value).to_string(), &item.origin)).collect()
}

/// All that a rule matches, one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Matches {
    codes: BTreeSet<u8>,
    signals: BTreeSet<u8>,
    reasons: BTreeSet<FailureReason>,
}

impl RuleKeys {
    fn matches(&self) -> Matches {
        let codes = self.exit_codes.as_ref().map(CodeKeys::resolved);
        let of = |codes: &ExitCodes| (1..=255).filter(|code| codes.contain(*code)).collect();
        Matches {
            codes: codes.as_ref().map(of).unwrap_or_default(),
            signals: values(&self.signals),
            reasons: values(&self.reasons),
        }
    }

    fn resolved(&self, action: FailureAction) -> FailureRule {
        FailureRule {
            exit_codes: self.exit_codes.as_ref().map(CodeKeys::resolved),
            signals: values(&self.signals),
            reasons: values(&self.reasons),
            action,
        }
    }
}

impl CodeKeys {
    fn resolved(&self) -> ExitCodes {
        let codes = self.codes.iter().map(|code| code.value).collect();
        if self.not_in { ExitCodes::NotIn(codes) } else { ExitCodes::In(codes) }
    }
}

fn values<T: Ord + Copy>(items: &Option<Vec<Given<T>>>) -> BTreeSet<T> {
    items.iter().flatten().map(|item| item.value).collect()
}

/// The last of the earlier rules that, together, leave nothing for this one.
fn shadowed(matches: &Matches, earlier: &[FailureRule]) -> Option<usize> {
    let mut left = matches.clone();
    earlier.iter().position(|rule| {
        left.codes.retain(|code| !rule.exit_codes.as_ref().is_some_and(|codes| codes.contain(*code)));
        left.signals.retain(|signal| !rule.signals.contains(signal));
        left.reasons.retain(|reason| !rule.reasons.contains(reason));
        left == Matches::default()
    })
}
