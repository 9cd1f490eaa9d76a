//! Where decided records are kept.

mod file;
#[cfg(feature = "local")]
mod memory;

use std::future::Future;
use std::path::PathBuf;

use phalanx_common::wire::codec;
use phalanx_launcher_core::Record;

pub(crate) use file::FileStore;
#[cfg(feature = "local")]
pub(crate) use memory::MemoryStore;

/// The store does not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} is in use: a coordinator runs on it already", path.display())]
    InUse { path: PathBuf },
    #[error("the store {} does not work: {error}", path.display())]
    File { path: PathBuf, error: Box<redb::Error> },
    #[error("a record in {} is broken: an older version of Phalanx cannot read what a newer one wrote", path.display())]
    Broken { path: PathBuf },
    #[error("a record cannot be stored or read")]
    Record(#[source] codec::Error),
    #[error("the coordinator ends")]
    Ending,
}

/// Keeps records in order. What `append` has returned for is durable as far as the store is. Records of a job
/// that is forgotten may go with the record that says so: their replay leads to the same.
pub(crate) trait Store: Send + 'static {
    fn append(&mut self, records: Vec<Record>) -> impl Future<Output = Result<(), Error>> + Send;
    /// Every record, oldest first.
    fn load(&mut self) -> Result<Vec<Record>, Error>;
}
