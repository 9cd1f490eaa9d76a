//! A request that a worker was asked for, to the end of its answer.

use phalanx_common::id::NodeId;
use phalanx_common::wire::v1::{LogFrame, ToWorker};
use tokio::sync::mpsc;

use crate::driver::pass_on;
use crate::server::hub::{Answer, Answers};

/// What comes of one node.
#[derive(Debug)]
pub(super) enum Came {
    Frame(LogFrame),
    /// Everything.
    Over,
    /// Its link is gone: the rest is to be asked for again.
    Lost,
}

/// A request on its way. Dropped before its answer is whole, it ends at the worker too.
pub(super) struct Asked {
    answers: Answers,
    /// Closed once the node's connection is gone: who has not taken the request up by then never will.
    link: mpsc::Sender<ToWorker>,
    whole: bool,
}

impl Asked {
    pub(super) fn new(answers: Answers, link: mpsc::Sender<ToWorker>) -> Asked {
        Asked { answers, link, whole: false }
    }

    /// Passes on what comes, and says how it ended.
    pub(super) async fn forward(mut self, node: NodeId, came: mpsc::Sender<(NodeId, Came)>) {
        let mut lost = false;
        loop {
            let answer = tokio::select! {
                answer = self.answers.answers.recv() => answer,
                () = self.link.closed(), if !lost => {
                    lost = true;
                    self.answers.withdraw();
                    continue;
                }
            };
            let (next, last) = match answer {
                Some(Answer::Frame(frame)) => (Came::Frame(frame), false),
                Some(Answer::Over) => (Came::Over, true),
                None => {
                    // Asked over a link that is about to end, nobody would answer.
                    self.link.closed().await;
                    (Came::Lost, true)
                }
            };
            self.whole = last;
            if came.send((node.clone(), next)).await.is_err() || last {
                return;
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.whole {
            // Where there is no room the worker learns it by the end of its stream.
            let _ = pass_on(&self.link, ToWorker::EndLogs { id: self.answers.id });
        }
    }
}
