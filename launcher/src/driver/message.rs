//! What reaches the driver, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::event::Event;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::identity::Owner;
use phalanx_common::report::Report;
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::ToWorker;
use phalanx_launcher_core::stock::Topology;
use phalanx_launcher_core::{Coordinator, Wish};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::{Secrets, Waiting};

/// What reaches the driver.
#[derive(Debug)]
pub(crate) enum Message {
    /// A worker said Hello on a new connection; orders for it go here from now on.
    Connected {
        node: NodeId,
        peer: Peer,
    },
    Report {
        node: NodeId,
        connection: usize,
        report: Report,
    },
    Disconnected {
        node: NodeId,
        connection: usize,
        /// The worker said that it goes.
        left: bool,
    },
    /// Start this job and send its output: local mode.
    #[cfg(feature = "local")]
    Submit {
        job: JobId,
        spec: Box<JobSpec>,
        owner: Owner,
        secrets: Secrets,
    },
    /// Start a job under an id of the driver's choice, which is answered.
    Launch(Box<Launch>),
    /// Tell this job's events, those told so far first.
    Watch {
        job: JobId,
        watcher: mpsc::Sender<Event>,
    },
    ClientLost {
        job: JobId,
    },
    ClientWaits {
        job: JobId,
    },
    /// To a worker, past the coordinator: what only passes through here.
    Relay {
        node: NodeId,
        message: ToWorker,
        relayed: oneshot::Sender<Relayed>,
    },
    View(View),
    /// What was found out about the cluster, in place of what was known before.
    Topology(Arc<Topology>),
    /// An operator wants something of a node.
    Node {
        node: NodeId,
        by: String,
        wish: Wish,
    },
    ResumeReplacement {
        by: String,
    },
    Stop {
        job: JobId,
        by: String,
        status: ExitStatus,
        force: bool,
    },
    Suspend {
        job: JobId,
    },
    Resume {
        job: JobId,
    },
}

/// A worker's live connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) connection: usize,
    pub(crate) orders: mpsc::Sender<ToWorker>,
    /// Ends the connection.
    pub(crate) close: mpsc::Sender<Closing>,
    /// When the node's certificate expires; `None` in local mode.
    pub(crate) expires: Option<Timestamp>,
}

/// Why the driver ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The same node connected again.
    Replaced,
    /// The worker does not read its orders.
    Deaf,
}

impl Closing {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Closing::Replaced => "the same node connected again",
            Closing::Deaf => "the worker takes no orders",
        }
    }
}

/// What became of a message to a worker.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// It waits for the worker's connection, and is lost with it: then this channel is closed.
    Sent(mpsc::Sender<ToWorker>),
    /// Too many wait.
    Busy,
    /// The worker is not connected.
    NoLink,
}

/// Queues for a worker what is not of the coordinator's, as far as that leaves the orders half of the queue: a
/// worker that has no room for an order counts as deaf.
pub(crate) fn pass_on(
    orders: &mpsc::Sender<ToWorker>,
    message: ToWorker,
) -> Result<(), TrySendError<ToWorker>> {
    if orders.capacity() <= orders.max_capacity() / 2 && !orders.is_closed() {
        return Err(TrySendError::Full(message));
    }
    orders.try_send(message)
}

/// A job to start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) spec: JobSpec,
    pub(crate) owner: Owner,
    /// A client waits for it; its loss is told here.
    pub(crate) waits: Option<mpsc::Sender<Message>>,
    pub(crate) secrets: Secrets,
    pub(crate) watcher: mpsc::Sender<Event>,
    pub(crate) reply: oneshot::Sender<Launched>,
}

/// A job that was stored; dropped with a client that waits, it tells of that client's loss.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) job: JobId,
    pub(crate) waiting: Option<Waiting>,
}

/// The workers that are connected.
pub(crate) type Peers = BTreeMap<NodeId, Peer>;

type Look = dyn FnOnce(&Coordinator, &Peers) + Send;

/// Looks at the coordinator and at who is connected; changes nothing.
pub(crate) struct View(pub(super) Box<Look>);

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View(..)")
    }
}

/// Asks the driver for what `look` finds; `None` once it is gone.
pub(crate) async fn look<T: Send + 'static>(
    driver: &mpsc::Sender<Message>,
    look: impl FnOnce(&Coordinator, &Peers) -> T + Send + 'static,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    let view = View(Box::new(move |coordinator, peers| {
        // Whoever asked may be gone.
        let _ = answer.send(look(coordinator, peers));
    }));
    driver.send(Message::View(view)).await.ok()?;
    answered.await.ok()
}
