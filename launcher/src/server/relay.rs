//! Output of a job, from its nodes to one client: asked for where the pods are, merged, and taken up
//! again where a link was lost. Nothing is kept here; a client that reads slowly slows its own streams.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::wire::client_v1::Reply;
use phalanx_common::wire::v1::{LogFrame, LogRequest, ToWorker};
use phalanx_net::frames::Sending;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::{EVENTS_QUEUED, Failed};
use super::hub::Answers;
use crate::cluster::Cluster;
use crate::driver::{Message, look};
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

struct Relay<'a> {
    wanted: Wanted,
    places: Places,
    driver: &'a mpsc::Sender<Message>,
    cluster: &'a Cluster,
    sources: BTreeMap<NodeId, Source>,
    /// Nodes of each generation.
    placed: BTreeMap<u32, Vec<NodeId>>,
    announced: u32,
    /// What is to be sent of nodes that cannot be asked.
    last_words: Vec<LogFrame>,
    frames_in: mpsc::Sender<(NodeId, Option<LogFrame>)>,
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
    let (frames_in, mut frames) = mpsc::channel(FRAMES_QUEUED);
    let placed = BTreeMap::from([(places.generation, places.nodes.clone())]);
    let mut relay = Relay {
        wanted,
        places,
        driver,
        cluster,
        sources: BTreeMap::new(),
        placed,
        announced: 0,
        last_words: Vec::new(),
        frames_in,
        forwarding: JoinSet::new(),
    };
    for node in relay.places.nodes.clone() {
        relay.ask(node).await;
    }
    loop {
        for frame in std::mem::take(&mut relay.last_words) {
            send.write(&Reply::Log(frame)).await?;
        }
        if relay.done() {
            break;
        }
        tokio::select! {
            Some((node, frame)) = frames.recv() => {
                for frame in relay.on_frame(&node, frame) {
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
            ended: view.job.ended(),
        })
    })
    .await?
}

impl Relay<'_> {
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
        let wanted = node.clone();
        let connected = look(self.driver, move |_, peers| peers.contains_key(&wanted)).await;
        if connected != Some(true) {
            // Whoever follows waits for it, unless the job is over; whoever looks takes what there is.
            source.over = !self.wanted.follow || self.places.ended;
            if source.over {
                self.add_last_words(&node);
            }
            return;
        }
        (source.asked, source.over) = (true, false);
        source.taken.begin();
        let answers = self.cluster.hub.open();
        let mut request = self.places.request.clone();
        request.follow = self.wanted.follow && !self.places.ended;
        let message = ToWorker::Logs { id: answers.id, request };
        let _ = self.driver.send(Message::Relay { node: node.clone(), message }).await;
        self.forwarding.spawn(forward(node, answers, self.frames_in.clone()));
    }

    /// What a node that is gone had said, as far as it is known here.
    fn add_last_words(&mut self, node: &NodeId) {
        let Some((first, ranks)) = self.places.ranks.get(node).copied() else { return };
        let wanted = self.wanted.rank;
        let ranks = (first..first + ranks).filter(|rank| wanted.is_none_or(|wanted| wanted == *rank));
        let generation = self.wanted.generation.unwrap_or(self.places.generation);
        let frames = self.cluster.tails.last_words(&self.wanted.job, ranks, generation);
        for frame in frames {
            let new = self.on_frame(node, Some(frame));
            self.last_words.extend(new);
        }
    }

    async fn on_event(&mut self, event: Event) {
        match event.kind {
            EventKind::GangPlaced { nodes, .. } if self.wanted.rank.is_none() => {
                let generation = event.generation.map_or(0, |generation| generation.0);
                self.placed.insert(generation, nodes.clone());
                for node in nodes {
                    self.ask(node).await;
                }
            }
            EventKind::NodeReachable { node } | EventKind::NodeJoined { node, .. }
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

    /// What of a frame goes to the client.
    fn on_frame(&mut self, node: &NodeId, frame: Option<LogFrame>) -> Vec<LogFrame> {
        let Some(source) = self.sources.get_mut(node) else { return Vec::new() };
        let mut out = Vec::new();
        match frame {
            Some(frame @ (LogFrame::Chunk { .. } | LogFrame::Skipped { .. })) => {
                out.extend(source.taken.frame(frame));
            }
            Some(LogFrame::End { generation }) => source.complete = source.complete.max(generation),
            Some(LogFrame::Refused { why }) => {
                out.push(LogFrame::Refused { why: format!("{node}: {why}") });
            }
            Some(LogFrame::Open { .. }) => {}
            None => {
                source.asked = false;
                source.over = true;
            }
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

async fn forward(node: NodeId, mut answers: Answers, frames: mpsc::Sender<(NodeId, Option<LogFrame>)>) {
    while let Some(frame) = answers.frames.recv().await {
        if frames.send((node.clone(), Some(frame))).await.is_err() {
            return;
        }
    }
    let _ = frames.send((node, None)).await;
}
