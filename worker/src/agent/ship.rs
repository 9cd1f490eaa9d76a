//! Fetches the directory that travels with a job, once per node and digest.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};

use phalanx_common::defaults::SHIP_CAP;
use phalanx_common::hex;
use phalanx_common::id::JobId;
use phalanx_common::wire::v1::{FileFrame, FileRequest};
use ring::digest::{Context, SHA256};

use crate::link::{self, FileLink};

/// Why the directory is not here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the job's directory cannot be kept on this node: {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the job's directory did not come: {0}")]
    Link(#[from] link::Error),
    #[error("the job's directory did not come: {why}")]
    Refused { why: String },
    #[error("what came as the job's directory is not what was announced")]
    Mismatch,
}

/// Where to put it, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) job: JobId,
    pub(super) digest: String,
    /// `<dir>/<digest>.tar`; the directory is the user's.
    pub(super) path: PathBuf,
    /// User id that has to be able to read it.
    pub(super) owner: Option<u32>,
}

/// Fetches it, unless it is here.
pub(super) async fn fetch<L: FileLink>(
    wanted: &Wanted,
    open: impl Future<Output = Result<L, link::Error>>,
) -> Result<(), Error> {
    let failed = |source| Error::Io { path: wanted.path.clone(), source };
    if fs::exists(&wanted.path).map_err(failed)? {
        return Ok(());
    }
    let mut link = open.await?;
    link.ask(FileRequest { job: wanted.job.to_string() }).await?;
    let bytes = match link.next().await? {
        FileFrame::Found { bytes } if bytes <= SHIP_CAP => bytes,
        FileFrame::Refused { why } => return Err(Error::Refused { why }),
        _ => return Err(Error::Mismatch),
    };
    let beside = wanted.path.with_extension(format!("{}.part", wanted.job));
    let received = receive(wanted, &beside, bytes, &mut link).await;
    match received {
        Ok(()) => fs::rename(&beside, &wanted.path).map_err(failed),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

async fn receive<L: FileLink>(wanted: &Wanted, path: &Path, bytes: u64, link: &mut L) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let _ = fs::remove_file(path);
    let mut file: File =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    if let Some(owner) = wanted.owner {
        lchown(path, Some(owner), None).map_err(failed)?;
    }
    let (mut context, mut left) = (Context::new(&SHA256), bytes);
    while left > 0 {
        let FileFrame::Piece(piece) = link.next().await? else { return Err(Error::Mismatch) };
        if piece.0.is_empty() || piece.0.len() as u64 > left {
            return Err(Error::Mismatch);
        }
        context.update(&piece.0);
        file.write_all(&piece.0).map_err(failed)?;
        left -= piece.0.len() as u64;
    }
    // A disk may take seconds for it, and the heartbeats wait on this thread.
    let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
    synced.map_err(io::Error::other).flatten().map_err(failed)?;
    let digest = hex::encode(context.finish().as_ref());
    if digest == wanted.digest { Ok(()) } else { Err(Error::Mismatch) }
}
