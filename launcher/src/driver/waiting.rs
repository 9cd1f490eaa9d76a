//! Clients that wait for a job.

use phalanx_common::id::JobId;
use tokio::sync::mpsc;

use super::Message;

/// A client that waits for a job. Dropped before the job's end it counts as lost, however that came.
#[derive(Debug)]
pub(crate) struct Waiting {
    job: Option<JobId>,
    inbox: mpsc::Sender<Message>,
}

impl Waiting {
    pub(crate) fn new(job: &JobId, inbox: mpsc::Sender<Message>) -> Waiting {
        Waiting { job: Some(job.clone()), inbox }
    }

    /// The job is over.
    pub(crate) fn over(mut self) {
        self.job = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        if let Err(mpsc::error::TrySendError::Full(message)) =
            self.inbox.try_send(Message::ClientLost { job })
        {
            let inbox = self.inbox.clone();
            tokio::spawn(async move { inbox.send(message).await });
        }
    }
}
