//! What the operator's files say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use phalanx_common::topology::Evidence;

use crate::driver::wall;
use crate::topo;

/// Files and folders of the operator's, as they were when they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(super) paths: Vec<PathBuf>,
    pub(super) evidence: Vec<Evidence>,
    /// Size and time of each file.
    pub(super) stamps: Stamps,
}

pub(super) type Stamps = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

impl Files {
    /// # Errors
    /// What cannot be read or understood, and what is no file about networks.
    pub(crate) fn load(paths: Vec<PathBuf>) -> anyhow::Result<Files> {
        if paths.is_empty() {
            return Ok(Files::default());
        }
        let stamps = stamps(&paths);
        let (evidence, warnings) = topo::evidence(&paths, wall()).context("--topology")?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(Files { paths, evidence, stamps })
    }

    /// `None` while they are the same. An error comes with how they are by now.
    pub(super) fn newer(&self) -> Option<Result<Files, (Stamps, anyhow::Error)>> {
        let stamps = stamps(&self.paths);
        let load = || Files::load(self.paths.clone()).map_err(|error| (stamps.clone(), error));
        (stamps != self.stamps).then(load)
    }
}

/// Of the files that are named, and of those directly in folders.
fn stamps(paths: &[PathBuf]) -> Stamps {
    let within = |path: &PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).chain([path.clone()]).collect()
    };
    let stamp = |path: PathBuf| {
        let about = std::fs::metadata(&path).ok()?;
        Some((path, (about.len(), about.modified().ok())))
    };
    paths.iter().flat_map(within).filter_map(stamp).collect()
}
