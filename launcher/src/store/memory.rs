//! A store that lives as long as its process: the local mode, where a launcher and its job end together.

use phalanx_launcher_core::Record;

use super::{Error, Store};

/// Records in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Vec<Record>);

impl Store for MemoryStore {
    async fn append(&mut self, records: Vec<Record>) -> Result<(), Error> {
        self.0.extend(records);
        Ok(())
    }

    fn load(&mut self) -> Result<Vec<Record>, Error> {
        Ok(self.0.clone())
    }
}
