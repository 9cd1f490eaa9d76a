//! One log stream: output in, credit out once it has been shown.

use phalanx_common::wire::StreamKind;
use phalanx_common::wire::v1::{LogCredit, LogFrame};
use phalanx_net::frames::{self, accept};
use quinn::{RecvStream, SendStream};

use super::connection::Error;
use crate::output::LogSink;

/// Receives output until the worker ends the stream.
pub(super) async fn receive(stream: (SendStream, RecvStream), sink: LogSink) {
    match run(stream, sink).await {
        Ok(()) | Err(Error::Stream(frames::Error::Closed)) => {}
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "log stream ended"),
    }
}

async fn run(stream: (SendStream, RecvStream), sink: LogSink) -> Result<(), Error> {
    let (header, mut send, mut frames) = accept(stream).await?;
    if header.kind != StreamKind::Log {
        return Err(Error::Protocol("a connection has one control stream"));
    }
    let LogFrame::Open { id } = frames.read().await? else {
        return Err(Error::Protocol("a log stream begins with Open"));
    };
    tracing::debug!(id, "log stream opened");
    loop {
        let frame: LogFrame = frames.read().await?;
        let taken = match &frame {
            LogFrame::Chunk { bytes, .. } => bytes.0.len() as u64,
            _ => 0,
        };
        // Returns once the output has room for it: a slow terminal slows this stream and no other.
        if sink.send(frame).await.is_err() {
            return Ok(());
        }
        if taken > 0 {
            // A worker that has sent all it had takes no more credit; what it sent is still to be read.
            let _ = send.write(&LogCredit { bytes: taken }).await;
        }
    }
}
