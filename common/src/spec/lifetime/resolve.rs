//! From what was written to how long a job lasts, with the checks that take more than one value.

use super::keys::SuccessRuleKeys;
use super::{Lifetime, LifetimeProblem, MAX_RANGES, SuccessRule};
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::recovery::RestartPolicy;

impl JobFile {
    /// How long a job of so many ranks lasts, and when it has succeeded.
    ///
    /// # Errors
    /// Rules that can never be fulfilled, or that say nothing.
    pub(in crate::spec) fn resolve_lifetime(&self, world: u32) -> Result<Lifetime, Vec<Problem>> {
        let mut problems = Vec::new();
        let success = self.success(world, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Lifetime {
            active_deadline: self.active_deadline_seconds.as_ref().map(|given| given.value.0),
            ttl_after_finished: self.ttl_seconds_after_finished.as_ref().map(|given| given.value.0),
            suspend: self.suspend.as_ref().is_some_and(|given| given.value),
            success,
        })
    }

    fn success(&self, world: u32, problems: &mut Vec<Problem>) -> Vec<SuccessRule> {
        let Some(policy) = &self.success_policy else { return Vec::new() };
        let key = "successPolicy";
        if self.restart_policy.as_ref().is_some_and(|given| given.value == RestartPolicy::Always) {
            problems.push(self.problem(key, &policy.origin, LifetimeProblem::Always.into()));
        }
        let Some(rules) = &policy.rules else {
            problems.push(self.problem(key, &policy.origin, LifetimeProblem::NoRules.into()));
            return Vec::new();
        };
        let rules = rules.value.iter().enumerate();
        rules
            .filter_map(|(i, rule)| self.success_rule(&format!("{key}.rules[{i}]"), rule, world, problems))
            .collect()
    }

    fn success_rule(
        &self,
        path: &str,
        keys: &SuccessRuleKeys,
        world: u32,
        problems: &mut Vec<Problem>,
    ) -> Option<SuccessRule> {
        let (indexes, count) = (&keys.succeeded_indexes, &keys.succeeded_count);
        let mut refuse = |key: &str, origin, kind: LifetimeProblem| {
            problems.push(self.problem(&format!("{path}{key}"), origin, kind.into()));
        };
        let ranks = match indexes {
            None => Vec::new(),
            Some(given) => match ranges(&given.value.0) {
                None => {
                    let kind = LifetimeProblem::Ranks(given.value.0.clone());
                    refuse(".succeededIndexes", &given.origin, kind);
                    return None;
                }
                Some(ranges) => match ranges.last() {
                    Some((_, rank)) if *rank >= world => {
                        let kind = LifetimeProblem::NoSuchRank { rank: *rank, last: world.saturating_sub(1) };
                        refuse(".succeededIndexes", &given.origin, kind);
                        return None;
                    }
                    _ => ranges,
                },
            },
        };
        if indexes.is_none() && count.is_none() {
            refuse("", &keys.origin, LifetimeProblem::EmptyRule);
            return None;
        }
        let rule = SuccessRule { ranks, count: count.as_ref().map(|given| given.value) };
        let of = SuccessRule { count: None, ..rule.clone() }.needed(world);
        if let Some(given) = count.as_ref().filter(|given| given.value > of) {
            let kind = LifetimeProblem::CountTooLarge { count: given.value, of };
            refuse(".succeededCount", &given.origin, kind);
            return None;
        }
        let least = self.elastic.as_ref().and_then(|elastic| elastic.min.as_ref()).map(|min| min.value);
        if let Some(min) = least.filter(|min| !rule.ranks.is_empty() || rule.needed(world) > *min) {
            refuse("", &keys.origin, LifetimeProblem::Elastic { min });
            return None;
        }
        Some(rule)
    }
}

/// `0,2-4` as first and last of each range, those that touch as one; `None` if it is no such list.
fn ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for part in text.split(',') {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok()).flatten()
        };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        let full = ranges.len() == MAX_RANGES;
        match ranges.last_mut() {
            Some((_, before)) if first <= *before => return None,
            _ if last < first || full => return None,
            Some((_, before)) if first == *before + 1 => *before = last,
            _ => ranges.push((first, last)),
        }
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_read_in_rising_ranges() {
        assert_eq!(ranges("0"), Some(vec![(0, 0)]));
        assert_eq!(ranges("0,2-4,5,7"), Some(vec![(0, 0), (2, 5), (7, 7)]));
        for wrong in ["", ",", "a", "1,1", "3-2", "2,1", "1-", "-1", "0 ,1", "4294967296"] {
            assert_eq!(ranges(wrong), None, "{wrong}");
        }
    }
}
