//! Runs the coordinator: one task that owns it, feeds it messages and time, and carries out what it
//! decides, in order. Nothing is decided here.

mod clock;
mod confidence;
mod message;
#[cfg(test)]
#[cfg(feature = "local")]
mod tests;
mod waiting;
mod watchers;

use std::future::pending;
use std::time::Duration;

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::order::{Order, OrderKind};
#[cfg(feature = "local")]
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::{LogRequest, ToWorker};
use phalanx_launcher_core::{Command, Coordinator, Input, JobState};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::store::{self, Store};
pub(crate) use clock::{Clock, wall};
pub(crate) use confidence::{Confidence, Secrets};
pub(crate) use message::{Closing, Launch, Launched, Message, Peer, Peers, Relayed, look, pass_on};
pub(crate) use waiting::Waiting;
use watchers::Watchers;

/// Messages that may wait for the driver; a sender beyond that waits, which slows workers, not users.
pub(crate) const INBOX: usize = 1024;
/// Messages handled before what they led to is carried out: what thousands of workers report at once is
/// stored and waited for together.
const BATCH: usize = 64;

/// Owner of the coordinator.
#[derive(Debug)]
pub(crate) struct Driver<S> {
    coordinator: Coordinator,
    store: S,
    clock: Clock,
    inbox: mpsc::Receiver<Message>,
    /// Every event, for the launcher of local mode.
    events: Option<mpsc::UnboundedSender<Event>>,
    watchers: Watchers,
    /// Jobs that are forgotten, for whoever keeps something of theirs.
    forgotten: Option<mpsc::UnboundedSender<JobId>>,
    confidence: Confidence,
    peers: Peers,
    /// Jobs whose output is wanted.
    followed: Vec<(u64, LogRequest)>,
    /// Who is told that a job was submitted, once that is stored.
    submitted: Vec<(oneshot::Sender<Launched>, Launched)>,
}

impl<S: Store> Driver<S> {
    pub(crate) fn new(
        coordinator: Coordinator,
        store: S,
        inbox: mpsc::Receiver<Message>,
        events: Option<mpsc::UnboundedSender<Event>>,
        confidence: Confidence,
    ) -> Driver<S> {
        Driver {
            coordinator,
            store,
            clock: Clock::new(),
            inbox,
            events,
            watchers: Watchers::default(),
            forgotten: None,
            confidence,
            peers: Peers::new(),
            followed: Vec::new(),
            submitted: Vec::new(),
        }
    }

    /// Tells which jobs are forgotten.
    #[must_use]
    pub(crate) fn with_forgotten(mut self, forgotten: mpsc::UnboundedSender<JobId>) -> Driver<S> {
        self.forgotten = Some(forgotten);
        self
    }

    /// Runs until every sender of messages is gone, or the store fails.
    pub(crate) async fn run(mut self) -> Result<(), store::Error> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.carry_out().await?;
            // One that was due before (it is as old as the records of an earlier reign) is no late wake-up.
            let deadline = self.coordinator.poll_timeout().map(|(at, _)| at.max(self.clock.steady()));
            tokio::select! {
                count = self.inbox.recv_many(&mut batch, BATCH) => match count {
                    0 => return Ok(()),
                    _ => self.on_batch(&mut batch).await?,
                },
                () = sleep_until(deadline, &self.clock) => self.on_timeout(deadline),
            }
        }
    }

    async fn on_batch(&mut self, batch: &mut Vec<Message>) -> Result<(), store::Error> {
        for message in batch.drain(..) {
            if matches!(
                message,
                Message::Connected { .. }
                    | Message::Disconnected { .. }
                    | Message::Watch { .. }
                    | Message::View(_)
            ) {
                // Orders that are due go to the connection that they are meant for, and nobody is shown what is
                // not stored yet.
                self.carry_out().await?;
            }
            self.on_message(message);
        }
        Ok(())
    }

    fn on_message(&mut self, message: Message) {
        let now = self.now();
        let input = match message {
            Message::Connected { node, peer } => {
                for (id, request) in &self.followed {
                    let _ = peer.orders.try_send(ToWorker::Logs { id: *id, request: request.clone() });
                }
                let connection = peer.connection;
                if let Some(older) = self.peers.insert(node, peer)
                    && older.connection != connection
                {
                    close(&older, Closing::Replaced);
                }
                return;
            }
            Message::Disconnected { node, connection, left } => {
                // A newer connection of the same node outlives the end of an older one.
                if !self.is_current(&node, connection) {
                    return;
                }
                self.peers.remove(&node);
                if left { Input::NodeLeft { node } } else { Input::NodeDisconnected { node } }
            }
            Message::Report { node, connection, report } => {
                // What a connection said that was replaced or given up counts for nothing: the Hello on the
                // newer one says how things are.
                if !self.is_current(&node, connection) {
                    return;
                }
                Input::Report { node, report }
            }
            #[cfg(feature = "local")]
            Message::Submit { job, spec, owner, secrets } => {
                self.confidence.keep(&job, secrets);
                self.follow(&job, &spec);
                Input::Submit { job, spec, owner, attached: false }
            }
            Message::Launch(launch) => self.on_launch(now, *launch),
            Message::Watch { job, watcher } => return self.watch(&job, watcher),
            Message::Relay { node, message, relayed } => {
                // Whoever asked may be gone.
                let _ = relayed.send(self.relay(&node, message));
                return;
            }
            Message::View(view) => return view.0(&self.coordinator, &self.peers),
            Message::ClientLost { job } => Input::ClientLost { job },
            Message::ClientWaits { job } => Input::ClientWaits { job },
            Message::Node { node, by, wish } => Input::Node { node, by, wish },
            Message::ResumeReplacement { by } => Input::ResumeReplacement { by },
            Message::Topology(topology) => Input::Topology(topology),
            Message::Stop { job, by, status, force } => Input::Stop { job, by, status, force },
            Message::Suspend { job } => Input::Suspend { job },
            Message::Resume { job } => Input::Resume { job },
        };
        self.coordinator.handle(now, input);
    }

    fn watch(&mut self, job: &JobId, watcher: mpsc::Sender<Event>) {
        match self.coordinator.job(job) {
            // It was forgotten meanwhile: the watcher's channel ends.
            None => {}
            Some(view) => match &view.job.state {
                JobState::Ended(outcome) => {
                    let kind = EventKind::JobEnded { outcome: outcome.clone() };
                    let at = view.job.ended_at.unwrap_or_default();
                    let end = Event { at, job: Some(job.clone()), generation: None, kind };
                    self.watchers.watch_ended(job, &watcher, end);
                }
                _ => self.watchers.watch(job, watcher),
            },
        }
    }

    fn is_current(&self, node: &NodeId, connection: usize) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.connection == connection)
    }

    fn on_launch(&mut self, now: Timestamp, launch: Launch) -> Input {
        let Launch { spec, owner, waits, secrets, watcher, reply } = launch;
        let taken = |job: &JobId| self.coordinator.job(job).is_some();
        let ids = (0..=u32::MAX).map(|bump| JobId::new(&spec.name, now, bump));
        let job = ids.into_iter().find(|job| !taken(job)).unwrap_or_else(|| JobId::new(&spec.name, now, 0));
        self.confidence.keep(&job, secrets);
        self.watchers.watch(&job, watcher);
        let attached = waits.is_some();
        let waiting = waits.map(|inbox| Waiting::new(&job, inbox));
        self.submitted.push((reply, Launched { job: job.clone(), waiting }));
        Input::Submit { job, spec: Box::new(spec), owner, attached }
    }

    fn relay(&self, node: &NodeId, message: ToWorker) -> Relayed {
        let Some(peer) = self.peers.get(node) else { return Relayed::NoLink };
        match pass_on(&peer.orders, message) {
            Ok(()) => Relayed::Sent(peer.orders.clone()),
            Err(TrySendError::Full(_)) => Relayed::Busy,
            Err(TrySendError::Closed(_)) => Relayed::NoLink,
        }
    }

    #[cfg(feature = "local")]
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

    /// Carries out what was decided, and what that led to.
    async fn carry_out(&mut self) -> Result<(), store::Error> {
        loop {
            let deaf = self.carry_out_once().await?;
            if deaf.is_empty() {
                return Ok(());
            }
            let now = self.now();
            for node in deaf {
                self.coordinator.handle(now, Input::NodeDisconnected { node });
            }
        }
    }

    /// Stores every record before the first order goes out: more than is asked, and one write to the disk.
    /// Answers the nodes whose connections were given up.
    async fn carry_out_once(&mut self) -> Result<Vec<NodeId>, store::Error> {
        let (mut records, mut orders) = (Vec::new(), Vec::new());
        while let Some(command) = self.coordinator.poll_command() {
            match command {
                Command::Persist(record) => records.push(record),
                Command::Send { node, order } => orders.push((node, order)),
            }
        }
        if !records.is_empty() {
            self.store.append(records).await?;
        }
        for (reply, launched) in self.submitted.drain(..) {
            // A client that is gone by now leaves what it waited with to be dropped.
            let _ = reply.send(launched);
        }
        let mut deaf = Vec::new();
        for (node, order) in orders {
            if !self.send(&node, &order) {
                deaf.push(node);
            }
        }
        while let Some(event) = self.coordinator.poll_event() {
            self.tell(event);
        }
        Ok(deaf)
    }

    fn tell(&mut self, event: Event) {
        tracing::debug!(?event, "event");
        match &event.kind {
            EventKind::NodeClockOff { node, ahead_ms } => {
                tracing::warn!(%node, "{}", clock_off(event.at, *ahead_ms));
            }
            EventKind::NodeQuarantined { node, why, led_to } => {
                let led_to = led_to.join("; ");
                tracing::warn!(%node, led_to, "quarantined: {why}; `phalanx node uncordon` gives it pods again");
            }
            EventKind::ReplacementPaused { lost, of } => {
                let lost = lost.len();
                tracing::warn!(
                    "{lost} of {of} nodes were lost at once: no job gets other nodes than it had until none was lost for a \
                     minute, or `phalanx node resume-replacement` says so"
                );
            }
            _ => {}
        }
        if let (Some(job), EventKind::JobEnded { .. }) = (&event.job, &event.kind) {
            self.confidence.forget(job);
        }
        if let (Some(job), EventKind::JobForgotten) = (&event.job, &event.kind) {
            self.watchers.forget(job);
            if let Some(forgotten) = &self.forgotten {
                // Nobody listens any more while the program ends.
                let _ = forgotten.send(job.clone());
            }
            return;
        }
        if let Some(events) = &self.events {
            // Nobody listens any more while the program ends.
            let _ = events.send(event);
        } else if event.job.as_ref().is_none_or(|job| self.coordinator.job(job).is_some()) {
            // What a node says of jobs that never were is kept for nobody.
            self.watchers.tell(event);
        }
    }

    /// Orders to a node without a connection are not kept: the node's next Hello brings the
    /// coordinator to say again what is due. False if the node's connection is given up.
    fn send(&mut self, node: &NodeId, order: &Order) -> bool {
        let Some(peer) = self.peers.get(node) else { return true };
        if let OrderKind::Prepare(plan) = &order.kind
            && let Some(confidential) = self.confidence.of(plan)
        {
            let _ = peer.orders.try_send(ToWorker::Confidential(confidential));
        }
        let Err(error) = peer.orders.try_send(order.into()) else { return true };
        tracing::warn!(%node, %error, "the worker takes no orders: its connection is dropped");
        close(peer, Closing::Deaf);
        self.peers.remove(node);
        false
    }
}

fn close(peer: &Peer, why: Closing) {
    // One that is full or closed: it ends anyhow.
    let _ = peer.close.try_send(why);
}

/// What to say of a node's clock.
fn clock_off(here: Timestamp, ahead_ms: i64) -> String {
    let off = Duration::from_millis(ahead_ms.unsigned_abs());
    let (word, there) = if ahead_ms > 0 {
        ("ahead", here + off)
    } else {
        ("behind", Timestamp(here.0.saturating_sub(off.as_micros() as u64)))
    };
    format!(
        "the clock of this node is {:.1} s {word}: it says {}, the coordinator's {}; certificates and times go wrong with it",
        off.as_secs_f64(),
        there.to_rfc3339(),
        here.to_rfc3339()
    )
}

async fn sleep_until(deadline: Option<Timestamp>, clock: &Clock) {
    match deadline {
        Some(deadline) => tokio::time::sleep(clock.until(deadline)).await,
        None => pending().await,
    }
}
