//! Directories that travel with jobs, kept by user and digest: nobody gets what somebody else sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use phalanx_common::defaults::{SHIP_CAP, SHIP_KEPT};
use phalanx_common::hex;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::Ship;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::client_v1::{Piece, Reply};
use phalanx_common::wire::v1::{FileFrame, FileRequest};
use phalanx_net::frames::{self, Receiving, Sending};
use phalanx_net::landing::Landing;
use tokio::sync::mpsc;

use crate::driver::{Message, look};

/// Bytes of one piece on its way.
const PIECE: usize = 256 << 10;

/// From one piece to the next: a client that sends no more would hold its part of the disk for ever.
const PIECE_WITHIN: Duration = Duration::from_secs(15);

/// Bytes kept of one user: a few jobs with the largest directories, and no user has the whole disk.
const USER_CAP: u64 = 8 * SHIP_CAP;

/// Bytes kept of all users, 16 GiB: what the disk of a coordinator can be expected to have.
const TOTAL_CAP: u64 = 64 * SHIP_CAP;

/// Where they are kept.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
    /// Bytes that are on their way, by user.
    coming: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Held by the one that looks for room on the disk, on a thread that may wait.
    looking: Arc<Mutex<()>>,
}

/// Room on the disk for what is on its way.
#[derive(Debug)]
struct Room {
    user: String,
    bytes: u64,
    coming: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// A file that is removed unless it was renamed, however its client went.
#[derive(Debug)]
struct Part(PathBuf);

/// One that is kept.
#[derive(Debug)]
struct Kept {
    used: SystemTime,
    user: String,
    bytes: u64,
    path: PathBuf,
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
    #[error(
        "the directory has no room at the coordinator, which keeps {USER_CAP} bytes for a user and {TOTAL_CAP} in all: \
         try again when jobs that brought a directory have ended, or send less"
    )]
    Full,
    #[error("the coordinator cannot keep the directory: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stream(#[from] frames::Error),
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Blobs {
    /// What an earlier coordinator left half-written is removed.
    pub(crate) fn new(dir: PathBuf) -> Blobs {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.extension() == Some("part".as_ref()))
        {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "half a directory cannot be removed");
            }
        }
        Blobs { dir, coming: Arc::default(), looking: Arc::default() }
    }

    fn path(&self, user: &str, digest: &str) -> PathBuf {
        self.dir.join(format!("{user}-{digest}.tar"))
    }

    /// Whether it is kept here, whole.
    pub(super) async fn holds(&self, user: &str, ship: &Ship) -> bool {
        let (blobs, user, ship) = (self.clone(), user.to_owned(), ship.clone());
        off_thread(move || Ok(blobs.has(&user, &ship))).await.unwrap_or(false)
    }

    fn has(&self, user: &str, ship: &Ship) -> bool {
        fs::metadata(self.path(user, &ship.digest)).is_ok_and(|meta| meta.len() == ship.bytes)
    }

    /// Takes what a client sends, if it is not here yet. Those of `in_use` make no room for it, and are not
    /// removed for their age.
    pub(super) async fn take(
        &self,
        user: &str,
        ship: &Ship,
        in_use: Vec<(String, String)>,
        (send, frames): (&mut Sending, &mut Receiving),
    ) -> Result<(), Error> {
        if ship.bytes > SHIP_CAP || hex::decode::<32>(&ship.digest).is_none() {
            return Err(Error::Bad { bytes: ship.bytes });
        }
        let (blobs, user, wanted) = (self.clone(), user.to_owned(), ship.clone());
        let path = self.path(&user, &ship.digest);
        let place = off_thread(move || blobs.place_for(&user, &wanted, &in_use)).await?;
        let Some((_room, part, file)) = place else { return Ok(()) };
        send.write(&Reply::Wanted).await?;
        receive(file, ship, frames).await?;
        off_thread(move || Ok(fs::rename(&part.0, &path)?)).await
    }

    /// Where to write what is not here yet; `None` if it is.
    fn place_for(
        &self,
        user: &str,
        ship: &Ship,
        in_use: &[(String, String)],
    ) -> Result<Option<(Room, Part, File)>, Error> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.prune(in_use);
        fs::create_dir_all(&self.dir)?;
        if self.has(user, ship) {
            // Used again: kept from now on.
            File::open(self.path(user, &ship.digest))?.set_modified(SystemTime::now())?;
            return Ok(None);
        }
        let room = self.make_room(user, ship.bytes, in_use)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = Part(self.dir.join(format!("{number}.part")));
        let file = File::create(&part.0)?;
        Ok(Some((room, part, file)))
    }

    /// Room for so many bytes more of this user. For it go the user's own that were used longest ago, if that
    /// is enough.
    fn make_room(&self, user: &str, bytes: u64, in_use: &[(String, String)]) -> Result<Room, Error> {
        let (kept, in_use) = (self.kept(), self.paths(in_use));
        let mut coming = locked(&self.coming);
        let mine = |kept: &&Kept| kept.user == user;
        let bytes_of = |kept: &Kept| kept.bytes;
        let of_user = kept.iter().filter(mine).map(bytes_of).sum::<u64>() + coming.get(user).unwrap_or(&0);
        let of_all = kept.iter().map(bytes_of).sum::<u64>() + coming.values().sum::<u64>();
        let over_user = (of_user + bytes).saturating_sub(USER_CAP);
        let mut over = over_user.max((of_all + bytes).saturating_sub(TOTAL_CAP));
        let goes: Vec<&Kept> = kept.iter().filter(mine).filter(|kept| !in_use.contains(&kept.path)).collect();
        if over > goes.iter().map(|kept| kept.bytes).sum() {
            return Err(Error::Full);
        }
        *coming.entry(user.to_owned()).or_default() += bytes;
        drop(coming);
        let room = Room { user: user.to_owned(), bytes, coming: Arc::clone(&self.coming) };
        for oldest in goes {
            if over == 0 {
                break;
            }
            fs::remove_file(&oldest.path)?;
            over = over.saturating_sub(oldest.bytes);
        }
        Ok(room)
    }

    /// All that are kept whole, those used longest ago first.
    fn kept(&self) -> Vec<Kept> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut kept: Vec<Kept> = entries
            .filter_map(|entry| {
                let (path, meta) = (entry.path(), entry.metadata().ok()?);
                let name = path.file_name()?.to_str()?.strip_suffix(".tar")?;
                // The digest has no dash; the name of a user may.
                let user = name.rsplit_once('-')?.0.to_owned();
                Some(Kept { used: meta.modified().ok()?, user, bytes: meta.len(), path })
            })
            .collect();
        kept.sort_by(|one, other| (one.used, &one.path).cmp(&(other.used, &other.path)));
        kept
    }

    fn paths(&self, of: &[(String, String)]) -> BTreeSet<PathBuf> {
        of.iter().map(|(user, digest)| self.path(user, digest)).collect()
    }

    /// Removes what was not used for long, but that of these users and digests.
    fn prune(&self, in_use: &[(String, String)]) {
        let in_use = self.paths(in_use);
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
        let path = self.path(user, &ship.digest);
        let mut file = match off_thread(move || Ok(File::open(path)?)).await {
            Ok(file) => file,
            Err(error) => {
                let why =
                    format!("the coordinator has the job's directory no more: {error}; submit the job again");
                return Ok(send.write(&FileFrame::Refused { why }).await?);
            }
        };
        send.write(&FileFrame::Found { bytes: ship.bytes }).await?;
        loop {
            let (read, rest) = off_thread(move || {
                let mut piece = vec![0; PIECE];
                let read = file.read(&mut piece)?;
                piece.truncate(read);
                Ok((piece, file))
            })
            .await?;
            if read.is_empty() {
                return Ok(());
            }
            file = rest;
            send.write(&FileFrame::Piece(Bytes(read))).await?;
        }
    }
}

/// A disk may take seconds for anything, and everything else of the coordinator waits on this thread.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut coming = locked(&self.coming);
        let left = coming.get(&self.user).unwrap_or(&0).saturating_sub(self.bytes);
        if left > 0 {
            coming.insert(self.user.clone(), left);
        } else {
            coming.remove(&self.user);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        // Not there after it was renamed.
        let remove = move || drop(fs::remove_file(path));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn locked(coming: &Mutex<BTreeMap<String, u64>>) -> MutexGuard<'_, BTreeMap<String, u64>> {
    coming.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(file: File, ship: &Ship, frames: &mut Receiving) -> Result<(), Error> {
    let landing = Landing::begin(|| Ok(file));
    let came = pieces(&landing, ship, frames).await;
    // Also of one that broke off: whoever removes the file comes after its last write.
    let digest = landing.finish().await;
    came?;
    if hex::encode(&digest?) == ship.digest { Ok(()) } else { Err(Error::Mismatch) }
}

async fn pieces(landing: &Landing, ship: &Ship, frames: &mut Receiving) -> Result<(), Error> {
    let mut left = ship.bytes;
    while left > 0 {
        let piece = tokio::time::timeout(PIECE_WITHIN, frames.read()).await;
        let Piece(Bytes(bytes)) = piece.map_err(|_| Error::Slow)??;
        let len = bytes.len() as u64;
        if len == 0 || len > left {
            return Err(Error::Mismatch);
        }
        left -= len;
        if !landing.add(bytes).await {
            // Why, its end says.
            break;
        }
    }
    Ok(())
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

    #[test]
    fn a_user_s_oldest_that_no_job_uses_make_room_for_more_and_nobody_has_more_than_a_share() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(dir.path().to_owned());
        let keep = |user: &str, digest: &str, days: u64| {
            let file = File::create(blobs.path(user, digest)).unwrap();
            // No byte of it takes room.
            file.set_len(SHIP_CAP).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 24 * 3600)).unwrap();
        };
        for (digest, days) in [("used", 5), ("old", 4), ("older", 6), ("new", 1)] {
            keep("ann-b", digest, days);
        }
        let in_use = [("ann-b".to_owned(), "used".to_owned())];
        let others: Vec<Room> =
            (0..4).map(|_| blobs.make_room("ann-b", SHIP_CAP, &in_use).unwrap()).collect();
        assert!(blobs.path("ann-b", "older").exists());
        let fifth = blobs.make_room("ann-b", SHIP_CAP, &in_use).unwrap();
        assert!(!blobs.path("ann-b", "older").exists());
        assert!(matches!(blobs.make_room("ann-b", 3 * SHIP_CAP, &in_use), Err(Error::Full)));
        for digest in ["used", "old", "new"] {
            assert!(blobs.path("ann-b", digest).exists(), "{digest}: nothing goes in vain");
        }
        drop((others, fifth));
        assert!(blobs.make_room("ann-b", 3 * SHIP_CAP, &in_use).is_ok());

        for other in 0..8 {
            let _: Vec<()> = (0..8).map(|n| keep(&format!("u{other}"), &n.to_string(), 1)).collect();
        }
        assert!(matches!(blobs.make_room("cleo", 1, &[]), Err(Error::Full)), "the disk is everybody's");
    }

    #[test]
    fn half_a_directory_goes_with_its_client_or_with_its_coordinator() {
        let dir = tempfile::tempdir().unwrap();
        let part = Part(dir.path().join("0.part"));
        File::create(&part.0).unwrap();
        drop(part);
        assert!(!dir.path().join("0.part").exists());
        for left in ["1.part", "ann-ab.tar"] {
            File::create(dir.path().join(left)).unwrap();
        }
        Blobs::new(dir.path().to_owned());
        assert!(!dir.path().join("1.part").exists() && dir.path().join("ann-ab.tar").exists());
    }
}
