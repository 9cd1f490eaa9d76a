//! The worker's end of each shim's socket.

use std::collections::BTreeMap;
use std::io;
use std::process::Child;
use std::time::Duration;

use phalanx_common::id::JobId;
use phalanx_common::wire::codec;
use phalanx_worker_core::shim::{ShimHello, ShimOrder, ShimReport, VERSION};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::shim::pod_cgroup::PodCgroup;
use crate::shim::spawn::ShimProcess;

/// Orders that may wait for one shim; a shim that takes none of these many is dead or stuck, and is
/// treated as lost.
const ORDERS_QUEUED: usize = 64;

/// How long the end of a shim that was killed is waited for.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

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
    #[error("it took no orders")]
    Stuck,
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
        self.live.insert(job, Live { orders, give_up });
        Ok(())
    }

    /// Queues an order. False if the shim takes no more: it counts as lost.
    #[must_use]
    pub(super) fn send(&mut self, job: &JobId, order: ShimOrder) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.live.get(job).is_some_and(|shim| shim.orders.try_send(order).is_ok())
    }

    /// Lets go of a shim; orders still queued are written first, then its socket closes.
    pub(super) fn close(&mut self, job: &JobId) {
        self.live.remove(job);
    }

    /// Ends a shim that takes no orders: left alone, it would let its pod run on.
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
    let ended = tokio::select! {
        ended = forward(&job, &mut socket, &said) => ended,
        Ok(()) = given_up => Err(Error::Stuck),
    };
    drop(socket);
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
    let patience = if ended.is_err() { KILLED_WITHIN } else { Duration::MAX };
    let waited = tokio::time::timeout(patience, waiting).await;
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
