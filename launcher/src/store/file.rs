//! The store of a cluster's coordinator: one redb file. What a transaction committed is on disk (fsync),
//! and a torn write is found by its checksum and rolled back; a second coordinator finds it locked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phalanx_common::id::{JobId, NodeId};
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
    /// Where the records are that go together, as far as `load` and `append` saw them.
    numbers: BTreeMap<Subject, Vec<u64>>,
}

/// What records tell of. Those of a job go when it is forgotten, that of a reign when the next begins, that of a node when
/// there is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Reign,
    Job(JobId),
    Node(NodeId),
}

impl Subject {
    fn of(record: &Record) -> Subject {
        match record {
            Record::NodeStands(standing) => Subject::Node(standing.node.clone()),
            record => record.job().map_or(Subject::Reign, |job| Subject::Job(job.clone())),
        }
    }
}

/// One change of the records.
enum Change {
    Add(u64, Vec<u8>),
    Remove(u64),
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
        let failed = |error: redb::Error| match error {
            redb::Error::DatabaseAlreadyOpen => Error::InUse { path: path.to_owned() },
            error => Error::File { path: path.to_owned(), error: Box::new(error) },
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
        Ok(FileStore { database: Arc::new(database), path: path.to_owned(), next, numbers: BTreeMap::new() })
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
        read().map_err(|error| self.failed(error))
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
        written().map_err(|error| self.failed(error))
    }

    /// Removes a document; it is gone from the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let removed = || -> Result<(), redb::Error> {
            let mut write = self.database.begin_write()?;
            write.set_quick_repair(true);
            write.open_table(DOCUMENTS)?.remove(name)?;
            write.commit()?;
            Ok(())
        };
        removed().map_err(|error| self.failed(error))
    }

    /// What it holds makes no sense to this version.
    pub(crate) fn broken(&self) -> Error {
        Error::Broken { path: self.path.clone() }
    }

    fn failed(&self, error: redb::Error) -> Error {
        Error::File { path: self.path.clone(), error: Box::new(error) }
    }

    /// What this record does to the file.
    fn changes(&mut self, record: &Record, changes: &mut Vec<Change>) -> Result<(), Error> {
        let subject = Subject::of(record);
        let replaces = matches!(
            record,
            Record::JobForgotten { .. } | Record::EpochStarted { .. } | Record::NodeStands(_)
        );
        if replaces {
            let gone = self.numbers.remove(&subject).unwrap_or_default();
            changes.extend(gone.into_iter().map(Change::Remove));
        }
        let says_nothing = match record {
            Record::JobForgotten { .. } => true,
            Record::NodeStands(standing) => standing.clears(),
            _ => false,
        };
        if says_nothing {
            return Ok(());
        }
        let mut bytes = Vec::new();
        codec::encode(record, &mut bytes).map_err(Error::Record)?;
        changes.push(Change::Add(self.next, bytes));
        self.numbers.entry(subject).or_default().push(self.next);
        self.next += 1;
        Ok(())
    }
}

impl Store for FileStore {
    async fn append(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(records.len());
        for record in &records {
            self.changes(record, &mut changes)?;
        }
        let database = Arc::clone(&self.database);
        // The disk may take its time, and this thread has connections to serve.
        match tokio::task::spawn_blocking(move || write(&database, &changes)).await {
            Ok(written) => written.map_err(|error| self.failed(error)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Ending),
        }
    }

    fn load(&mut self) -> Result<Vec<Record>, Error> {
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let read = self.database.begin_read()?;
            let table = read.open_table(RECORDS)?;
            let records = table.iter()?.map(|entry| {
                let (number, record) = entry?;
                Ok((number.value(), record.value().to_vec()))
            });
            records.collect()
        };
        let stored = read().map_err(|error| self.failed(error))?;
        let mut records = Vec::with_capacity(stored.len());
        self.numbers.clear();
        for (number, mut bytes) in stored {
            let record = match codec::take(&mut bytes) {
                Ok(Some(record)) if bytes.is_empty() => record,
                Ok(_) => return Err(self.broken()),
                Err(error) => return Err(Error::Record(error)),
            };
            self.numbers.entry(Subject::of(&record)).or_default().push(number);
            records.push(record);
        }
        Ok(records)
    }
}

/// In one transaction, on disk when this returns.
fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    // A coordinator that was killed is back at once: nothing has to be walked through first.
    write.set_quick_repair(true);
    {
        let mut table = write.open_table(RECORDS)?;
        for change in changes {
            match change {
                Change::Add(number, record) => table.insert(number, record.as_slice())?,
                Change::Remove(number) => table.remove(number)?,
            };
        }
    }
    write.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use phalanx_common::exit::ExitStatus;
    use phalanx_common::id::{Epoch, Generation};
    use phalanx_common::time::Timestamp;
    use phalanx_launcher_core::records::{CordonRecord, OutcomeRecord, StandingRecord};

    use super::*;

    #[tokio::test]
    async fn what_was_appended_and_put_is_there_after_the_file_was_closed() {
        let dir = std::env::temp_dir().join(format!("phalanx-store-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("cluster.redb");
        let record = |number: u32| Record::Suspended { job: JobId::from_existing(format!("j-{number}")) };
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

    fn records_of(job: &JobId) -> Vec<Record> {
        let (job, at) = (|| job.clone(), Timestamp(7));
        let mut records = vec![
            Record::Released { job: job(), generation: Generation(1), at },
            Record::Running { job: job(), generation: Generation(1), at },
        ];
        // As large as a submission with a long command.
        let by = "x".repeat(1000);
        records.push(Record::StopRequested { job: job(), at, by, status: ExitStatus::SUCCESS, force: true });
        records.push(Record::JobEnded { job: job(), at, outcome: OutcomeRecord::Succeeded });
        records
    }

    #[tokio::test]
    async fn records_of_forgotten_jobs_and_past_reigns_are_removed_and_their_room_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.redb");
        let job = |number: usize| JobId::from_existing(format!("j-{number}"));
        let mut store = FileStore::open(&path).unwrap();
        let mut sizes = Vec::new();
        for first in (0..JOBS).step_by(AT_ONCE) {
            let mut records = Vec::new();
            for number in first..first + AT_ONCE {
                records.extend(records_of(&job(number)));
                if number >= KEPT {
                    records.push(Record::JobForgotten { job: job(number - KEPT) });
                }
            }
            store.append(records).await.unwrap();
            if first % (JOBS / 10) == 0 {
                // What is forgotten was stored in an earlier life of the coordinator, too.
                drop(store);
                store = FileStore::open(&path).unwrap();
                let epoch = Epoch(store.load().unwrap().len() as u64);
                store.append(vec![Record::EpochStarted { epoch }]).await.unwrap();
                sizes.push(std::fs::metadata(&path).unwrap().len());
            }
        }
        let left = store.load().unwrap();
        drop(store);
        assert_eq!(FileStore::open(&path).unwrap().load().unwrap(), left);
        assert_eq!(left.iter().filter(|record| matches!(record, Record::EpochStarted { .. })).count(), 1);
        let of_jobs: Vec<Record> = left.into_iter().filter(|record| record.job().is_some()).collect();
        let wanted: Vec<Record> = (JOBS - KEPT..JOBS).flat_map(|number| records_of(&job(number))).collect();
        assert_eq!(of_jobs, wanted, "in their order");
        let (early, last) = (sizes[1], sizes[sizes.len() - 1]);
        assert!(last <= early * 2, "the file grows: {sizes:?}");
    }

    #[tokio::test]
    async fn of_what_stands_against_a_node_the_last_record_is_kept_and_of_nothing_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.redb");
        let stands = |node: &str, reason: Option<&str>| {
            let at = Timestamp(7);
            let cordon = reason.map(|reason| CordonRecord { by: "ann".into(), reason: reason.into(), at });
            let node = NodeId::new(node);
            let (drain, quarantine, blames) = (None, None, Vec::new());
            Record::NodeStands(Box::new(StandingRecord { node, cordon, drain, quarantine, blames }))
        };
        let mut store = FileStore::open(&path).unwrap();
        store
            .append(vec![stands("a", Some("1")), stands("b", Some("1")), stands("a", Some("2"))])
            .await
            .unwrap();
        drop(store);
        let mut store = FileStore::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), [stands("b", Some("1")), stands("a", Some("2"))]);
        store.append(vec![stands("b", None)]).await.unwrap();
        assert_eq!(store.load().unwrap(), [stands("a", Some("2"))]);
    }

    /// Jobs that come and go, how many are kept, and how many end in one transaction.
    const JOBS: usize = 2000;
    const KEPT: usize = 20;
    const AT_ONCE: usize = 5;

    #[tokio::test]
    async fn a_job_that_is_forgotten_in_the_transaction_of_its_records_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FileStore::open(&dir.path().join("cluster.redb")).unwrap();
        let (gone, kept) = (JobId::from_existing("gone"), JobId::from_existing("kept"));
        let mut records = records_of(&gone);
        records.extend(records_of(&kept));
        records.push(Record::JobForgotten { job: gone });
        records.push(Record::JobForgotten { job: JobId::from_existing("never") });
        store.append(records).await.unwrap();
        assert_eq!(store.load().unwrap(), records_of(&kept));
    }
}
