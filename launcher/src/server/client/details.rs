//! One job, with what the state machine does not keep of it.

use phalanx_common::event::Outcome;
use phalanx_common::status::JobStatus;
use phalanx_common::wire::v1::{LogFrame, Stream};
use phalanx_launcher_core::access::{Action, allowed};
use serde::{Deserialize, Serialize};

use super::{Failed, Session, ending};
use crate::driver::look;
use crate::topo::plain;

/// Of the rank that failed first. What is before them, `logs` shows.
const LAST_LINES: usize = 8;
/// Characters of a line.
const LONGEST_LINE: usize = 200;

/// What `status` tells of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JobDetails {
    #[serde(flatten)]
    pub(crate) status: JobStatus,
    /// The last lines of the rank that failed first, of its standard error where it has any, for those who may read its
    /// output.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) last_words: Vec<String>,
}

impl Session {
    /// `None`: it was forgotten while it was looked for.
    pub(super) async fn details(&self, job: &str) -> Result<Option<JobDetails>, Failed> {
        let (job, owner) = self.find(job).await?;
        let found = look(&self.service.inbox, move |coordinator, _| {
            coordinator.job(&job).map(|view| coordinator.job_status(&view))
        });
        let Some(status) = found.await.ok_or_else(ending)? else { return Ok(None) };
        let may_read = allowed(&self.principal, Action::ReadOutput { owner: &owner });
        let last_words = if may_read { self.last_words(&status).await } else { Vec::new() };
        Ok(Some(JobDetails { status, last_words }))
    }

    async fn last_words(&self, status: &JobStatus) -> Vec<String> {
        let Some(Outcome::Failed { first_cause, .. }) = &status.outcome else { return Vec::new() };
        let Some(rank) = first_cause.rank() else { return Vec::new() };
        let (tails, job) = (self.cluster.tails.clone(), status.job.clone());
        let (rank, generation) = (rank.0, status.generation);
        let read = move || lines(&tails.last_words(&job, rank, generation));
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

/// The last lines of standard error, or of standard output where there is none, without what a terminal would obey.
fn lines(frames: &[LogFrame]) -> Vec<String> {
    let of = |wanted: Stream| {
        frames.iter().find_map(|frame| match frame {
            LogFrame::Chunk { stream, bytes, .. }
                if *stream == wanted && !bytes.0.trim_ascii().is_empty() =>
            {
                Some(String::from_utf8_lossy(&bytes.0).into_owned())
            }
            _ => None,
        })
    };
    let Some(text) = of(Stream::Stderr).or_else(|| of(Stream::Stdout)) else { return Vec::new() };
    let all: Vec<&str> = text.trim_end().lines().collect();
    let plain = |line: &&str| plain::text(&line.replace('\t', "    ")).chars().take(LONGEST_LINE).collect();
    all[all.len().saturating_sub(LAST_LINES)..].iter().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_common::wire::bytes::Bytes;

    fn chunk(stream: Stream, text: &str) -> LogFrame {
        LogFrame::Chunk { generation: 1, rank: 0, stream, bytes: Bytes(text.as_bytes().to_vec()) }
    }

    #[test]
    fn last_words_are_few_short_and_plain() {
        let out = chunk(Stream::Stdout, "step 1\nstep 2\n");
        assert_eq!(lines(&[]), [""; 0]);
        assert_eq!(lines(&[out.clone(), chunk(Stream::Stderr, " \n")]), ["step 1", "step 2"]);
        let many: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(lines(&[out.clone(), chunk(Stream::Stderr, &many)]).len(), LAST_LINES);
        let loud = chunk(Stream::Stderr, &format!("\tat\u{1b}[2J\r\n{}", "x".repeat(500)));
        assert_eq!(lines(&[out, loud]), ["    at[2J".to_owned(), "x".repeat(LONGEST_LINE)]);
    }
}
