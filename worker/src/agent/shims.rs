//! The worker's end of each shim's socket.

use std::collections::BTreeMap;
use std::io;
use std::process::Child;
use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::id::JobId;
use phalanx_common::wire::codec;
use phalanx_worker_core::shim::{ShimHello, ShimOrder, ShimReport, VERSION};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::shim::pod_cgroup::PodCgroup;
use crate::shim::spawn::ShimProcess;

/// Orders that may wait for one shim; a shim that takes none of these many is dead or stuck, and is
/// treated as lost.
const ORDERS_QUEUED: usize = 64;

/// How long the end of a shim that was killed is waited for.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// A shim ends its pod within seconds of a stop's grace, and of a lapsed lease's; one that does not is stopped
/// itself, or stuck: any rank may send signals to a shim that is its user's own.
const OVERDUE: Duration = Duration::from_secs(30);

/// A shim whose socket is at its end has nothing left to do.
const EXITS_WITHIN: Duration = Duration::from_secs(15);

/// A shim that was told to exit has a pod's directory to remove first.
const TIDIES_WITHIN: Duration = Duration::from_secs(300);

/// Between two looks whether a shim has exited.
const ROUND: Duration = Duration::from_millis(2);

/// What a shim said, or that its socket closed.
#[derive(Debug)]
pub(super) enum FromShim {
    /// Its Hello.
    Up,
    Report(ShimReport),
    /// It died, or talk with it broke.
    Lost {
        why: String,
    },
}

/// Why talk with a shim ended; its pod is treated as lost, whatever it was.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("a frame is broken")]
    Frame(#[from] codec::Error),
    #[error("the shim speaks version {0} of the protocol")]
    Version(u16),
    #[error("the socket was closed")]
    Closed,
    #[error("it took no orders, or did not carry them out")]
    Stuck,
    #[error("it closed its socket and did not exit")]
    Lingers,
}

/// All live shims of this worker.
#[derive(Debug)]
pub(super) struct Shims {
    live: BTreeMap<JobId, Live>,
    tasks: JoinSet<()>,
    said: mpsc::Sender<(JobId, FromShim)>,
    /// Shims whose process has not been reaped.
    alive: watch::Sender<usize>,
}

/// This worker's hold on a shim.
#[derive(Debug)]
struct Live {
    orders: mpsc::Sender<ShimOrder>,
    give_up: oneshot::Sender<()>,
    due: Due,
}

/// By when the generation of a shim has to have ended.
#[derive(Debug, Default)]
struct Due {
    /// After an order to stop it.
    stopped: Option<Instant>,
    /// Without another order that renews its lease.
    lapsed: Option<Instant>,
}

impl Due {
    fn note(&mut self, order: &ShimOrder) {
        match order {
            ShimOrder::Stop { grace, .. } => {
                let due = Instant::now() + *grace + OVERDUE;
                self.stopped = Some(self.stopped.map_or(due, |before| before.min(due)));
            }
            ShimOrder::Lease { remaining } => {
                self.lapsed = Some(Instant::now() + *remaining + defaults::LOCAL_ORPHAN_GRACE + OVERDUE);
            }
            _ => {}
        }
    }

    fn at(&self) -> Option<Instant> {
        self.stopped.into_iter().chain(self.lapsed).min()
    }
}

impl Shims {
    /// What shims say goes to `said`.
    pub(super) fn new(said: mpsc::Sender<(JobId, FromShim)>) -> Shims {
        let (alive, _) = watch::channel(0);
        Shims { live: BTreeMap::new(), tasks: JoinSet::new(), said, alive }
    }

    /// How many shims are alive, as it changes.
    pub(super) fn alive(&self) -> watch::Receiver<usize> {
        self.alive.subscribe()
    }

    /// Takes over the socket of a shim that was just spawned.
    pub(super) fn adopt(&mut self, job: JobId, shim: ShimProcess) -> io::Result<()> {
        shim.socket.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(shim.socket)?.into_split();
        let (orders, queue) = mpsc::channel(ORDERS_QUEUED);
        self.tasks.spawn(write_orders(write, queue));
        self.alive.send_modify(|alive| *alive += 1);
        let alive = self.alive.clone();
        let (give_up, given_up) = oneshot::channel();
        let said = self.said.clone();
        self.tasks.spawn(read_reports(job.clone(), (read, given_up), (shim.child, shim.cgroup, alive), said));
        self.live.insert(job, Live { orders, give_up, due: Due::default() });
        Ok(())
    }

    /// Queues an order. False if the shim takes no more: it counts as lost.
    #[must_use]
    pub(super) fn send(&mut self, job: &JobId, order: ShimOrder) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.live.get_mut(job).is_some_and(|shim| {
            shim.due.note(&order);
            shim.orders.try_send(order).is_ok()
        })
    }

    /// Nothing is left of the generation that this shim had.
    pub(super) fn ended(&mut self, job: &JobId) {
        if let Some(shim) = self.live.get_mut(job) {
            shim.due = Due::default();
        }
    }

    /// The next shim whose generation has not ended in time; waits for ever if none can be late.
    pub(super) async fn overdue(&self) -> JobId {
        match self.live.iter().filter_map(|(job, shim)| Some((shim.due.at()?, job))).min() {
            Some((due, job)) => {
                sleep_until(due).await;
                job.clone()
            }
            None => std::future::pending().await,
        }
    }

    /// Lets go of a shim; orders still queued are written first, then its socket closes. It gets time to tidy
    /// up, and no more.
    pub(super) fn close(&mut self, job: &JobId) {
        self.live.remove(job);
    }

    /// Ends a shim that takes no orders or is overdue: left alone, it would let its pod run on.
    pub(super) fn give_up(&mut self, job: &JobId) {
        if let Some(shim) = self.live.remove(job) {
            // Not there: its end is on its way already.
            let _ = shim.give_up.send(());
        }
    }
}

async fn write_orders(mut socket: OwnedWriteHalf, mut orders: mpsc::Receiver<ShimOrder>) {
    let written: Result<(), Error> = async {
        let mut bytes = Vec::new();
        codec::encode(&ShimHello { version: VERSION }, &mut bytes)?;
        socket.write_all(&bytes).await?;
        while let Some(order) = orders.recv().await {
            bytes.clear();
            codec::encode(&order, &mut bytes)?;
            socket.write_all(&bytes).await?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = written {
        // The reading half sees the same end and reports it.
        tracing::debug!(error = &error as &dyn std::error::Error, "writing to a shim ended");
    }
}

/// Forwards what a shim says; at the end waits for the process, so that no zombie stays.
async fn read_reports(
    job: JobId,
    (mut socket, given_up): (OwnedReadHalf, oneshot::Receiver<()>),
    (mut child, cgroup, alive): (Child, Option<PodCgroup>, watch::Sender<usize>),
    said: mpsc::Sender<(JobId, FromShim)>,
) {
    let mut ended = tokio::select! {
        ended = forward(&job, &mut socket, &said) => ended,
        () = no_longer_awaited(given_up) => Err(Error::Stuck),
    };
    drop(socket);
    if ended.is_ok() && !exits(&mut child).await {
        ended = Err(Error::Lingers);
    }
    if ended.is_err() {
        // Its guardian ends the pod.
        let _ = child.kill();
    }
    let waiting = tokio::task::spawn_blocking(move || {
        let status = child.wait();
        let survivors = cgroup.map(|cgroup| cgroup.end_after_shim()).unwrap_or_default();
        alive.send_modify(|alive| *alive -= 1);
        (status, survivors)
    });
    // A shim that was killed and hangs in the kernel is lost all the same.
    let waited = tokio::time::timeout(KILLED_WITHIN, waiting).await;
    if let Ok(Ok((_, survivors))) = &waited
        && !survivors.is_empty()
    {
        tracing::warn!(%job, ?survivors, "SIGKILL did not end everything of a pod");
    }
    let why = match (ended, waited) {
        (Err(error), _) => error.to_string(),
        (Ok(()), Ok(Ok((Ok(status), _)))) => status.to_string(),
        (Ok(()), _) => "it is gone".to_owned(),
    };
    let _ = said.send((job, FromShim::Lost { why })).await;
}

/// Comes to its end at once if the shim is given up, and once it had the time to exit if it was let go.
async fn no_longer_awaited(given_up: oneshot::Receiver<()>) {
    if given_up.await.is_err() {
        sleep(TIDIES_WITHIN).await;
    }
}

/// Whether a process exits in time.
async fn exits(child: &mut Child) -> bool {
    let until = Instant::now() + EXITS_WITHIN;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= until {
            return false;
        }
        sleep(ROUND).await;
    }
    true
}

async fn forward(
    job: &JobId,
    socket: &mut OwnedReadHalf,
    said: &mpsc::Sender<(JobId, FromShim)>,
) -> Result<(), Error> {
    let mut received = Vec::new();
    let hello: ShimHello = next(socket, &mut received).await?;
    if hello.version != VERSION {
        return Err(Error::Version(hello.version));
    }
    let mut news = FromShim::Up;
    while said.send((job.clone(), news)).await.is_ok() {
        news = match next(socket, &mut received).await {
            Ok(report) => FromShim::Report(report),
            Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

async fn next<T: DeserializeOwned>(socket: &mut OwnedReadHalf, received: &mut Vec<u8>) -> Result<T, Error> {
    loop {
        if let Some(message) = codec::take(received)? {
            return Ok(message);
        }
        if socket.read_buf(received).await? == 0 {
            return Err(Error::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use phalanx_common::id::Generation;

    use super::*;
    use crate::shim::spawn::{Orphans, SpawnOptions, spawn};

    /// A program that says hello as a shim does, and then does `what`.
    fn adopted(name: &str, what: &str) -> (Shims, mpsc::Receiver<(JobId, FromShim)>, PathBuf) {
        let dir = std::env::temp_dir().join(format!("phalanx-shims-{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (hello, exe) = (dir.join("hello"), dir.join("shim"));
        let mut bytes = Vec::new();
        codec::encode(&ShimHello { version: VERSION }, &mut bytes).unwrap();
        fs::write(&hello, &bytes).unwrap();
        // The worker's own hello is read: a socket that is closed over what nobody read fails.
        let script = format!("head -c {} >/dev/null\ncat {} >&0\n{what}\n", bytes.len(), hello.display());
        fs::write(&exe, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o700)).unwrap();
        let (say, said) = mpsc::channel(16);
        let mut shims = Shims::new(say);
        let shim = spawn(&SpawnOptions { exe, orphans: Orphans::CLUSTER }, None).unwrap();
        shims.adopt(job(), shim).unwrap();
        (shims, said, dir)
    }

    fn job() -> JobId {
        JobId::from_existing("digits-1")
    }

    /// Longer than anything here takes on a loaded machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Runs a test whose clock may stand still: its own bound is another clock's.
    fn run(test: impl Future<Output = ()> + Send + 'static) {
        let (done, ended) = std::sync::mpsc::channel();
        let testing = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
            let _ = done.send(());
        });
        match ended.recv_timeout(PATIENCE) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the test does not end"),
            _ => testing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }

    /// From here on the clock stands still, and every wait is over at once.
    async fn up(said: &mut mpsc::Receiver<(JobId, FromShim)>) {
        assert!(matches!(said.recv().await, Some((_, FromShim::Up))));
        tokio::time::pause();
    }

    async fn lost(said: &mut mpsc::Receiver<(JobId, FromShim)>) -> String {
        match said.recv().await {
            Some((_, FromShim::Lost { why })) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_shim_that_does_not_end_its_pod_in_time_is_killed() {
        run(async {
            let (mut shims, mut said, dir) = adopted("overdue", "kill -STOP $$");
            up(&mut said).await;
            let began = Instant::now();
            let stop = |grace| ShimOrder::Stop { generation: Generation(1), grace, pre_stop: false };
            let grace = Duration::from_secs(20);
            assert!(shims.send(&job(), stop(grace)));
            assert!(shims.send(&job(), stop(Duration::from_secs(90))), "a longer grace changes nothing");
            assert_eq!(shims.overdue().await, job());
            let waited = began.elapsed();
            assert!(waited >= grace + OVERDUE && waited < grace + 2 * OVERDUE, "{waited:?}");
            shims.give_up(&job());
            assert!(lost(&mut said).await.contains("did not carry them out"));
            fs::remove_dir_all(dir).unwrap();
        });
    }

    #[test]
    fn a_lease_that_is_not_renewed_ends_a_shim_that_does_not_watch_it_unless_nothing_is_left_to_end() {
        run(async {
            let (mut shims, mut said, dir) = adopted("lease", "kill -STOP $$");
            up(&mut said).await;
            let lease = Duration::from_secs(60);
            assert!(shims.send(&job(), ShimOrder::Lease { remaining: lease }));
            let late = lease + 2 * OVERDUE;
            assert_eq!(tokio::time::timeout(late, shims.overdue()).await, Ok(job()));
            shims.ended(&job());
            assert!(tokio::time::timeout(late, shims.overdue()).await.is_err());
            shims.give_up(&job());
            lost(&mut said).await;
            fs::remove_dir_all(dir).unwrap();
        });
    }

    #[test]
    fn a_shim_that_closes_its_socket_or_was_let_go_and_stays_is_killed() {
        run(async {
            let (_shims, mut said, dir) = adopted("lingers", "exec sleep 60 </dev/null");
            up(&mut said).await;
            assert!(lost(&mut said).await.contains("did not exit"));
            fs::remove_dir_all(dir).unwrap();
        });
        run(async {
            let (mut shims, mut said, dir) = adopted("let-go", "exec sleep 60");
            up(&mut said).await;
            shims.close(&job());
            lost(&mut said).await;
            fs::remove_dir_all(dir).unwrap();
        });
    }
}
