//! `phalanx logs`: output of a job of the cluster.

use anyhow::Context;
use phalanx_common::spec::OutputMode;
use phalanx_common::status::JobStatus;
use phalanx_common::wire::client_v1::{Reply, Request};

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
        let request = Request::Logs {
            job: status.job.to_string(),
            generation: args.generation,
            rank: args.rank,
            follow: args.follow,
        };
        let mut answers = client.ask(&request).await?;
        while let Some(reply) = answers.next().await? {
            let Reply::Log(frame) = reply else { continue };
            if sink.send(frame).await.is_err() {
                break;
            }
        }
        let _ = printer.flushed().await;
        client.close().await;
        Ok(Exit::Success)
    })
}
