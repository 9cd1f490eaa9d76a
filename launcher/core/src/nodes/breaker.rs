//! The circuit breaker: when many nodes go at once, something that they share is broken, and moving jobs to the rest makes it
//! worse.
//!
//! ```text
//!            more than max(2, 5 %) of the nodes lost within 60 s
//!   closed ------------------------------------------------------> open: no gang gets other nodes than it had,
//!      ^                                                            |     no node is quarantined
//!      +---- 60 s without another loss, or an operator's word ------+
//! ```
//!
//! Not durable: a coordinator that begins its reign has seen no losses.

use std::collections::{BTreeSet, VecDeque};

use phalanx_common::defaults::{BREAKER_LEAST, BREAKER_PERCENT, BREAKER_QUIET, BREAKER_WITHIN, FLAP_WITHIN};
use phalanx_common::event::EventKind;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::time::Timestamp;

use crate::coordinator::Coordinator;
use crate::input::Why;
use crate::placement::Placement;
use crate::timers::shifted;
use crate::waits::Waits;

/// What was lost lately, and whether that is too much.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Control links that were lost, oldest first.
    losses: VecDeque<(Timestamp, NodeId)>,
    /// Open; so many losses were allowed of so many nodes.
    open: Option<(usize, usize)>,
}

impl Breaker {
    /// When the node was lost lately.
    pub(crate) fn losses_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = Timestamp> + 'a {
        self.losses.iter().filter(move |(_, lost)| lost == node).map(|(at, _)| *at)
    }

    pub(crate) fn shift(&mut self, by_micros: i64) {
        for (at, _) in &mut self.losses {
            *at = shifted(*at, by_micros);
        }
    }
}

impl Coordinator {
    /// The control link of a node is gone, and nobody announced it.
    pub(crate) fn note_loss(&mut self, node: &NodeId) {
        if !self.config.cluster {
            return;
        }
        let (now, of) = (self.now, self.nodes.len());
        let losses = &mut self.breaker.losses;
        losses.push_back((now, node.clone()));
        losses.retain(|(at, _)| now.since(*at) < FLAP_WITHIN);
        let recent = losses.iter().filter(|(at, _)| now.since(*at) < BREAKER_WITHIN);
        let lost: BTreeSet<&NodeId> = recent.map(|(_, node)| node).collect();
        let allowed = BREAKER_LEAST.max(of * BREAKER_PERCENT / 100);
        if self.breaker.open.is_none() && lost.len() > allowed {
            let lost = lost.into_iter().cloned().collect();
            self.breaker.open = Some((allowed, of));
            self.emit(None, None, EventKind::ReplacementPaused { lost, of });
        }
        if self.breaker.open.is_some() {
            self.timers.set(Why::Quiet, now + BREAKER_QUIET);
        }
    }

    /// Whether no gang gets other nodes than it had.
    pub fn replacement_paused(&self) -> bool {
        self.breaker.open.is_some()
    }

    /// Gangs get other nodes again. `by`: who wants it; `None`: no node was lost for long enough.
    pub(crate) fn resume_replacement(&mut self, by: Option<String>) {
        if self.breaker.open.take().is_none() {
            return self.ignore(None, "replacement of nodes is not paused".to_owned());
        }
        // They were no single node's fault, and do not open it again.
        self.breaker.losses.clear();
        self.timers.cancel(&Why::Quiet);
        self.emit(None, None, EventKind::ReplacementResumed { by });
        self.queue_moved = true;
    }

    /// Why the job does not get this placement yet, if it has to wait with it.
    pub(crate) fn holds_back(&self, job: &JobId, placement: &Placement) -> Option<Waits> {
        let (allowed, of) = self.breaker.open?;
        let last = self.durable.jobs.get(job)?.generation.as_ref()?;
        let moves = placement.pods.iter().any(|pod| last.place_on(&pod.node).is_none());
        moves.then_some(Waits::Paused { allowed, of })
    }
}
