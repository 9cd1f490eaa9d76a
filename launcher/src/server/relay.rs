//! Output of a job, from its nodes to one client: asked for where the pods are, merged, and taken up
//! again where a link was lost. Nothing is kept here; a client that reads slowly slows its own streams.

mod asked;
mod places;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::NodeId;
use phalanx_common::wire::client_v1::Reply;
use phalanx_common::wire::v1::{LogFrame, ToWorker};
use phalanx_net::frames::Sending;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{EVENTS_QUEUED, Failed};
use super::hub::LogHub;
use super::tails::Tails;
use crate::cluster::Cluster;
use crate::driver::{Message, Relayed};
use crate::taken::Taken;
use asked::{Asked, Came};
use places::Places;
pub(super) use places::Wanted;
use words::{Said, Words};

/// Frames of all nodes that may wait for the client.
const FRAMES_QUEUED: usize = 8;

/// A worker that took no request is asked again after this.
const BUSY_FOR: Duration = Duration::from_secs(1);

/// One node's output.
#[derive(Default)]
struct Source {
    /// A stream is open, or about to be.
    asked: bool,
    /// The newest generation when it was asked.
    asked_in: u32,
    /// There is more to ask for once what was asked has come.
    again: bool,
    /// It took no more requests.
    busy: bool,
    /// Everything of this node has come.
    over: bool,
    /// Generations before and with this are complete.
    complete: u32,
    /// Of its output, to the client.
    taken: Taken,
}

struct Relay<'a> {
    wanted: Wanted,
    places: Places,
    driver: &'a mpsc::Sender<Message>,
    hub: &'a LogHub,
    tails: &'a Tails,
    sources: BTreeMap<NodeId, Source>,
    announced: u32,
    /// Of nodes that cannot be asked.
    words: Words,
    /// What is to be said of nodes that do not answer.
    notes: Vec<LogFrame>,
    /// When to ask those again that were busy.
    ask_busy: Option<Instant>,
    came_in: mpsc::Sender<(NodeId, Came)>,
    forwarding: JoinSet<()>,
}

/// Sends the output until all of it has gone, or nobody reads any more.
pub(super) async fn run(
    wanted: Wanted,
    driver: &mpsc::Sender<Message>,
    cluster: &Cluster,
    send: &mut Sending,
) -> Result<(), Failed> {
    // What comes after the look below is not missed: it may be seen twice, which changes nothing.
    let mut events = watch(&wanted, driver).await;
    let Some(places) = Places::of(&wanted, driver).await else { return Ok(()) };
    let (mut relay, mut came) = Relay::new(wanted, places, driver, (&cluster.hub, &cluster.tails));
    relay.ask_holders(relay.places.generation).await;
    loop {
        while let Some(frames) = relay.next_due().await {
            for frame in frames {
                send.write(&Reply::Log(frame)).await?;
            }
        }
        if relay.done() {
            return Ok(());
        }
        tokio::select! {
            // In this order: what an event says of the job is true of the output that came after it.
            biased;
            event = events.recv(), if relay.goes_on() => match event {
                Some(event) => relay.on_event(event).await,
                None => {
                    // It did not keep up. What it missed is looked up.
                    events = watch(&relay.wanted, driver).await;
                    let places = Places::of(&relay.wanted, driver).await;
                    relay.on_looked_up(places).await;
                }
            },
            Some((node, came)) = came.recv() => {
                for frame in relay.on_came(&node, came).await {
                    send.write(&Reply::Log(frame)).await?;
                }
            }
            () = sleep_until(relay.ask_busy) => relay.ask_busy().await,
        }
    }
}

/// The job's events for whoever follows. The channel ends for one that does not keep up.
async fn watch(wanted: &Wanted, driver: &mpsc::Sender<Message>) -> mpsc::Receiver<Event> {
    let (watcher, events) = mpsc::channel(EVENTS_QUEUED);
    if wanted.follow {
        let _ = driver.send(Message::Watch { job: wanted.job.clone(), watcher }).await;
    }
    events
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl<'a> Relay<'a> {
    fn new(
        wanted: Wanted,
        places: Places,
        driver: &'a mpsc::Sender<Message>,
        (hub, tails): (&'a LogHub, &'a Tails),
    ) -> (Relay<'a>, mpsc::Receiver<(NodeId, Came)>) {
        let (came_in, came) = mpsc::channel(FRAMES_QUEUED);
        let relay = Relay {
            wanted,
            places,
            driver,
            hub,
            tails,
            sources: BTreeMap::new(),
            announced: 0,
            words: Words::default(),
            notes: Vec::new(),
            ask_busy: None,
            came_in,
            forwarding: JoinSet::new(),
        };
        (relay, came)
    }

    /// Whether more output may come into being.
    fn goes_on(&self) -> bool {
        self.wanted.follow && !self.places.ended
    }

    fn done(&self) -> bool {
        self.sources.values().all(|source| source.over) && !self.goes_on()
    }

    async fn ask_holders(&mut self, generation: u32) {
        for node in self.places.holders(generation, self.wanted.rank) {
            self.ask(node).await;
        }
    }

    /// Asks a node for its output, if it is connected; if not, it is asked when it comes back.
    async fn ask(&mut self, node: NodeId) {
        let goes_on = self.goes_on();
        let source = self.sources.entry(node.clone()).or_default();
        if source.asked {
            return;
        }
        let answers = self.hub.open(&node);
        let mut request = self.places.request.clone();
        request.follow = goes_on;
        let message = ToWorker::Logs { id: answers.id, request };
        let (relayed_in, relayed) = oneshot::channel();
        let message = Message::Relay { node: node.clone(), message, relayed: relayed_in };
        let _ = self.driver.send(message).await;
        (source.again, source.busy) = (false, false);
        match relayed.await.unwrap_or(Relayed::NoLink) {
            Relayed::Sent(link) => {
                (source.asked, source.over) = (true, false);
                source.asked_in = self.places.generation;
                source.taken.begin();
                self.forwarding.spawn(Asked::new(answers, link).forward(node, self.came_in.clone()));
            }
            Relayed::Busy if goes_on => {
                (source.busy, source.over) = (true, false);
                self.ask_busy.get_or_insert_with(|| Instant::now() + BUSY_FOR);
            }
            Relayed::Busy => {
                source.over = true;
                let why = format!("{node}: it takes no more requests at this moment; ask again");
                self.notes.push(LogFrame::Refused { why });
            }
            // Whoever follows waits for it, unless the job is over; whoever looks takes what there is.
            Relayed::NoLink if goes_on => source.over = false,
            Relayed::NoLink => self.add_last_words(node),
        }
    }

    async fn ask_busy(&mut self) {
        self.ask_busy = None;
        let busy = self.sources.iter().filter(|(_, source)| source.busy);
        for node in busy.map(|(node, _)| node.clone()).collect::<Vec<_>>() {
            self.ask(node).await;
        }
    }

    /// What a node that is gone had said is due, as far as it is known here.
    fn add_last_words(&mut self, node: NodeId) {
        let generation = self.wanted.generation.unwrap_or(self.places.generation);
        let ranks = self.places.placed.get(&self.places.generation).and_then(|placed| placed.get(&node));
        let ranks = match (ranks, self.wanted.rank) {
            (Some(ranks), Some(rank)) if ranks.contains(&rank) => rank..rank + 1,
            (Some(ranks), None) => ranks.clone(),
            // A node of an earlier generation, of which nothing is kept.
            _ => {
                if let Some(source) = self.sources.get_mut(&node) {
                    source.over = true;
                }
                return;
            }
        };
        self.words.queue(node, generation, ranks);
    }

    /// What there is to say without anybody's answer; `None` if nothing.
    async fn next_due(&mut self) -> Option<Vec<LogFrame>> {
        if !self.notes.is_empty() {
            return Some(std::mem::take(&mut self.notes));
        }
        let Said { node, begins, ends, frames } = self.words.next(self.tails, &self.wanted.job).await?;
        if let Some(source) = self.sources.get_mut(&node).filter(|_| begins) {
            source.taken.begin();
        }
        let mut out: Vec<LogFrame> =
            frames.into_iter().flat_map(|frame| self.on_frame(&node, frame)).collect();
        if ends {
            let why = format!(
                "{node} cannot be reached: of its output there is what it had sent, the last of each rank"
            );
            out.push(LogFrame::Refused { why });
            if let Some(source) = self.sources.get_mut(&node) {
                source.over = true;
            }
            out.extend(self.complete().map(|generation| LogFrame::End { generation }));
        }
        Some(out)
    }

    async fn on_event(&mut self, event: Event) {
        match event.kind {
            EventKind::GangPlaced { nodes, ranks, .. } => {
                let generation = event.generation.map_or(0, |generation| generation.0);
                self.places.place(generation, nodes, &ranks);
            }
            EventKind::GangReleased => {
                if let Some(generation) = self.places.release() {
                    self.on_placed(generation).await;
                }
            }
            EventKind::NodeReachable { node }
            | EventKind::NodeJoined { node, .. }
            | EventKind::NodeRestarted { node } => {
                if let Some(source) = self.sources.get_mut(&node) {
                    source.again = true;
                    self.ask(node).await;
                }
            }
            EventKind::JobEnded { .. } => self.on_ended(),
            _ => {}
        }
    }

    async fn on_placed(&mut self, generation: u32) {
        for node in self.places.holders(generation, self.wanted.rank) {
            if let Some(source) = self.sources.get_mut(&node) {
                source.again |= source.asked_in < generation;
            }
            self.ask(node).await;
        }
    }

    /// Nodes that cannot be asked are not waited for.
    fn on_ended(&mut self) {
        self.places.ended = true;
        for node in self.silent() {
            self.add_last_words(node);
        }
    }

    /// Nodes that were not reached.
    fn silent(&self) -> Vec<NodeId> {
        let silent = self.sources.iter().filter(|(_, source)| !source.asked && !source.over);
        silent.map(|(node, _)| node.clone()).collect()
    }

    /// How things are, whatever was told of how they came to be so.
    async fn on_looked_up(&mut self, places: Option<Places>) {
        match places {
            Some(places) => {
                let generation = places.generation;
                self.places.placed.extend(places.placed);
                self.places.held = places.held;
                self.places.generation = self.places.generation.max(generation);
                self.places.ended = places.ended;
                self.on_placed(generation).await;
                for node in self.silent() {
                    self.ask(node).await;
                }
            }
            // Forgotten, which an ended job alone is; or the coordinator ends.
            None => self.on_ended(),
        }
    }

    /// What of it goes to the client.
    async fn on_came(&mut self, node: &NodeId, came: Came) -> Vec<LogFrame> {
        let (over, lost) = match came {
            Came::Frame(frame) => return self.on_frame(node, frame),
            Came::Over => (true, false),
            Came::Lost => (false, true),
        };
        let goes_on = self.goes_on();
        let mut again = lost;
        if let Some(source) = self.sources.get_mut(node) {
            (source.asked, source.over) = (false, over);
            // What it has in a later generation, or after its worker came back, it was not asked for.
            again |= source.again && goes_on;
        }
        if again {
            // It may be back already.
            self.ask(node.clone()).await;
        }
        self.complete().map(|generation| LogFrame::End { generation }).into_iter().collect()
    }

    /// What of a frame goes to the client.
    fn on_frame(&mut self, node: &NodeId, frame: LogFrame) -> Vec<LogFrame> {
        if let LogFrame::Chunk { generation, rank, .. } | LogFrame::Skipped { generation, rank, .. } = frame
            && !self.places.may_have(node, generation, rank)
        {
            tracing::warn!(%node, rank, "a node sent output of a rank that it does not have");
            return Vec::new();
        }
        let Some(source) = self.sources.get_mut(node) else { return Vec::new() };
        let mut out = Vec::new();
        match frame {
            frame @ (LogFrame::Chunk { .. } | LogFrame::Skipped { .. }) => {
                out.extend(source.taken.frame(frame));
            }
            LogFrame::End { generation } => source.complete = source.complete.max(generation),
            LogFrame::Refused { why } => {
                out.push(LogFrame::Refused { why: format!("{node}: {why}") });
            }
            LogFrame::Open { .. } => {}
        }
        out.extend(self.complete().map(|generation| LogFrame::End { generation }));
        out
    }

    /// The last generation of which everything has gone to the client, if that is news.
    fn complete(&mut self) -> Option<u32> {
        let through = |generation: u32, nodes: &places::Ranks| {
            nodes.keys().all(|node| {
                self.sources.get(node).is_none_or(|source| source.complete >= generation || source.over)
            })
        };
        let complete: BTreeSet<u32> = self
            .places
            .placed
            .iter()
            .filter(|(generation, nodes)| **generation > self.announced && through(**generation, nodes))
            .map(|(generation, _)| *generation)
            .collect();
        let last = complete.last().copied()?;
        self.announced = last;
        // A job may be started again without end.
        self.places.placed.retain(|generation, _| *generation >= last);
        Some(last)
    }
}

#[cfg(test)]
mod tests;
