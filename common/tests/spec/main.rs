//! Job files and flags, by their public interface.
#![expect(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod client;
mod cluster;
mod docs;
mod document;
mod errors;
mod flags;
mod lifecycle;
mod lifetime;
mod needs;
mod probes;
mod properties;
mod recovery;
mod resolve;
mod schema;
mod secret;

use phalanx_common::spec::{Flags, JobFile, JobSpec, Surroundings};

/// A machine with 8 cores and 2 GPUs, the launcher in `/home/ada`, the job file in `/home/ada/jobs`.
fn around() -> Surroundings<'static> {
    Surroundings {
        cwd: "/home/ada",
        file_dir: Some("/home/ada/jobs"),
        log_dir: Some("phalanx-logs"),
        cluster: false,
        cpus: 8,
        gpus: &|| Ok(2),
        env: &|name| (name == "TOKEN").then(|| "from the shell".to_string()),
    }
}

/// The whole way of a job file with flags; the error as it is printed.
fn run(text: &str, flags: &Flags) -> Result<JobSpec, String> {
    resolve(text, flags, &around())
}

/// The same for a job that a cluster will run.
fn run_in_cluster(text: &str, flags: &Flags) -> Result<JobSpec, String> {
    resolve(text, flags, &Surroundings { cluster: true, ..around() })
}

fn resolve(text: &str, flags: &Flags, around: &Surroundings<'_>) -> Result<JobSpec, String> {
    let resolved = JobFile::parse("job.yaml", text.as_bytes())
        .and_then(|file| file.overlay(flags, around))
        .and_then(|file| file.resolve(around));
    resolved.map_err(|error| error.to_string())
}

fn some(text: &str) -> Option<String> {
    Some(text.to_string())
}
