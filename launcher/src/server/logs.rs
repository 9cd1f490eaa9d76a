//! One log stream: output in, credit out once it has been taken.

use phalanx_common::id::NodeId;
use phalanx_common::wire::v1::{LogCredit, LogFrame};
use phalanx_net::frames::{self, Receiving, Sending};

use super::connection::Error;
use super::hub::Logs;

/// Receives output of this node until the worker ends the stream, or nobody reads any more.
pub(super) async fn receive(send: Sending, frames: Receiving, logs: Logs, node: Option<NodeId>) {
    match run(send, frames, logs, node).await {
        Ok(()) | Err(Error::Stream(frames::Error::Closed)) => {}
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "log stream ended"),
    }
}

async fn run(
    mut send: Sending,
    mut frames: Receiving,
    logs: Logs,
    node: Option<NodeId>,
) -> Result<(), Error> {
    let LogFrame::Open { id } = frames.read().await? else {
        return Err(Error::Protocol("a log stream begins with Open"));
    };
    tracing::debug!(id, "log stream opened");
    let Some(sink) = logs.sink(id, node.as_ref()) else { return Ok(()) };
    loop {
        let read = tokio::select! {
            read = frames.read() => read,
            // Dropped, the stream ends for the worker too, which may have nothing to send for long.
            () = sink.closed() => return Ok(()),
        };
        let frame: LogFrame = match read {
            Ok(frame) => frame,
            // A lost link may come back; whoever asked asks again then.
            Err(lost @ frames::Error::Lost(_)) => return Err(lost.into()),
            Err(ended) => {
                sink.over().await;
                return Err(ended.into());
            }
        };
        let taken = match &frame {
            LogFrame::Chunk { bytes, .. } => bytes.0.len() as u64,
            _ => 0,
        };
        // Returns once there is room for it: a slow reader slows this stream and no other.
        if !sink.send(frame).await {
            return Ok(());
        }
        if taken > 0 {
            // A worker that has sent all it had takes no more credit; what it sent is still to be read.
            let _ = send.write(&LogCredit { bytes: taken }).await;
        }
    }
}
