//! `phalanx logs`: output of a job of the cluster.

use anyhow::Context;
use phalanx_common::spec::OutputMode;
use phalanx_common::status::JobStatus;
use phalanx_common::wire::client_v1::{Reply, Request};
use phalanx_common::wire::v1::LogFrame;

use super::Exit;
use super::args::LogsArgs;
use super::cluster::{Purpose, need_identity, on_event_loop};
use crate::output::{ColorChoice, Printer, Screen, Style};
use crate::remote::Client;

/// Prints until all of it is there, or the job has ended if it follows.
pub(super) fn logs(args: &LogsArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Work)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let status: JobStatus = client.document(&Request::Job { job: args.id.clone() }).await?;
        // One rank alone is read as it was written; of several each line says whose it is.
        let mode = if args.rank.is_some() { OutputMode::Raw } else { OutputMode::Label };
        let width = status.ranks.saturating_sub(1).to_string().len();
        let style = Style { mode, json: false, rank_width: width };
        let (printer, _) =
            Printer::start(Screen::new(color), style).context("cannot start the printer's thread")?;
        let sink = printer.log_sink();
        if let Some(why) = no_output_yet(&status) {
            printer.line(format!("phalanx: {why}"));
        }
        let request = Request::Logs {
            job: status.job.to_string(),
            generation: args.generation,
            rank: args.rank,
            follow: args.follow,
        };
        let mut answers = client.ask(&request).await?;
        let several = status.generation > 1 && args.generation.is_none();
        let mut attempts = Attempts { several, last: 0 };
        while let Some(reply) = answers.next().await? {
            let Reply::Log(frame) = reply else { continue };
            if let Some(generation) = attempts.begins(&frame) {
                printer.line(format!("phalanx: generation {generation}"));
            }
            if sink.send(frame).await.is_err() {
                break;
            }
        }
        let _ = printer.flushed().await;
        client.close().await;
        Ok(Exit::Success)
    })
}

/// Why there is nothing to print yet; `None` if there may be something.
fn no_output_yet(status: &JobStatus) -> Option<String> {
    match (status.phase.as_str(), &status.waits_for) {
        ("queued", Some(why)) => Some(format!("{} waits: {why}", status.job)),
        ("queued", None) => Some(format!("{} waits", status.job)),
        ("preparing", _) => Some(format!("{} is prepared, its ranks do not run yet", status.job)),
        _ => None,
    }
}

/// Where the output of one attempt ends and that of the next begins.
struct Attempts {
    several: bool,
    last: u32,
}

impl Attempts {
    /// The attempt that begins with this frame, if there is more than one.
    fn begins(&mut self, frame: &LogFrame) -> Option<u32> {
        let LogFrame::Chunk { generation, .. } = frame else { return None };
        if *generation <= self.last {
            return None;
        }
        let told = self.several || self.last > 0;
        self.last = *generation;
        told.then_some(*generation)
    }
}

#[cfg(test)]
mod tests {
    use phalanx_common::wire::bytes::Bytes;
    use phalanx_common::wire::v1::Stream;

    use super::*;

    #[test]
    fn attempts_are_told_apart_where_there_are_several() {
        let begun = |several, generations: &[u32]| {
            let mut attempts = Attempts { several, last: 0 };
            let chunk = |generation: &u32| LogFrame::Chunk {
                generation: *generation,
                rank: 0,
                stream: Stream::Stdout,
                bytes: Bytes(Vec::new()),
            };
            generations.iter().filter_map(|it| attempts.begins(&chunk(it))).collect::<Vec<_>>()
        };
        assert_eq!(begun(false, &[1, 1]), [0u32; 0]);
        assert_eq!(begun(true, &[1, 1, 2, 1, 2]), [1, 2]);
        assert_eq!(begun(false, &[1, 2, 3, 3]), [2, 3], "whoever follows did not know");
    }
}
