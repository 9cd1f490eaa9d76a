//! Looking at a cluster and at its jobs.

use std::fmt::Write as _;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use comfy_table::{Table, presets};
use phalanx_common::event::{Cause, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{RankHealth, one_line};
use phalanx_common::identity::Principal;
use phalanx_common::status::{EvidenceStatus, FailureStatus, JobStatus, RestartStatus};
use phalanx_common::time::Timestamp;
use phalanx_common::wire::client_v1::Request;
use phalanx_net::identity_file::Identity;

use super::args::{ClusterArgs, JobRefArgs, JobsArgs, PsArgs, StopArgs};
use super::{Exit, pretty, print};
use crate::cluster::{operator_path, own_dir};
use crate::driver::wall;
use crate::remote::{Client, Places, own_identity};
use crate::server::client::JobDetails;

/// Signal of `phalanx stop`.
const SIGTERM: u8 = 15;

/// What an identity is needed for: with several at hand, an operator's is not the first for running jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Work,
    Administer,
}

/// The identity to use; `None` if this user has none.
pub(super) fn identity(args: &ClusterArgs, purpose: Purpose) -> anyhow::Result<Option<Identity>> {
    let operator = own_dir().map(|dir| operator_path(&dir)).filter(|path| !is_somebody_elses(path));
    let own = args.usual_identity.clone().or_else(own_identity);
    let usual: Vec<_> = match purpose {
        Purpose::Work => own.into_iter().collect(),
        Purpose::Administer => operator.into_iter().chain(own).collect(),
    };
    let places = Places { named: args.identity.clone(), usual };
    let mut identity = places.load()?;
    if let Some(Principal::Worker { node }) = identity.as_ref().map(|identity| &identity.principal) {
        bail!(
            "this is the identity of worker {node}, which asks for nothing: log in as a user, phalanx login"
        );
    }
    if let Some(identity) = &mut identity
        && !args.coordinator.is_empty()
    {
        identity.coordinators.clone_from(&args.coordinator);
    }
    Ok(identity)
}

/// The identity that a job runs with on a cluster; `None` where nothing was said of one, and it runs here.
pub(super) fn identity_if_meant(args: &ClusterArgs) -> anyhow::Result<Option<Identity>> {
    let found = identity(args, Purpose::Work)?;
    let named = match (&args.coordinator[..], &args.usual_identity) {
        ([first, ..], _) => format!("a coordinator is named, {first}"),
        (_, Some(path)) => format!("the configuration names the identity {}", path.display()),
        _ => return Ok(found),
    };
    if found.is_none() {
        bail!(
            "{named}, and you are logged in to no cluster: `phalanx login`, or --local to run the job on this machine"
        );
    }
    Ok(found)
}

/// The operator's identity belongs to who runs the coordinator; to others it is as if it were not there.
fn is_somebody_elses(path: &Path) -> bool {
    std::fs::File::open(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// The same where there has to be one.
pub(super) fn need_identity(args: &ClusterArgs, purpose: Purpose) -> anyhow::Result<Identity> {
    let found = match (identity(args, purpose)?, purpose) {
        // An operator without another identity may look around.
        (None, Purpose::Work) => identity(args, Purpose::Administer)?,
        (found, _) => found,
    };
    found.context(
        "you are logged in to no cluster: `phalanx login` on the coordinator's host, or `phalanx login --bundle FILE` \
         with a bundle from its operator; an operator is who names --identity operator.json in the state directory of \
         `phalanx serve`",
    )
}

/// Runs a client to its end.
pub(super) fn on_event_loop<T>(client: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let done = runtime.block_on(client);
    runtime.shutdown_background();
    done
}

/// One document from the cluster.
pub(super) fn document<T: serde::de::DeserializeOwned>(
    args: &ClusterArgs,
    request: &Request,
) -> anyhow::Result<T> {
    document_as(args, Purpose::Work, request)
}

/// The same, for whoever may do more than work.
pub(super) fn document_as<T: serde::de::DeserializeOwned>(
    args: &ClusterArgs,
    purpose: Purpose,
    request: &Request,
) -> anyhow::Result<T> {
    let identity = need_identity(args, purpose)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let document = client.document(request).await?;
        client.close().await;
        Ok(document)
    })
}

/// `phalanx ps`.
pub(super) fn ps(args: &PsArgs) -> anyhow::Result<Exit> {
    let jobs: Vec<JobStatus> = document(&args.list.cluster, &Request::Jobs { ended: args.all })?;
    if args.list.json {
        return print(&pretty(&jobs));
    }
    if jobs.is_empty() {
        return print(if args.all { "no jobs\n" } else { "no jobs; --all shows those that have ended\n" });
    }
    let rows = jobs.iter().map(|job| {
        vec![
            job.job.to_string(),
            job.owner.clone(),
            phase(job),
            job.ranks.to_string(),
            job.pods.len().to_string(),
            format!("{}/{}", job.restarts, job.max_restarts),
            ago(wall().since(job.submitted_at)),
            job.ended_at.map(|at| ago(at.since(job.submitted_at))).unwrap_or_default(),
        ]
    });
    print(&table(&["JOB", "USER", "STATE", "RANKS", "NODES", "RESTARTS", "AGE", "TOOK"], rows))
}

/// `phalanx status`.
pub(super) fn status(args: &JobRefArgs) -> anyhow::Result<Exit> {
    let details: JobDetails = document(&args.cluster, &Request::Job { job: args.id.clone() })?;
    if args.json {
        return print(&pretty(&details));
    }
    let JobDetails { status: job, last_words } = details;
    let ranks = counted(job.ranks, "rank");
    let mut text = format!("{}: {}, {ranks} of {}\n", job.job, phase(&job), job.owner);
    let mut line = |name: &str, value: &str| {
        // What has several lines stays in its column.
        let value = value.lines().collect::<Vec<_>>().join(&format!("\n{:15}", ""));
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    line("command", &job.command.join(" "));
    line("submitted", &job.submitted_at.to_rfc3339());
    if let Some(since) = job.running_since {
        let word = if job.ended_at.is_some() { "ran" } else { "running" };
        line(word, &format!("since {}", since.to_rfc3339()));
    }
    if let Some(at) = job.ended_at {
        let after = ago(at.since(job.submitted_at));
        line("ended", &format!("{}, {after} after it was submitted", at.to_rfc3339()));
    }
    if let Some(at) = job.deadline_at {
        line("deadline", &format!("in {}", ago(at.since(wall()))));
    }
    line("generation", &format!("{}, {} of {} restarts", job.generation, job.restarts, job.max_restarts));
    let in_place = [(job.rank_restarts, "rank"), (job.pod_restarts, "pod")];
    for (count, step) in in_place.into_iter().filter(|(count, _)| *count > 0) {
        line("in place", &format!("{count} restarts of a {step}"));
    }
    if let Some(restart) = &job.restart {
        line("restart", &phases(restart));
    }
    if let Some(why) = &job.waits_for {
        line("waits", why);
    }
    if let Some(
        Outcome::Failed { first_cause, exit_code, .. } | Outcome::Stopped { first_cause, exit_code },
    ) = &job.outcome
    {
        let why = first_cause.with_node();
        // A rank's own code stands there already.
        let code = match first_cause {
            Cause::RankFailed { status: ExitStatus::Code(_), .. } => String::new(),
            _ => format!(" (exit code {exit_code})"),
        };
        line("why", &format!("{why}{code}"));
        if let Some(Outcome::Failed { no_restart: Some(no_restart), .. }) = &job.outcome {
            line("", &no_restart.to_string());
        }
        if let Some(rank) = first_cause.rank() {
            let words: Vec<String> = last_words.iter().map(|line| format!("\n  {line}")).collect();
            line("last words", &format!("phalanx logs {} --rank {rank}{}", job.job, words.concat()));
        }
    }
    for (index, told) in what_failed(&job).iter().enumerate() {
        line(if index == 0 { "what failed" } else { "" }, told);
    }
    if job.outcome.is_none()
        && let Some(ready) = ready_ranks(&job)
    {
        line("ready", &format!("{ready} of {ranks}"));
    }
    for pod in &job.pods {
        let ranks = match pod.ranks {
            1 => format!("rank {}", pod.first_rank),
            ranks => format!("ranks {}-{}", pod.first_rank, pod.first_rank + ranks.saturating_sub(1)),
        };
        let lost = match pod.given_up_at {
            _ if pod.reachable || job.outcome.is_some() => String::new(),
            Some(at) => format!(", not reachable, given up in {}", ago(at.since(wall()))),
            None => ", not reachable".to_owned(),
        };
        line("pod", &format!("{ranks} on {}{lost}", pod.node));
    }
    let live: Vec<&RankHealth> =
        job.pods.iter().filter(|_| job.outcome.is_none()).flat_map(|pod| &pod.health).collect();
    let next_alike =
        |a: &&RankHealth, b: &&RankHealth| b.rank.0 == a.rank.0 + 1 && how_it_stands(a) == how_it_stands(b);
    for ranks in live.chunk_by(next_alike) {
        let [first, ..] = ranks else { continue };
        let name = match ranks {
            [.., last] if last.rank != first.rank => format!("ranks {}-{}", first.rank, last.rank),
            _ => format!("rank {}", first.rank),
        };
        line(&name, &how_it_stands(first));
    }
    print(&text)
}

/// The last restart of the gang by its phases.
fn phases(restart: &RestartStatus) -> String {
    let RestartStatus { at, ending_ms, backoff_ms, waited_ms, prepared_ms, ready_ms } = *restart;
    let done = waited_ms.zip(prepared_ms).zip(ready_ms);
    let took = done.map(|((waited, prepared), ready)| ending_ms + waited + prepared + ready);
    let took = took.map_or(String::new(), |took| format!(", took {took} ms"));
    let backoff = if backoff_ms > 0 { format!(" (backoff {backoff_ms} ms)") } else { String::new() };
    let mut parts = vec![format!("ended {ending_ms} ms")];
    parts.extend(waited_ms.map(|waited| format!("placed {waited} ms{backoff}")));
    parts.extend(prepared_ms.map(|prepared| format!("prepared {prepared} ms")));
    parts.extend(ready_ms.map(|ready| format!("ready {ready} ms")));
    format!("{}{took}: {}", at.to_rfc3339(), parts.join(", "))
}

/// What failed last, each with when it did after the first of them, and what happened to nodes around that. What the job's end says
/// already is left out.
fn what_failed(job: &JobStatus) -> Vec<String> {
    let Some(FailureStatus { generation, evidence, around }) = &job.failed else { return Vec::new() };
    let (Some(first), Some(began)) = (evidence.first(), evidence.iter().map(|it| it.at).min()) else {
        return Vec::new();
    };
    let past = *generation != job.generation;
    let told = |it: &EvidenceStatus| {
        let after = it.at.since(began);
        let when = match after.is_zero() {
            _ if evidence.len() == 1 => String::new(),
            true => ", gone first".to_owned(),
            false => format!(", gone {} ms later", after.as_millis()),
        };
        let follows = if it.consequence { ", because of a peer as it says" } else { "" };
        let of = if past { format!("generation {generation}: ") } else { String::new() };
        format!("{of}{}{when}{follows}", it.cause.with_node().lines().next().unwrap_or_default())
    };
    let said = evidence.len() == 1 && !past && job.outcome.is_some();
    let failed = evidence.iter().filter(|_| !said).map(told);
    failed.chain(around.iter().map(|note| note.beside(first.at))).collect()
}

/// How many ranks are ready, once all run.
fn ready_ranks(job: &JobStatus) -> Option<u32> {
    job.pods.iter().map(|pod| pod.ready).sum()
}

/// What a rank and its probes say.
fn how_it_stands(health: &RankHealth) -> String {
    let waits = match &health.waits {
        _ if health.ready => None,
        Some(waits) => Some(format!("not ready, {}: {}", waits.probe, one_line(&waits.message))),
        None => Some("not ready".to_owned()),
    };
    let says = health.status.as_ref().map(|status| format!("says: {}", one_line(status)));
    waits.into_iter().chain(says).collect::<Vec<_>>().join("\n")
}

/// `phalanx stop`.
pub(super) fn stop(args: &StopArgs) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Work)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        for id in &args.ids {
            let job: JobStatus = client.document(&Request::Job { job: id.clone() }).await?;
            let id = job.job.to_string();
            if job.outcome.is_some() {
                print(&format!("{id} has ended before\n"))?;
                continue;
            }
            client.done(&Request::Stop { job: id.clone(), signal: SIGTERM, force: args.force }).await?;
            print(&format!("stopping {id}\n"))?;
        }
        client.close().await;
        Ok(Exit::Success)
    })
}

/// `phalanx suspend` and `phalanx resume`.
pub(super) fn suspend(args: &JobsArgs, suspend: bool) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Work)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        for id in &args.ids {
            let job: JobStatus = client.document(&Request::Job { job: id.clone() }).await?;
            let id = job.job.to_string();
            let (request, doing) = match suspend {
                true => (Request::Suspend { job: id.clone() }, "suspending"),
                false => (Request::Resume { job: id.clone() }, "resuming"),
            };
            if job.outcome.is_some() {
                print(&format!("{id} has ended before\n"))?;
            } else if job.suspended == suspend {
                let is = if suspend { "is suspended already" } else { "is not suspended" };
                print(&format!("{id} {is}\n"))?;
            } else {
                client.done(&request).await?;
                print(&format!("{doing} {id}\n"))?;
            }
        }
        client.close().await;
        Ok(Exit::Success)
    })
}

fn phase(job: &JobStatus) -> String {
    match &job.outcome {
        Some(Outcome::Succeeded) => "succeeded".to_owned(),
        Some(Outcome::Failed { .. }) => "failed".to_owned(),
        Some(Outcome::Stopped { .. }) => "stopped".to_owned(),
        None if job.suspended => format!("{}, suspended", job.phase),
        None => job.phase.clone(),
    }
}

/// Columns, for people and for `awk` alike.
pub(super) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n") + "\n"
}

pub(super) fn ago(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7_199 => format!("{}m", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `1 rank`, `2 ranks`.
fn counted(number: u32, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// How long until `at`.
pub(super) fn left(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "expired".to_owned() } else { format!("{} left", ago(at.since(now))) }
}

#[cfg(test)]
mod tests {
    use phalanx_common::event::NodeNote;

    use super::*;

    #[test]
    fn times_are_short_and_never_zero_days() {
        let text = |seconds| ago(Duration::from_secs(seconds));
        assert_eq!([0, 119, 120, 7_200, 172_800].map(text), ["0s", "119s", "2m", "2h", "2d"]);
        assert_eq!(left(Timestamp(5), Timestamp(5)), "expired");
        assert_eq!(left(Timestamp(90 * 86_400_000_000), Timestamp(0)), "90d left");
    }

    #[test]
    fn of_several_that_failed_each_says_when_and_whether_it_followed() {
        let of = |rank: u32, at, consequence| EvidenceStatus {
            at: Timestamp(at),
            cause: Cause::RankFailed {
                rank: phalanx_common::id::Rank(rank),
                node: phalanx_common::id::NodeId::new("n"),
                status: ExitStatus::Code(1),
            },
            consequence,
        };
        let mut job = ended_job();
        let mut told = |generation, evidence: &[EvidenceStatus], around: &[NodeNote]| {
            let failed = FailureStatus { generation, evidence: evidence.to_vec(), around: around.to_vec() };
            job.failed = Some(failed);
            what_failed(&job)
        };
        let cause = of(1, 320_000, false);
        assert_eq!(
            told(2, std::slice::from_ref(&cause), &[]),
            [""; 0],
            "the cause alone stands there already"
        );
        assert_eq!(
            told(1, std::slice::from_ref(&cause), &[]),
            ["generation 1: rank 1 on n ended with exit code 1"],
            "of a generation before that it does not"
        );
        let clock = NodeNote {
            at: Timestamp(20_000),
            node: phalanx_common::id::NodeId::new("m"),
            what: "its clock is 3000 ms ahead".to_owned(),
        };
        assert_eq!(
            told(2, &[cause, of(0, 5_000, true)], &[clock]),
            [
                "rank 1 on n ended with exit code 1, gone 315 ms later",
                "rank 0 on n ended with exit code 1, gone first, because of a peer as it says",
                "node m, 0.3 s before: its clock is 3000 ms ahead",
            ]
        );
    }

    /// In its second generation.
    fn ended_job() -> JobStatus {
        JobStatus {
            job: phalanx_common::id::JobId::from_existing("j"),
            owner: "ann".to_owned(),
            phase: "ended".to_owned(),
            suspended: false,
            ranks: 2,
            generation: 2,
            restarts: 1,
            max_restarts: 1,
            rank_restarts: 0,
            pod_restarts: 0,
            restart: None,
            submitted_at: Timestamp(0),
            running_since: None,
            ended_at: None,
            deadline_at: None,
            waits_for: None,
            outcome: Some(Outcome::Succeeded),
            failed: None,
            pods: Vec::new(),
            command: Vec::new(),
        }
    }
}
