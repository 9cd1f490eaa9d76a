//! Fetches the directory that travels with a job, once per node and digest, and removes what no job used for
//! long. It lies in its user's directory: what is there is what that user likes, and no link is followed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use nix::fcntl::OFlag;
use phalanx_common::defaults::{SHIP_CAP, SHIP_KEPT};
use phalanx_common::hex;
use phalanx_common::id::{Generation, JobId};
use phalanx_common::wire::v1::{FileFrame, FileRequest};
use phalanx_net::landing::Landing;

use crate::link::{self, FileLink};

/// Why the directory is not here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the job's directory cannot be kept on this node: {path}: {error}", path = path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the job's directory did not come: {0}")]
    Link(#[from] link::Error),
    #[error("the job's directory did not come: there is no link to the coordinator")]
    NoLink,
    #[error("the job's directory did not come: {why}")]
    Refused { why: String },
    #[error("what came as the job's directory is not what was announced")]
    Mismatch,
}

impl Error {
    /// Whether it may come over another link.
    pub(super) fn is_the_links(&self) -> bool {
        match self {
            Error::Link(error) => error.is_lost(),
            Error::NoLink => true,
            _ => false,
        }
    }
}

/// Where to put it, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) job: JobId,
    pub(super) generation: Generation,
    pub(super) digest: String,
    /// `<dir>/<digest>.tar`; the directory is the user's.
    pub(super) path: PathBuf,
    /// User id that has to be able to read it.
    pub(super) owner: Option<u32>,
}

/// A job uses this archive: it is kept from here on.
fn touch(path: &Path) {
    let options = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let Ok(file) = fs::OpenOptions::new().read(true).custom_flags(options.bits()).open(path) else { return };
    if file.metadata().is_ok_and(|meta| meta.is_file()) {
        // An archive that seems older than it is comes once more than it must.
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Removes the archives of all users below `dir` that were not used for long, but those `in_use`.
fn prune(dir: &Path, in_use: &BTreeSet<PathBuf>) {
    for user in entries(dir).filter(|user| user.file_type().is_ok_and(|kind| kind.is_dir())) {
        for archive in entries(&user.path()) {
            let path = archive.path();
            if is_archive(&path) && !in_use.contains(&path) && is_old(&archive) {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten()
}

/// `<digest>.tar`, or what is left of a fetch that was cut short: `<digest>.<job>.<generation>.part`.
fn is_archive(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
    name.is_some_and(|(digest, rest)| {
        hex::decode::<32>(digest).is_some() && (rest == "tar" || rest.ends_with(".part"))
    })
}

/// Of a link this tells of the link.
fn is_old(entry: &fs::DirEntry) -> bool {
    let age = |meta: fs::Metadata| meta.modified().ok().and_then(|at| at.elapsed().ok());
    entry.metadata().is_ok_and(|meta| meta.is_file() && age(meta).is_some_and(|age| age > SHIP_KEPT))
}

/// Held while one is looked for or old ones are removed: what a job finds does not go.
pub(super) type Shelf = Arc<Mutex<()>>;

/// Whether it is here; a job uses it then.
pub(super) fn is_here(shelf: &Mutex<()>, path: &Path) -> io::Result<bool> {
    let _held = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    let here = fs::exists(path)?;
    if here {
        touch(path);
    }
    Ok(here)
}

/// `prune`, when nobody looks for one.
pub(super) fn tidy(shelf: &Mutex<()>, dir: &Path, in_use: &BTreeSet<PathBuf>) {
    let _held = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    prune(dir, in_use);
}

/// Fetches it, unless it is here; `None` stands for a link that is not there.
pub(super) async fn fetch<L: FileLink>(
    wanted: &Wanted,
    shelf: Shelf,
    open: Option<impl Future<Output = Result<L, link::Error>>>,
) -> Result<(), Error> {
    let path = wanted.path.clone();
    if wanted.off_thread(move || is_here(&shelf, &path)).await? {
        return Ok(());
    }
    let mut link = open.ok_or(Error::NoLink)?.await?;
    link.ask(FileRequest { job: wanted.job.to_string() }).await?;
    let bytes = match link.next().await? {
        FileFrame::Found { bytes } if bytes <= SHIP_CAP => bytes,
        FileFrame::Refused { why } => return Err(Error::Refused { why }),
        _ => return Err(Error::Mismatch),
    };
    // A name of its own: what comes for an earlier generation may still be on its way.
    let beside = wanted.path.with_extension(format!("{}.{}.part", wanted.job, wanted.generation));
    let received = receive(wanted, &beside, bytes, &mut link).await;
    let path = wanted.path.clone();
    let kept = wanted.off_thread(move || match received {
        Ok(()) => fs::rename(&beside, &path).map(Ok),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Ok(Err(error))
        }
    });
    kept.await?
}

impl Wanted {
    /// A disk may take seconds for anything, and the heartbeats wait on this thread.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let worked = tokio::task::spawn_blocking(work).await;
        worked.map_err(io::Error::other).flatten().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::Io { path: self.path.clone(), error }
    }
}

async fn receive<L: FileLink>(wanted: &Wanted, beside: &Path, bytes: u64, link: &mut L) -> Result<(), Error> {
    let (path, owner) = (beside.to_owned(), wanted.owner);
    let landing = Landing::begin(move || open(&path, owner));
    let came = pieces(&landing, bytes, link).await;
    // Also of one that broke off: whoever removes the file comes after its last write.
    let digest = landing.finish().await;
    came?;
    let digest = hex::encode(&digest.map_err(|error| wanted.failed(error))?);
    if digest == wanted.digest { Ok(()) } else { Err(Error::Mismatch) }
}

fn open(path: &Path, owner: Option<u32>) -> io::Result<File> {
    let _ = fs::remove_file(path);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(owner) = owner {
        // By the open file: the directory is the user's, who may have put another in its place.
        fchown(&file, Some(owner), None)?;
    }
    Ok(file)
}

async fn pieces<L: FileLink>(landing: &Landing, bytes: u64, link: &mut L) -> Result<(), Error> {
    let mut left = bytes;
    while left > 0 {
        let FileFrame::Piece(piece) = link.next().await? else { return Err(Error::Mismatch) };
        let len = piece.0.len() as u64;
        if len == 0 || len > left {
            return Err(Error::Mismatch);
        }
        left -= len;
        if !landing.add(piece.0).await {
            // Why, its end says.
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    fn age(path: &Path, by: Duration) {
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
    }

    fn modified(path: &Path) -> Duration {
        fs::symlink_metadata(path).unwrap().modified().unwrap().elapsed().unwrap_or_default()
    }

    #[test]
    fn archives_that_no_job_used_for_long_are_removed_and_nothing_else() {
        let ship = std::env::temp_dir().join(format!("phalanx-archives-{}", std::process::id()));
        let ann = ship.join("ann");
        fs::create_dir_all(&ann).unwrap();
        let old = SHIP_KEPT + Duration::from_secs(60);
        let digest = |digit: &str| digit.repeat(64);
        let make = |name: String, by: Duration| {
            let path = ann.join(name);
            fs::write(&path, "x").unwrap();
            age(&path, by);
            path
        };
        let unused = make(format!("{}.tar", digest("a")), old);
        let cut_short = make(format!("{}.j-1.part", digest("a")), old);
        let young = make(format!("{}.tar", digest("b")), SHIP_KEPT - Duration::from_secs(60));
        let used_again = make(format!("{}.tar", digest("c")), old);
        let of_a_live_job = make(format!("{}.tar", digest("d")), old);
        let no_digest = make("notes.tar".to_owned(), old);
        let no_archive = make(format!("{}.txt", digest("e")), old);
        // Links: to an old file elsewhere, and from where users' directories are.
        let elsewhere = ship.with_extension("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        let theirs = elsewhere.join(format!("{}.tar", digest("f")));
        fs::write(&theirs, "x").unwrap();
        age(&theirs, old);
        let link = ann.join(format!("{}.tar", digest("f")));
        symlink(&theirs, &link).unwrap();
        symlink(&elsewhere, ship.join("bob")).unwrap();
        let in_the_way = ann.join(format!("{}.tar", digest("9")));
        fs::create_dir(&in_the_way).unwrap();

        touch(&used_again);
        touch(&link);
        touch(&in_the_way);
        touch(&ann.join("none"));
        assert!(modified(&used_again) < SHIP_KEPT);
        assert!(modified(&theirs) > SHIP_KEPT, "a link is not followed");
        prune(&ship, &BTreeSet::from([of_a_live_job.clone()]));
        prune(&ship.join("none"), &BTreeSet::new());
        for gone in [unused, cut_short] {
            assert!(!gone.exists(), "{}", gone.display());
        }
        for kept in [young, used_again, of_a_live_job, no_digest, no_archive, theirs, link, in_the_way] {
            assert!(kept.exists(), "{}", kept.display());
        }
        fs::remove_dir_all(&ship).unwrap();
        fs::remove_dir_all(&elsewhere).unwrap();
    }
}
