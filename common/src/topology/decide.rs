//! One value from several claims.

use std::cmp::Reverse;

use super::evidence::Evidence;
use super::network::{Conflict, Reason, Said, Subject, Value};

/// Claims that a conflict shows. More of them say nothing new.
const MAX_SHOWN: usize = 16;

/// What is said of one subject: the evidence, and the value that it claims.
pub(super) type Claims<'a, V> = Vec<(&'a Evidence, V)>;

/// What was decided, and the evidence for it.
#[derive(Debug)]
pub(super) struct Decision<'a, V> {
    pub(super) value: V,
    pub(super) by: &'a Evidence,
    pub(super) conflict: Option<Conflict>,
}

/// The claim with the highest rank, then confidence, then the newest, then the first in order. All claims
/// are kept if they disagree; `same` tells which values do not.
pub(super) fn decide<'a, V: Ord + Clone>(
    mut claims: Claims<'a, V>,
    subject: impl FnOnce() -> Subject,
    value: impl Fn(&V) -> Value,
    same: impl Fn(&V, &V) -> bool,
) -> Option<Decision<'a, V>> {
    let strength = |by: &Evidence| (by.source.rank(), Reverse(by.confidence), Reverse(by.observed_at));
    claims.sort_by(|a, b| (strength(a.0), &a.1, a.0).cmp(&(strength(b.0), &b.1, b.0)));
    let (by, first) = claims.first().cloned()?;
    let conflict = claims.iter().find(|(_, other)| !same(&first, other)).map(|(other, _)| {
        let reason = if by.source.rank() != other.source.rank() {
            Reason::Rank
        } else if by.confidence != other.confidence {
            Reason::Confidence
        } else if by.observed_at != other.observed_at {
            Reason::Newest
        } else {
            Reason::Order
        };
        let mut shown: Vec<Said> = Vec::new();
        for (by, said) in &claims {
            let said = Said { source: by.source, origin: by.origin.clone(), value: value(said) };
            if shown.len() < MAX_SHOWN && !shown.contains(&said) {
                shown.push(said);
            }
        }
        Conflict { subject: subject(), claims: shown, reason }
    });
    Some(Decision { value: first, by, conflict })
}
