//! Directories that travel with jobs, kept by user and digest: nobody gets what somebody else sent.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use phalanx_common::defaults::{SHIP_CAP, SHIP_KEPT};
use phalanx_common::hex;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::Ship;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::client_v1::{Piece, Reply};
use phalanx_common::wire::v1::{FileFrame, FileRequest};
use phalanx_net::frames::{self, Receiving, Sending};
use ring::digest::{Context, SHA256};
use tokio::sync::mpsc;

use crate::driver::{Message, look};

/// Bytes of one piece on its way.
const PIECE: usize = 256 << 10;

/// From one piece to the next: a client that sends no more would hold its part of the disk for ever.
const PIECE_WITHIN: Duration = Duration::from_secs(15);

/// Where they are kept.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
}

/// Why one is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "the directory does not travel: {bytes} bytes, at most {SHIP_CAP}, under a SHA-256 in hexadecimal"
    )]
    Bad { bytes: u64 },
    #[error("what came is not what was announced")]
    Mismatch,
    #[error("the directory broke off: nothing of it came in {} s", PIECE_WITHIN.as_secs())]
    Slow,
    #[error("the coordinator cannot keep the directory: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stream(#[from] frames::Error),
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Blobs {
    pub(crate) fn new(dir: PathBuf) -> Blobs {
        Blobs { dir }
    }

    fn path(&self, user: &str, digest: &str) -> PathBuf {
        self.dir.join(format!("{user}-{digest}.tar"))
    }

    pub(super) fn has(&self, user: &str, ship: &Ship) -> bool {
        fs::metadata(self.path(user, &ship.digest)).is_ok_and(|meta| meta.len() == ship.bytes)
    }

    /// Takes what a client sends, if it is not here yet.
    pub(super) async fn take(
        &self,
        user: &str,
        ship: &Ship,
        send: &mut Sending,
        frames: &mut Receiving,
    ) -> Result<(), Error> {
        if ship.bytes > SHIP_CAP || hex::decode::<32>(&ship.digest).is_none() {
            return Err(Error::Bad { bytes: ship.bytes });
        }
        fs::create_dir_all(&self.dir)?;
        let path = self.path(user, &ship.digest);
        if self.has(user, ship) {
            // Used again: kept from now on.
            File::open(&path)?.set_modified(SystemTime::now())?;
            return Ok(());
        }
        send.write(&Reply::Wanted).await?;
        let beside = self.dir.join(format!("{}.part", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let taken = receive(&beside, ship, frames).await;
        if taken.is_ok() {
            fs::rename(&beside, &path)?;
        } else {
            let _ = fs::remove_file(&beside);
        }
        taken
    }

    /// Removes what was not used for long, but that of these users and digests.
    pub(super) fn prune(&self, in_use: &[(String, String)]) {
        let in_use: BTreeSet<PathBuf> = in_use.iter().map(|(user, digest)| self.path(user, digest)).collect();
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten().filter(|entry| !in_use.contains(&entry.path())) {
            let age =
                entry.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or_default());
            if age.is_ok_and(|age| age > SHIP_KEPT) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Sends a node what it asks for: the directory of a job that it has a pod of.
    pub(super) async fn serve(
        self,
        node: NodeId,
        mut send: Sending,
        mut frames: Receiving,
        driver: mpsc::Sender<Message>,
    ) {
        let Ok(request) = frames.read::<FileRequest>().await else { return };
        let job = JobId::from_existing(request.job);
        let wanted = {
            let node = node.clone();
            look(&driver, move |coordinator, _| {
                let view = coordinator.job(&job)?;
                view.job.active()?.place_on(&node)?;
                Some((view.job.owner.name.clone(), view.job.spec.ship.clone()?))
            })
        };
        let sent = match wanted.await.flatten() {
            Some((user, ship)) => self.send(&user, &ship, &mut send).await,
            None => {
                let why = "this node has no pod of a job with a directory".to_owned();
                send.write(&FileFrame::Refused { why }).await.map_err(Error::from)
            }
        };
        match sent {
            Ok(()) => send.finish().await,
            Err(error) => tracing::warn!(%node, %error, "a directory was not sent"),
        }
    }

    async fn send(&self, user: &str, ship: &Ship, send: &mut Sending) -> Result<(), Error> {
        let mut file = match File::open(self.path(user, &ship.digest)) {
            Ok(file) => file,
            Err(error) => {
                let why =
                    format!("the coordinator has the job's directory no more: {error}; submit the job again");
                return Ok(send.write(&FileFrame::Refused { why }).await?);
            }
        };
        send.write(&FileFrame::Found { bytes: ship.bytes }).await?;
        let mut buffer = vec![0; PIECE];
        loop {
            // A local disk, and pieces that a page cache reads ahead.
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            send.write(&FileFrame::Piece(Bytes(buffer[..read].to_vec()))).await?;
        }
    }
}

async fn receive(path: &Path, ship: &Ship, frames: &mut Receiving) -> Result<(), Error> {
    let mut file = File::create(path)?;
    let (mut context, mut left) = (Context::new(&SHA256), ship.bytes);
    while left > 0 {
        let piece = tokio::time::timeout(PIECE_WITHIN, frames.read()).await;
        let Piece(Bytes(bytes)) = piece.map_err(|_| Error::Slow)??;
        if bytes.is_empty() || bytes.len() as u64 > left {
            return Err(Error::Mismatch);
        }
        context.update(&bytes);
        file.write_all(&bytes)?;
        left -= bytes.len() as u64;
    }
    // A disk may take seconds for it, and everything else of the coordinator waits on this thread.
    tokio::task::spawn_blocking(move || file.sync_all()).await.map_err(io::Error::other)??;
    let digest = hex::encode(context.finish().as_ref());
    if digest == ship.digest { Ok(()) } else { Err(Error::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_job_used_for_long_is_removed_and_what_a_live_job_may_need_again_stays() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(dir.path().to_owned());
        for (user, age) in [("ann", SHIP_KEPT * 2), ("bob", SHIP_KEPT * 2), ("cleo", SHIP_KEPT / 2)] {
            let file = File::create(blobs.path(user, "ab")).unwrap();
            file.set_modified(SystemTime::now() - age - Duration::from_secs(1)).unwrap();
        }
        blobs.prune(&[("bob".to_owned(), "ab".to_owned())]);
        assert!(!blobs.path("ann", "ab").exists());
        assert!(blobs.path("bob", "ab").exists() && blobs.path("cleo", "ab").exists());
    }
}
