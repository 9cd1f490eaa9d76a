//! What nodes that cannot be asked had said, as far as it is known here: read rank by rank, because all of it
//! may be a gigabyte, and off the serving thread.

use std::collections::VecDeque;
use std::ops::Range;

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::wire::v1::LogFrame;

use crate::server::tails::Tails;

/// Nodes whose last words are due.
#[derive(Debug, Default)]
pub(super) struct Words {
    due: VecDeque<Due>,
}

#[derive(Debug)]
struct Due {
    node: NodeId,
    generation: u32,
    /// Not read yet.
    ranks: Range<u32>,
    begun: bool,
}

/// A part of a node's last words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) node: NodeId,
    /// They count from the beginning, whatever came before the link was lost.
    pub(super) begins: bool,
    /// Nothing follows.
    pub(super) ends: bool,
    pub(super) frames: Vec<LogFrame>,
}

impl Words {
    /// Those of a node's ranks in this generation.
    pub(super) fn queue(&mut self, node: NodeId, generation: u32, ranks: Range<u32>) {
        if self.due.iter().all(|due| due.node != node) {
            self.due.push_back(Due { node, generation, ranks, begun: false });
        }
    }

    /// The next rank's; `None` if nothing is due.
    pub(super) async fn next(&mut self, tails: &Tails, job: &JobId) -> Option<Said> {
        let due = self.due.front_mut()?;
        let (generation, rank) = (due.generation, due.ranks.next());
        let frames = match rank {
            Some(rank) => {
                let (tails, job) = (tails.clone(), job.clone());
                let read = tokio::task::spawn_blocking(move || tails.last_words(&job, rank, generation));
                // One that panicked has said so.
                read.await.unwrap_or_default()
            }
            None => Vec::new(),
        };
        let said = Said {
            node: due.node.clone(),
            begins: !std::mem::replace(&mut due.begun, true),
            ends: due.ranks.is_empty(),
            frames,
        };
        if said.ends {
            self.due.pop_front();
        }
        Some(said)
    }
}
