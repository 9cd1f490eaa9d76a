//! The store of a cluster's coordinator: one redb file. What a transaction committed is on disk (fsync),
//! and a torn write is found by its checksum and rolled back; a second coordinator finds it locked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use phalanx_common::wire::codec;
use phalanx_launcher_core::Record;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Error, Store};

/// Decided records by number, oldest first.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// Everything else by name: the CA, keys, tokens, users.
const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");

/// The open file.
#[derive(Clone)]
pub(crate) struct FileStore {
    database: Arc<Database>,
    path: PathBuf,
    next: u64,
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl FileStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It is in use, cannot be written, or is no store.
    pub(crate) fn open(path: &Path) -> Result<FileStore, Error> {
        let failed = |source: redb::Error| match source {
            redb::Error::DatabaseAlreadyOpen => Error::InUse { path: path.to_owned() },
            source => Error::File { path: path.to_owned(), source: Box::new(source) },
        };
        let database = Database::create(path).map_err(|error| failed(error.into()))?;
        let begun = || -> Result<u64, redb::Error> {
            let write = database.begin_write()?;
            let next = {
                write.open_table(DOCUMENTS)?;
                let records = write.open_table(RECORDS)?;
                records.last()?.map_or(0, |(last, _)| last.value() + 1)
            };
            write.commit()?;
            Ok(next)
        };
        let next = begun().map_err(failed)?;
        Ok(FileStore { database: Arc::new(database), path: path.to_owned(), next })
    }

    /// A document; `None` if it was never put.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let read = self.database.begin_read()?;
            Ok(read.open_table(DOCUMENTS)?.get(name)?.map(|value| value.value().to_vec()))
        };
        read().map_err(|source| self.failed(source))
    }

    /// Keeps a document; it is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn put(&self, name: &str, document: &[u8]) -> Result<(), Error> {
        let written = || -> Result<(), redb::Error> {
            let mut write = self.database.begin_write()?;
            write.set_quick_repair(true);
            write.open_table(DOCUMENTS)?.insert(name, document)?;
            write.commit()?;
            Ok(())
        };
        written().map_err(|source| self.failed(source))
    }

    /// What it holds makes no sense to this version.
    pub(crate) fn broken(&self) -> Error {
        Error::Broken { path: self.path.clone() }
    }

    fn failed(&self, source: redb::Error) -> Error {
        Error::File { path: self.path.clone(), source: Box::new(source) }
    }

    fn write(&self, first: u64, records: &[Vec<u8>]) -> Result<(), Error> {
        let written = || -> Result<(), redb::Error> {
            let mut write = self.database.begin_write()?;
            // A coordinator that was killed is back at once: nothing has to be walked through first.
            write.set_quick_repair(true);
            {
                let mut table = write.open_table(RECORDS)?;
                for (number, record) in (first..).zip(records) {
                    table.insert(number, record.as_slice())?;
                }
            }
            write.commit()?;
            Ok(())
        };
        written().map_err(|source| self.failed(source))
    }
}

impl Store for FileStore {
    async fn append(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let mut encoded = Vec::with_capacity(records.len());
        for record in &records {
            let mut bytes = Vec::new();
            codec::encode(record, &mut bytes).map_err(Error::Record)?;
            encoded.push(bytes);
        }
        let (store, first) = (self.clone(), self.next);
        self.next += encoded.len() as u64;
        // The disk may take its time, and this thread has connections to serve.
        match tokio::task::spawn_blocking(move || store.write(first, &encoded)).await {
            Ok(written) => written,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Ending),
        }
    }

    fn load(&self) -> Result<Vec<Record>, Error> {
        let read = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let read = self.database.begin_read()?;
            let table = read.open_table(RECORDS)?;
            let records = table.iter()?.map(|entry| Ok(entry?.1.value().to_vec()));
            records.collect()
        };
        let stored = read().map_err(|source| self.failed(source))?;
        let decode = |mut bytes: Vec<u8>| match codec::take(&mut bytes) {
            Ok(Some(record)) if bytes.is_empty() => Ok(record),
            Ok(_) => Err(self.broken()),
            Err(error) => Err(Error::Record(error)),
        };
        stored.into_iter().map(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use phalanx_common::id::Epoch;

    use super::*;

    #[tokio::test]
    async fn what_was_appended_and_put_is_there_after_the_file_was_closed() {
        let dir = std::env::temp_dir().join(format!("phalanx-store-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("cluster.redb");
        let record = |epoch| Record::EpochStarted { epoch: Epoch(epoch) };
        let mut store = FileStore::open(&path).unwrap();
        store.append(vec![record(1), record(2)]).await.unwrap();
        store.append(vec![record(3)]).await.unwrap();
        store.put("ca", b"x").unwrap();
        assert!(matches!(FileStore::open(&path), Err(Error::InUse { .. })), "one coordinator at a time");
        drop(store);
        let mut store = FileStore::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), [record(1), record(2), record(3)]);
        store.append(vec![record(4)]).await.unwrap();
        assert_eq!(store.load().unwrap().len(), 4);
        assert_eq!(store.get("ca").unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(store.get("none").unwrap(), None);
        drop(store);
        std::fs::write(&path, b"not a store").unwrap();
        assert!(matches!(FileStore::open(&path), Err(Error::File { .. })));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
