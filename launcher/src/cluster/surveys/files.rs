//! What the operator's files say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use phalanx_common::topology::Evidence;

use crate::driver::wall;
use crate::topo::{self, NotTaken};

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
    pub(crate) fn load(paths: Vec<PathBuf>) -> Result<Files, NotTaken> {
        if paths.is_empty() {
            return Ok(Files::default());
        }
        let stamps = stamps(&paths);
        let (evidence, warnings) = topo::evidence(&paths, wall())?;
        warnings.iter().for_each(|warning| tracing::warn!("{}", topo::plain::text(warning)));
        Ok(Files { paths, evidence, stamps })
    }

    /// `None` while they are the same. An error comes with how they are by now.
    pub(super) fn newer(&self) -> Option<Result<Files, (Stamps, NotTaken)>> {
        let stamps = stamps(&self.paths);
        let load = || Files::load(self.paths.clone()).map_err(|error| (stamps.clone(), error));
        (stamps != self.stamps).then(load)
    }
}

/// Of the files that are named, and of those below folders.
fn stamps(paths: &[PathBuf]) -> Stamps {
    let stamp = |path: PathBuf| {
        let about = std::fs::metadata(&path).ok()?;
        Some((path, (about.len(), about.modified().ok())))
    };
    paths.iter().flat_map(|path| topo::listed(path)).filter_map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_deep_in_a_folder_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("tree.csv"), "node,leaf\nn1,l1\nn2,l1\n").unwrap();
        let files = Files::load(vec![dir.path().to_path_buf()]).unwrap();
        assert!(files.newer().is_none());
        std::fs::write(deep.join("tree.csv"), "node,leaf\nn1,l1\nn2,l1\nn3,l2\n").unwrap();
        let newer = files.newer().unwrap().unwrap();
        assert_eq!((files.evidence.len(), newer.evidence.len()), (2, 3));
        assert!(newer.newer().is_none());
    }

    #[test]
    fn one_wrong_file_of_a_folder_leaves_what_all_of_them_said_before() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tree.csv"), "node,leaf\nn1,l1\nn2,l1\n").unwrap();
        let site = dir.path().join("site.yaml");
        std::fs::write(&site, "nodes:\n  n1: {leaf: l2}\n").unwrap();
        let files = Files::load(vec![dir.path().to_path_buf()]).unwrap();
        assert_eq!(files.evidence.len(), 3);
        std::fs::write(&site, "nodes:\n  n1: {leef: l2}\n").unwrap();
        let (_, error) = files.newer().unwrap().unwrap_err();
        let said: Vec<String> = error.findings().iter().map(ToString::to_string).collect();
        let begin = format!("{}: it is not in force", site.display());
        assert!(said.len() == 1 && said[0].starts_with(&begin), "{said:?}");
        assert!(said[0].contains("line 2, column 8: \"leef\" is no key here"), "{said:?}");
    }
}
