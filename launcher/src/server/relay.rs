//! Output of a job, from its nodes to one client: asked for where the pods are, merged, and taken up
//! again where a link was lost. Nothing is kept here; a client that reads slowly slows its own streams.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_common::wire::client_v1::Reply;
use phalanx_common::wire::v1::{LogFrame, LogRequest, ToWorker};
use phalanx_net::frames::Sending;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::client::{EVENTS_QUEUED, Failed};
use super::hub::{Answer, Answers, LogHub};
use super::tails::Tails;
use crate::cluster::Cluster;
use crate::driver::{Message, Relayed, look};
use crate::taken::Taken;

/// Frames of all nodes that may wait for the client.
const FRAMES_QUEUED: usize = 8;

/// Which output is wanted.
pub(super) struct Wanted {
    pub(super) job: JobId,
    pub(super) generation: Option<u32>,
    pub(super) rank: Option<u32>,
    pub(super) follow: bool,
}

/// What the coordinator knows of the job's output.
struct Places {
    request: LogRequest,
    generation: u32,
    nodes: Vec<NodeId>,
    /// First rank and number of ranks of each node.
    ranks: BTreeMap<NodeId, (u32, u32)>,
    /// Ranks of this generation, or of one before, ran.
    ran: bool,
    ended: bool,
}

/// One node's output.
#[derive(Default)]
struct Source {
    /// A stream is open, or about to be.
    asked: bool,
    /// Everything of this node has come.
    over: bool,
    /// Generations before and with this are complete.
    complete: u32,
    /// Of its output, to the client.
    taken: Taken,
}

/// What comes of one node.
#[derive(Debug)]
enum Came {
    Frame(LogFrame),
    /// Everything.
    Over,
    /// Its link is gone: the rest is to be asked for again.
    Lost,
}

struct Relay<'a> {
    wanted: Wanted,
    places: Places,
    driver: &'a mpsc::Sender<Message>,
    hub: &'a LogHub,
    tails: &'a Tails,
    sources: BTreeMap<NodeId, Source>,
    /// Nodes of each generation that was released.
    placed: BTreeMap<u32, Vec<NodeId>>,
    /// The generation that was placed last, until its ranks are released: there is nothing to ask for.
    held: Option<(u32, Vec<NodeId>)>,
    announced: u32,
    /// What is to be sent of nodes that cannot be asked.
    last_words: Vec<LogFrame>,
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
    let (watcher, mut events) = mpsc::channel(EVENTS_QUEUED);
    if wanted.follow {
        // What comes after the look below is not missed: it may be seen twice, which changes nothing.
        let _ = driver.send(Message::Watch { job: wanted.job.clone(), watcher }).await;
    }
    let Some(places) = places(&wanted, driver).await else { return Ok(()) };
    let (mut relay, mut came) = Relay::new(wanted, places, driver, (&cluster.hub, &cluster.tails));
    if relay.places.ran {
        relay.on_released().await;
    }
    loop {
        for frame in std::mem::take(&mut relay.last_words) {
            send.write(&Reply::Log(frame)).await?;
        }
        if relay.done() {
            break;
        }
        tokio::select! {
            Some((node, came)) = came.recv() => {
                for frame in relay.on_came(&node, came).await {
                    send.write(&Reply::Log(frame)).await?;
                }
            }
            Some(event) = events.recv(), if relay.wanted.follow => relay.on_event(event).await,
            else => break,
        }
    }
    Ok(())
}

async fn places(wanted: &Wanted, driver: &mpsc::Sender<Message>) -> Option<Places> {
    let Wanted { job, generation, rank, follow } = wanted;
    let (job, generation, rank, follow) = (job.clone(), *generation, *rank, *follow);
    look(driver, move |coordinator, _| {
        let view = coordinator.job(&job)?;
        let output = &view.job.spec.output;
        let request = LogRequest {
            job: job.to_string(),
            user: view.job.owner.unix_user.clone(),
            log_dir: output.log_dir.clone(),
            max_file_bytes: output.max_file_bytes,
            generation,
            rank,
            follow,
        };
        let current = view.job.generation.as_ref();
        let pods = current.map_or(&[][..], |current| &current.pods);
        let holds = |first: u32, ranks: u32| rank.is_none_or(|rank| (first..first + ranks).contains(&rank));
        Some(Places {
            request,
            generation: current.map_or(0, |current| current.number.0),
            nodes: pods
                .iter()
                .filter(|pod| holds(pod.first_rank.0, pod.ranks))
                .map(|pod| pod.node.clone())
                .collect(),
            ranks: pods.iter().map(|pod| (pod.node.clone(), (pod.first_rank.0, pod.ranks))).collect(),
            ran: current.is_some_and(|current| current.released || current.number > Generation(1)),
            ended: view.job.ended(),
        })
    })
    .await?
}

impl<'a> Relay<'a> {
    fn new(
        wanted: Wanted,
        places: Places,
        driver: &'a mpsc::Sender<Message>,
        (hub, tails): (&'a LogHub, &'a Tails),
    ) -> (Relay<'a>, mpsc::Receiver<(NodeId, Came)>) {
        let (came_in, came) = mpsc::channel(FRAMES_QUEUED);
        let held = Some((places.generation, places.nodes.clone()));
        let relay = Relay {
            wanted,
            places,
            driver,
            hub,
            tails,
            sources: BTreeMap::new(),
            placed: BTreeMap::new(),
            held,
            announced: 0,
            last_words: Vec::new(),
            came_in,
            forwarding: JoinSet::new(),
        };
        (relay, came)
    }

    fn done(&self) -> bool {
        let over = self.sources.values().all(|source| source.over);
        over && (!self.wanted.follow || self.places.ended)
    }

    /// Asks a node for its output, if it is connected; if not, it is asked when it comes back.
    async fn ask(&mut self, node: NodeId) {
        let source = self.sources.entry(node.clone()).or_default();
        if source.asked {
            return;
        }
        let answers = self.hub.open(&node);
        let mut request = self.places.request.clone();
        request.follow = self.wanted.follow && !self.places.ended;
        let message = ToWorker::Logs { id: answers.id, request };
        let (relayed_in, relayed) = oneshot::channel();
        let message = Message::Relay { node: node.clone(), message, relayed: relayed_in };
        let _ = self.driver.send(message).await;
        match relayed.await.unwrap_or(Relayed::NoLink) {
            Relayed::Sent(link) => {
                (source.asked, source.over) = (true, false);
                source.taken.begin();
                self.forwarding.spawn(forward(node, answers, link, self.came_in.clone()));
            }
            Relayed::Busy => {
                source.over = true;
                let why = format!("{node}: it takes no more requests at this moment; ask again");
                self.last_words.push(LogFrame::Refused { why });
            }
            Relayed::NoLink => {
                // Whoever follows waits for it, unless the job is over; whoever looks takes what there is.
                source.over = !self.wanted.follow || self.places.ended;
                if source.over {
                    self.add_last_words(&node);
                }
            }
        }
    }

    /// What a node that is gone had said, as far as it is known here.
    fn add_last_words(&mut self, node: &NodeId) {
        let Some((first, ranks)) = self.places.ranks.get(node).copied() else { return };
        let wanted = self.wanted.rank;
        let ranks = (first..first + ranks).filter(|rank| wanted.is_none_or(|wanted| wanted == *rank));
        let generation = self.wanted.generation.unwrap_or(self.places.generation);
        let frames = self.tails.last_words(&self.wanted.job, ranks, generation);
        if let Some(source) = self.sources.get_mut(node) {
            // They count from the beginning, whatever came before the link was lost.
            source.taken.begin();
        }
        for frame in frames {
            let new = self.on_frame(node, frame);
            self.last_words.extend(new);
        }
        let why = format!(
            "{node} cannot be reached: of its output there is what it had sent, the last of each rank"
        );
        self.last_words.push(LogFrame::Refused { why });
    }

    /// From here on the nodes of the generation placed last have output.
    async fn on_released(&mut self) {
        let Some((generation, nodes)) = self.held.take() else { return };
        self.placed.insert(generation, nodes.clone());
        for node in nodes {
            self.ask(node).await;
        }
    }

    async fn on_event(&mut self, event: Event) {
        match event.kind {
            EventKind::GangPlaced { nodes, .. } if self.wanted.rank.is_none() => {
                let generation = event.generation.map_or(0, |generation| generation.0);
                self.held = Some((generation, nodes));
            }
            EventKind::GangReleased => self.on_released().await,
            EventKind::NodeReachable { node }
            | EventKind::NodeJoined { node, .. }
            | EventKind::NodeRestarted { node }
                if self.sources.contains_key(&node) =>
            {
                self.ask(node).await;
            }
            EventKind::JobEnded { .. } => {
                self.places.ended = true;
                let silent: Vec<NodeId> = self
                    .sources
                    .iter_mut()
                    .filter(|(_, source)| !source.asked && !source.over)
                    .map(|(node, source)| {
                        source.over = true;
                        node.clone()
                    })
                    .collect();
                for node in &silent {
                    self.add_last_words(node);
                }
            }
            _ => {}
        }
    }

    /// What of it goes to the client.
    async fn on_came(&mut self, node: &NodeId, came: Came) -> Vec<LogFrame> {
        let (over, lost) = match came {
            Came::Frame(frame) => return self.on_frame(node, frame),
            Came::Over => (true, false),
            Came::Lost => (false, true),
        };
        if let Some(source) = self.sources.get_mut(node) {
            (source.asked, source.over) = (false, over);
        }
        if lost {
            // It may be back already.
            self.ask(node.clone()).await;
        }
        self.complete().map(|generation| LogFrame::End { generation }).into_iter().collect()
    }

    /// Whether a rank is the node's, where that is known: of the generation that was the last when asked.
    fn may_have(&self, node: &NodeId, generation: u32, rank: u32) -> bool {
        let its_own = |&(first, ranks): &(u32, u32)| (first..first + ranks).contains(&rank);
        generation != self.places.generation || self.places.ranks.get(node).is_some_and(its_own)
    }

    /// What of a frame goes to the client.
    fn on_frame(&mut self, node: &NodeId, frame: LogFrame) -> Vec<LogFrame> {
        if let LogFrame::Chunk { generation, rank, .. } | LogFrame::Skipped { generation, rank, .. } = frame
            && !self.may_have(node, generation, rank)
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
        let through = |generation: u32, nodes: &[NodeId]| {
            nodes.iter().all(|node| {
                self.sources.get(node).is_none_or(|source| source.complete >= generation || source.over)
            })
        };
        let complete: BTreeSet<u32> = self
            .placed
            .iter()
            .filter(|(generation, nodes)| **generation > self.announced && through(**generation, nodes))
            .map(|(generation, _)| *generation)
            .collect();
        let last = complete.last().copied()?;
        self.announced = last;
        Some(last)
    }
}

/// Passes on what comes, and says how it ended. `link` is closed once the node's connection is gone: who has not
/// taken the request up by then never will.
async fn forward(
    node: NodeId,
    mut answers: Answers,
    link: mpsc::Sender<ToWorker>,
    came: mpsc::Sender<(NodeId, Came)>,
) {
    let mut lost = false;
    loop {
        let answer = tokio::select! {
            answer = answers.answers.recv() => answer,
            () = link.closed(), if !lost => {
                lost = true;
                answers.withdraw();
                continue;
            }
        };
        let (next, last) = match answer {
            Some(Answer::Frame(frame)) => (Came::Frame(frame), false),
            Some(Answer::Over) => (Came::Over, true),
            None => {
                // Asked over a link that is about to end, nobody would answer.
                link.closed().await;
                (Came::Lost, true)
            }
        };
        if came.send((node.clone(), next)).await.is_err() || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
