//! The groups of a job, in order, multiplying to its ranks.

use std::collections::BTreeSet;

use super::value;
use crate::defaults::MAX_RANKS;
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::needs::problem::Sizes;
use crate::spec::needs::{GroupSpec, MAX_GROUPS, NeedsProblem, Parallelism, read};
use crate::spec::place::{Given, Origin};

/// The kind that is what the others leave.
const REST: &str = "dp";

impl JobFile {
    pub(super) fn resolve_parallelism(&self, ranks: u32) -> Result<Parallelism, Box<Problem>> {
        let given = &self.parallelism.groups;
        if given.is_empty() && self.parallelism.order.is_none() {
            return Ok(Parallelism::default());
        }
        if let Some((kind, group)) = given.iter().find(|(kind, group)| group.size.is_none() && *kind != REST)
        {
            return Err(self.of_groups(&group.origin, NeedsProblem::NoSize(kind.clone())));
        }
        let order = self.order()?;
        let sizes: Vec<(String, u32)> =
            order.iter().filter_map(|kind| Some((kind.clone(), value(&given.get(kind)?.size)?))).collect();
        let open = given.get(REST).is_none_or(|group| group.size.is_none());
        let open = open && order.iter().any(|kind| kind == REST);
        if order.len() > MAX_GROUPS {
            let origin = given.values().next_back().map_or(&Origin::Arguments, |group| &group.origin);
            return Err(self.of_groups(origin, NeedsProblem::TooManyGroups));
        }
        if sizes.is_empty() && !open {
            // An order of groups that the job has not.
            return Ok(Parallelism::default());
        }
        let rest = self.rest(&sizes, ranks, open)?;
        let groups = order.into_iter().filter_map(|kind| {
            let group = given.get(&kind);
            let size = group.and_then(|group| value(&group.size)).or((kind == REST).then_some(rest))?;
            Some(GroupSpec {
                size,
                pattern: group.and_then(|group| value(&group.pattern)),
                volume_bytes: group.and_then(|group| value(&group.volume)).map(|bytes| bytes.0),
                kind,
            })
        });
        Ok(Parallelism { groups: groups.collect() })
    }

    /// Every kind that has a group, and dp where it may be what the others leave, fastest first.
    fn order(&self) -> Result<Vec<String>, Box<Problem>> {
        let given = &self.parallelism.groups;
        let Some(order) = &self.parallelism.order else {
            return match given.iter().find(|(kind, _)| !Parallelism::KINDS.contains(&kind.as_str())) {
                Some((kind, group)) => {
                    Err(self.of_groups(&group.origin, NeedsProblem::NoPlace(kind.clone())))
                }
                None => {
                    let kinds = Parallelism::KINDS.into_iter();
                    Ok(kinds
                        .filter(|kind| *kind == REST || given.contains_key(*kind))
                        .map(str::to_owned)
                        .collect())
                }
            };
        };
        let mut kinds: Vec<String> = Vec::with_capacity(order.value.len());
        let mut seen = BTreeSet::new();
        for Given { value: kind, origin } in &order.value {
            let known = given.contains_key(kind);
            if !seen.insert(kind) {
                return Err(self.of_groups(origin, NeedsProblem::OrderTwice(kind.clone())));
            }
            if !known && !Parallelism::KINDS.contains(&kind.as_str()) {
                let nearest = read::nearest_of(kind, &Parallelism::KINDS);
                return Err(
                    self.of_groups(origin, NeedsProblem::OrderUnknown { kind: kind.clone(), nearest })
                );
            }
            // A file may list all kinds in the order of its framework, and give sizes to some.
            if known || kind == REST {
                kinds.push(kind.clone());
            }
        }
        match given.iter().find(|(kind, _)| !kinds.contains(kind)) {
            Some((kind, group)) => {
                let at = self.place_of(&group.origin);
                Err(self.of_groups(&order.origin, NeedsProblem::OrderLacks { kind: kind.clone(), at }))
            }
            None => Ok(kinds),
        }
    }

    /// The size of dp where it was left open, else 1.
    fn rest(&self, sizes: &[(String, u32)], ranks: u32, open: bool) -> Result<u32, Box<Problem>> {
        let ranks = ranks.max(1);
        let product = sizes.iter().try_fold(1u64, |product, (_, size)| product.checked_mul((*size).into()));
        match product {
            Some(product) if product == u64::from(ranks) => return Ok(1),
            Some(product) if open && u64::from(ranks).is_multiple_of(product) => {
                return Ok(u32::try_from(u64::from(ranks) / product).unwrap_or(1));
            }
            _ => {}
        }
        let fitting = fitting(sizes, product, ranks, open);
        // The place is that of a group whose change would help, or of the last.
        let blamed = fitting.first().map(|(kind, _)| kind).or(sizes.last().map(|(kind, _)| kind));
        let origin = blamed.and_then(|kind| self.parallelism.groups.get(kind)).map(|group| &group.origin);
        let kind = NeedsProblem::Sizes(Sizes {
            given: sizes.to_vec(),
            product,
            ranks,
            open,
            fitting,
            ranks_fitting: ranks_fitting(product, ranks, open),
        });
        Err(self.of_groups(origin.unwrap_or(&Origin::Arguments), kind))
    }

    fn of_groups(&self, origin: &Origin, kind: NeedsProblem) -> Box<Problem> {
        Box::new(self.problem("parallelism", origin, kind.into()))
    }
}

/// Kinds of which another size alone would do, each with the nearest below and above; a few of them.
fn fitting(sizes: &[(String, u32)], product: Option<u64>, ranks: u32, open: bool) -> Vec<(String, Vec<u32>)> {
    const SHOWN: usize = 3;
    let Some(product) = product else { return Vec::new() };
    let fits = sizes.iter().filter_map(|(kind, size)| {
        let others = product / u64::from(*size).max(1);
        if !u64::from(ranks).is_multiple_of(others.max(1)) {
            return None;
        }
        let room = u32::try_from(u64::from(ranks) / others.max(1)).ok()?;
        let sizes = if open { nearest_divisors(room, *size) } else { vec![room] };
        Some((kind.clone(), sizes))
    });
    fits.take(SHOWN).collect()
}

/// The largest divisor of `number` below `size`, and the smallest above it.
fn nearest_divisors(number: u32, size: u32) -> Vec<u32> {
    let small = (1..).take_while(|small: &u32| small.saturating_mul(*small) <= number);
    let all: Vec<u32> = small
        .filter(|small| number.is_multiple_of(*small))
        .flat_map(|small| [small, number / small])
        .collect();
    let below = all.iter().copied().filter(|divisor| *divisor < size).max();
    let above = all.iter().copied().filter(|divisor| *divisor > size).min();
    below.into_iter().chain(above).collect()
}

/// The numbers of ranks nearest to `ranks` that the sizes make up.
fn ranks_fitting(product: Option<u64>, ranks: u32, open: bool) -> Vec<u32> {
    let Some(product) = product.and_then(|product| u32::try_from(product).ok()) else { return Vec::new() };
    let possible = |ranks: &u32| (1..=MAX_RANKS).contains(ranks);
    let below = ranks / product.max(1) * product;
    match open {
        true => [Some(below), below.checked_add(product)].into_iter().flatten().filter(possible).collect(),
        false => Some(product).into_iter().filter(possible).collect(),
    }
}
