//! What several unit tests of this crate need.

use phalanx_common::spec::{Flags, JobFile, JobSpec, Surroundings};

/// A job with these keys of a job file, in flow style.
pub(crate) fn job(keys: &str) -> JobSpec {
    let around = Surroundings {
        cwd: "/",
        file_dir: None,
        log_dir: None,
        cluster: true,
        cpus: 1,
        gpus: &|| Ok(1),
        env: &|_| None,
    };
    let file = JobFile::parse("job.yaml", format!("{{command: [a], {keys}}}").as_bytes()).unwrap();
    file.overlay(&Flags::default(), &around).unwrap().resolve(&around).unwrap()
}
