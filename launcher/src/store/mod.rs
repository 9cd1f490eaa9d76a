//! Where decided records are kept.

mod memory;

use phalanx_launcher_core::Record;

pub(crate) use memory::MemoryStore;

/// A record could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {}

/// Keeps records in order. What `append` has returned for is durable as far as the store is.
pub(crate) trait Store {
    fn append(&mut self, record: &Record) -> Result<(), Error>;
    /// Every record, oldest first.
    fn load(&self) -> Result<Vec<Record>, Error>;
}
