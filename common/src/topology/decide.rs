//! One value from several claims.

use std::cmp::Reverse;

use super::evidence::Evidence;
use super::network::{Conflict, Reason, Said, Subject, Value};
use crate::time::Timestamp;

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

/// The claim with the highest rank, then confidence, then the newest, then the first in order of values. All
/// claims are kept if they disagree; `same` tells which values do not. What is shown after the winner is in an
/// order without times, so that a look that finds the same is the same.
pub(super) fn decide<'a, V: Ord + Clone>(
    mut claims: Claims<'a, V>,
    subject: impl FnOnce() -> Subject,
    value: impl Fn(&V) -> Value,
    same: impl Fn(&V, &V) -> bool,
) -> Option<Decision<'a, V>> {
    let newest = strongest_first(&mut claims)?;
    let (by, first) = claims.first().cloned()?;
    let conflict = claims.iter().find(|(_, other)| !same(&first, other)).map(|(other, _)| {
        let reason = if by.source.rank() != other.source.rank() {
            Reason::Rank
        } else if by.confidence != other.confidence {
            Reason::Confidence
        } else if !is_current(other, newest) {
            Reason::Newest
        } else {
            Reason::Order
        };
        let mut shown: Vec<Said> = Vec::new();
        for (by, said) in &claims {
            let said = Said::by(by, value(said));
            if shown.len() < MAX_SHOWN && !shown.contains(&said) {
                shown.push(said);
            }
        }
        Conflict { subject: subject(), claims: shown, reason }
    });
    Some(Decision { value: first, by, conflict })
}

/// Puts the claim that counts first, and gives the time of the newest that is as strong. `None`: no claims.
pub(super) fn strongest_first<V: Ord>(claims: &mut Claims<'_, V>) -> Option<Timestamp> {
    let strength = |by: &Evidence| (by.source.rank(), Reverse(by.confidence));
    claims.sort_by(|a, b| (strength(a.0), &a.1, a.0).cmp(&(strength(b.0), &b.1, b.0)));
    let best = strength(claims.first()?.0);
    let strongest = claims.iter().take_while(|(by, _)| strength(by) == best);
    let newest = strongest.map(|(by, _)| by.observed_at).max()?;
    let at = claims.iter().position(|(by, _)| strength(by) == best && is_current(by, newest))?;
    claims[..=at].rotate_right(1);
    Some(newest)
}

/// Whether age tells a claim apart from the newest. One that lapses is said again and again in less than half its
/// life (LLDP sends four times in it): two of them that are both alive take turns in being the newest, and only
/// one that was missed is older.
fn is_current(by: &Evidence, newest: Timestamp) -> bool {
    let life = by.expires.map_or(0, |expires| expires.0.saturating_sub(by.observed_at.0));
    newest.0.saturating_sub(by.observed_at.0) <= life / 2
}
