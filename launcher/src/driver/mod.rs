//! Runs the coordinator: one task that owns it, feeds it messages and time, and carries out what it
//! decides, in order. Nothing is decided here.

mod clock;

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use phalanx_common::event::Event;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::identity::Owner;
use phalanx_common::order::Order;
use phalanx_common::report::Report;
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::{LogRequest, ToWorker};
use phalanx_launcher_core::{Command, Coordinator, Input};
use tokio::sync::mpsc;

use crate::store::{self, Store};
pub(crate) use clock::{Clock, wall};

/// Messages that may wait for the driver; a sender beyond that waits, which slows workers, not users.
pub(crate) const INBOX: usize = 1024;

/// What reaches the driver.
#[derive(Debug)]
pub(crate) enum Message {
    /// A worker said Hello on a new connection; orders for it go here from now on.
    Connected {
        node: NodeId,
        connection: usize,
        orders: mpsc::Sender<ToWorker>,
    },
    Report {
        node: NodeId,
        report: Report,
    },
    Disconnected {
        node: NodeId,
        connection: usize,
    },
    /// Start this job and send its output.
    Submit {
        job: JobId,
        spec: Box<JobSpec>,
        owner: Owner,
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
struct Peer {
    connection: usize,
    orders: mpsc::Sender<ToWorker>,
}

/// Owner of the coordinator.
#[derive(Debug)]
pub(crate) struct Driver<S> {
    coordinator: Coordinator,
    store: S,
    clock: Clock,
    inbox: mpsc::Receiver<Message>,
    events: mpsc::UnboundedSender<Event>,
    peers: BTreeMap<NodeId, Peer>,
    /// Jobs whose output is wanted.
    followed: Vec<(u64, LogRequest)>,
}

impl<S: Store> Driver<S> {
    pub(crate) fn new(
        coordinator: Coordinator,
        store: S,
        inbox: mpsc::Receiver<Message>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Driver<S> {
        let (clock, peers, followed) = (Clock::new(), BTreeMap::new(), Vec::new());
        Driver { coordinator, store, clock, inbox, events, peers, followed }
    }

    /// Runs until every sender of messages is gone, or the store fails.
    pub(crate) async fn run(mut self) -> Result<(), store::Error> {
        loop {
            self.carry_out()?;
            let deadline = self.coordinator.poll_timeout().map(|(at, _)| at);
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.on_message(message),
                    None => return Ok(()),
                },
                () = sleep_until(deadline, &self.clock) => self.on_timeout(deadline),
            }
        }
    }

    fn on_message(&mut self, message: Message) {
        let now = self.now();
        let input = match message {
            Message::Connected { node, connection, orders } => {
                for (id, request) in &self.followed {
                    let _ = orders.try_send(ToWorker::Logs { id: *id, request: request.clone() });
                }
                self.peers.insert(node, Peer { connection, orders });
                return;
            }
            Message::Disconnected { node, connection } => {
                // A newer connection of the same node outlives the end of an older one.
                if self.peers.get(&node).is_none_or(|peer| peer.connection != connection) {
                    return;
                }
                self.peers.remove(&node);
                Input::NodeDisconnected { node }
            }
            Message::Report { node, report } => Input::Report { node, report },
            Message::Submit { job, spec, owner } => {
                self.follow(&job, &spec);
                Input::Submit { job, spec, owner, attached: false }
            }
            Message::Stop { job, by, status, force } => Input::Stop { job, by, status, force },
            Message::Suspend { job } => Input::Suspend { job },
            Message::Resume { job } => Input::Resume { job },
        };
        self.coordinator.handle(now, input);
    }

    fn follow(&mut self, job: &JobId, spec: &JobSpec) {
        let request = LogRequest {
            job: job.as_str().to_owned(),
            user: None,
            log_dir: spec.output.log_dir.clone(),
            max_file_bytes: spec.output.max_file_bytes,
            generation: None,
            rank: None,
            follow: true,
        };
        let id = self.followed.len() as u64;
        for peer in self.peers.values() {
            let _ = peer.orders.try_send(ToWorker::Logs { id, request: request.clone() });
        }
        self.followed.push((id, request));
    }

    fn on_timeout(&mut self, deadline: Option<Timestamp>) {
        let (now, jump) = self.clock.now();
        if let Some(by) = jump {
            self.clock_jumped(now, by);
            return self.coordinator.handle_timeout(now);
        }
        // Waking long after the deadline means that this process did not run (stopped, suspended):
        // the deadline says nothing about the ranks then.
        let late = deadline.map_or(Duration::ZERO, |deadline| now.since(deadline));
        if late > phalanx_common::defaults::CLOCK_JUMP {
            self.clock_jumped(now, i64::try_from(late.as_micros()).unwrap_or(i64::MAX));
        }
        self.coordinator.handle_timeout(now);
    }

    /// The time for an input; a jump of the wall clock is told first.
    fn now(&mut self) -> Timestamp {
        let (now, jump) = self.clock.now();
        if let Some(by) = jump {
            self.clock_jumped(now, by);
        }
        now
    }

    fn clock_jumped(&mut self, now: Timestamp, by_micros: i64) {
        self.coordinator.handle(now, Input::ClockJumped { by_micros });
    }

    fn carry_out(&mut self) -> Result<(), store::Error> {
        while let Some(command) = self.coordinator.poll_command() {
            match command {
                Command::Persist(record) => self.store.append(&record)?,
                Command::Send { node, order } => self.send(&node, &order),
            }
        }
        while let Some(event) = self.coordinator.poll_event() {
            tracing::debug!(?event, "event");
            // Nobody listens any more while the program ends.
            let _ = self.events.send(event);
        }
        Ok(())
    }

    /// Orders to a node without a connection are not kept: the node's next Hello brings the
    /// coordinator to say again what is due.
    fn send(&mut self, node: &NodeId, order: &Order) {
        let Some(peer) = self.peers.get(node) else { return };
        if let Err(error) = peer.orders.try_send(order.into()) {
            tracing::warn!(%node, %error, "the worker takes no orders: its connection is dropped");
            self.peers.remove(node);
        }
    }
}

async fn sleep_until(deadline: Option<Timestamp>, clock: &Clock) {
    match deadline {
        Some(deadline) => tokio::time::sleep(clock.until(deadline)).await,
        None => pending().await,
    }
}
