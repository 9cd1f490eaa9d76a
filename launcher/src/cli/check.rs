//! `phalanx check`: what a file and flags mean, and what would travel with the job. Nobody is asked.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use phalanx_common::spec::{Document, VirtualEnv};
use phalanx_net::identity_file::Identity;

use super::args::CheckArgs;
use super::cluster::identity_if_meant;
use super::env::SecretFiles;
use super::job::{self, Resolved, Target};
use super::{Exit, complain, pretty, print};
use crate::ship::{self, Packed};

/// Prints the job on standard output, as a job file; and what would come with it on standard error.
pub(super) fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    let identity = if args.local { None } else { identity_if_meant(&args.cluster)? };
    let target = if identity.is_some() { Target::Cluster } else { job::this_machine()? };
    let resolved = job::resolve(&args.job, &target)?;
    print(&pretty(&Document::from(&resolved.spec).bringing(&resolved.file, resolved.ship.as_deref())))?;

    let files = SecretFiles::new(&args.job.secret);
    let packed = resolved.ship.as_deref().map(|dir| ship::pack(Path::new(dir))).transpose();
    let secrets = files.values(&resolved.file);
    let coming = coming(&resolved, &files, packed.as_ref().ok().and_then(Option::as_ref));
    if let Some(text) = summary(identity.as_ref(), &coming) {
        // Nobody reads any more: nothing to do about that.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    // What would stop the job is said at once, all of it.
    let errors = [packed.err().map(anyhow::Error::from), secrets.err()];
    let mut exit = Exit::Success;
    for error in errors.iter().flatten() {
        complain(error);
        exit = Exit::Phalanx;
    }
    Ok(exit)
}

/// What comes with the job, a line each.
fn coming(
    resolved: &Resolved,
    files: &SecretFiles<'_>,
    packed: Option<&Packed>,
) -> Vec<(&'static str, String)> {
    let mut coming = Vec::new();
    if let Some((dir, packed)) = resolved.ship.as_deref().zip(packed) {
        let kib = packed.ship.bytes.div_ceil(1024);
        let s = if packed.files == 1 { "" } else { "s" };
        coming.push(("directory", format!("{dir}: {} file{s}, {kib} KiB packed", packed.files)));
    }
    for (name, key) in resolved.file.secrets() {
        coming.push(("secret", format!("{name}, {}", files.source(key))));
    }
    if let Some(VirtualEnv { prefix, version }) = &resolved.spec.virtual_env {
        let version = version.as_deref().map_or("of a version that is not known here", |version| version);
        coming.push(("environment", format!("{prefix}, Python {version}")));
    }
    coming
}

/// `None` if there is nothing to say: a job of this machine that needs nothing.
fn summary(identity: Option<&Identity>, coming: &[(&'static str, String)]) -> Option<String> {
    let end = if coming.is_empty() { "nothing comes with the job" } else { "with the job come" };
    let mut text = match identity {
        Some(identity) => {
            format!("phalanx: for cluster {} as {}: {end}\n", identity.cluster, identity.principal)
        }
        None if coming.is_empty() => return None,
        None => format!("phalanx: for this machine: {end}\n"),
    };
    for (what, which) in coming {
        let _ = writeln!(text, "  {what:<12} {which}");
    }
    Some(text)
}
