//! A file that comes in pieces, written on a thread of its own: a disk that takes seconds for a write keeps no
//! heartbeat of its connection from its time.

use std::fs::File;
use std::io::{self, Write};

use ring::digest::{Context, SHA256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that may wait for the disk; whoever sends more waits with them.
const PIECES_QUEUED: usize = 8;

/// A file that is coming.
#[derive(Debug)]
pub struct Landing {
    pieces: mpsc::Sender<Vec<u8>>,
    writing: JoinHandle<io::Result<[u8; 32]>>,
}

impl Landing {
    /// Opens the file, on the thread that then writes it.
    pub fn begin(open: impl FnOnce() -> io::Result<File> + Send + 'static) -> Landing {
        let (pieces, queue) = mpsc::channel(PIECES_QUEUED);
        let writing = tokio::task::spawn_blocking(move || write(open()?, queue));
        Landing { pieces, writing }
    }

    /// Adds a piece; returns once there is room for it. False if the file is not written any more: `finish`
    /// says why.
    #[must_use]
    pub async fn add(&self, piece: Vec<u8>) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// SHA-256 of all pieces, which are on the disk.
    ///
    /// # Errors
    /// The file could not be opened or written.
    pub async fn finish(self) -> io::Result<[u8; 32]> {
        drop(self.pieces);
        self.writing.await.map_err(io::Error::other)?
    }
}

fn write(mut file: File, mut queue: mpsc::Receiver<Vec<u8>>) -> io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    while let Some(piece) = queue.blocking_recv() {
        context.update(&piece);
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_takes_nothing_keeps_nobody_else_from_this_thread() {
        // A pipe that nobody reads yet stands for the disk.
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let disk = File::from(write.as_fd().try_clone_to_owned().expect("a descriptor"));
        drop(write);
        let landing = Landing::begin(move || Ok(disk));
        let piece = || vec![7; 64 << 10];
        let mut taken = 0;
        // Others have their turn while it waits.
        while let Ok(true) = tokio::time::timeout(Duration::from_millis(100), landing.add(piece())).await {
            taken += 1;
        }
        assert!((PIECES_QUEUED..=PIECES_QUEUED + 3).contains(&taken), "{taken}");
        let reading = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            File::from(read).read_to_end(&mut all).map(|_| all)
        });
        // A pipe cannot be synced.
        landing.finish().await.expect_err("EINVAL");
        assert_eq!(reading.await.expect("no panic").expect("the pipe reads").len(), taken * piece().len());
    }

    #[tokio::test]
    async fn what_cannot_be_opened_takes_no_piece_and_says_why() {
        let landing = Landing::begin(|| Err(io::Error::from(io::ErrorKind::StorageFull)));
        while landing.add(vec![1]).await {}
        assert_eq!(landing.finish().await.expect_err("it fails").kind(), io::ErrorKind::StorageFull);
    }
}
