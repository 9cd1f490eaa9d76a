//! Owns the survey: takes what nodes tell, derives the facts a moment later, and gives out the newest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use phalanx_common::defaults::{BEACON_KEY_EVERY, LOOK_EVERY};
use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::Machine;
use phalanx_common::topology::{Evidence, Snapshot, SnapshotError};
use phalanx_common::wire::topology_v1::{FromNode, ToNode};
use phalanx_launcher_core::survey::{Survey, Surveyed};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use crate::driver::wall;
use crate::topo::{self, Told};

/// What nodes told that may wait; their streams wait then.
const INBOX: usize = 256;
/// A node that takes no requests for so many is not reading: it gets the next when it connects again.
pub(crate) const ASKS_QUEUED: usize = 8;
/// Facts are derived so long after the first thing that is new: a whole cluster may come up at once.
const SETTLE: Duration = Duration::from_millis(300);
/// Lines of the log for one change of the topology; the rest is counted.
const MOST_LINES: usize = 20;

/// What a node's stream brings.
#[derive(Debug)]
pub(crate) enum Message {
    /// A stream was opened; it is there for as long as it takes what is asked.
    Linked {
        node: NodeId,
        asks: mpsc::Sender<ToNode>,
    },
    Said {
        node: NodeId,
        said: Said,
    },
}

/// As it was put together from its parts.
#[derive(Debug)]
pub(crate) enum Said {
    Machine(Arc<Machine>),
    Fabric { subnet: u64, evidence: Vec<Evidence> },
    Other(FromNode),
}

/// The facts as they are.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) surveyed: Surveyed,
    pub(crate) snapshot: Snapshot<Machine>,
    /// Who told of it.
    pub(crate) told: Vec<Told>,
}

/// Files and folders of the operator's, as they were when they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    evidence: Vec<Evidence>,
    /// Size and time of each file.
    stamps: Stamps,
}

type Stamps = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

impl Files {
    /// # Errors
    /// What cannot be read or understood, and what is no file about networks.
    pub(crate) fn load(paths: Vec<PathBuf>) -> anyhow::Result<Files> {
        if paths.is_empty() {
            return Ok(Files::default());
        }
        let stamps = stamps(&paths);
        let (evidence, warnings) = topo::evidence(&paths, wall()).context("--topology")?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(Files { paths, evidence, stamps })
    }

    /// `None` while they are the same. An error comes with how they are by now.
    fn newer(&self) -> Option<Result<Files, (Stamps, anyhow::Error)>> {
        let stamps = stamps(&self.paths);
        let load = || Files::load(self.paths.clone()).map_err(|error| (stamps.clone(), error));
        (stamps != self.stamps).then(load)
    }
}

/// Of the files that are named, and of those directly in folders.
fn stamps(paths: &[PathBuf]) -> Stamps {
    let within = |path: &PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).chain([path.clone()]).collect()
    };
    let stamp = |path: PathBuf| {
        let about = std::fs::metadata(&path).ok()?;
        Some((path, (about.len(), about.modified().ok())))
    };
    paths.iter().flat_map(within).filter_map(stamp).collect()
}

/// Where streams deliver, and where the facts are.
#[derive(Clone, Debug)]
pub(crate) struct Surveys {
    inbox: mpsc::Sender<Message>,
    current: watch::Receiver<Option<Arc<Current>>>,
}

impl Surveys {
    /// The handle, and the task that has to run.
    pub(crate) fn new(files: Files) -> (Surveys, Owner) {
        let (inbox, messages) = mpsc::channel(INBOX);
        let (publish, current) = watch::channel(None);
        let mut survey = Survey::default();
        survey.files(files.evidence.clone());
        let derive_at = (!files.paths.is_empty()).then(Instant::now);
        let owner = Owner {
            files,
            survey,
            messages,
            publish,
            links: BTreeMap::new(),
            gone: JoinSet::new(),
            streams: 0,
            key: (0, [0; 32]),
            derive_at,
        };
        (Surveys { inbox, current }, owner)
    }

    /// False once the coordinator ends.
    pub(crate) async fn tell(&self, message: Message) -> bool {
        self.inbox.send(message).await.is_ok()
    }

    /// `None` before any node told of itself.
    pub(crate) fn current(&self) -> Option<Arc<Current>> {
        self.current.borrow().clone()
    }
}

/// The one who knows.
#[derive(Debug)]
pub(crate) struct Owner {
    files: Files,
    survey: Survey,
    messages: mpsc::Receiver<Message>,
    publish: watch::Sender<Option<Arc<Current>>>,
    /// The stream that each node has open, by its number.
    links: BTreeMap<NodeId, (u64, mpsc::Sender<ToNode>)>,
    /// One for each stream, until its end.
    gone: JoinSet<(NodeId, u64)>,
    /// So many were opened.
    streams: u64,
    /// Of beacons, with its number.
    key: (u32, [u8; 32]),
    derive_at: Option<Instant>,
}

impl Owner {
    /// Until nobody can tell anything any more.
    pub(crate) async fn run(mut self) {
        let mut renew = interval(BEACON_KEY_EVERY);
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                Some(Ok((node, stream))) = self.gone.join_next() => self.on_gone(&node, stream),
                _ = renew.tick() => self.renew_key(),
                _ = look.tick() => self.look_at_files().await,
                () = at(self.derive_at) => self.derive().await,
            }
        }
    }

    /// What is wrong with a file that changed is said, and what it said before stays.
    async fn look_at_files(&mut self) {
        if self.files.paths.is_empty() {
            return;
        }
        let files = self.files.clone();
        let Ok(Some(newer)) = tokio::task::spawn_blocking(move || files.newer()).await else { return };
        match newer {
            Ok(files) => {
                tracing::info!("the files about the topology changed");
                self.survey.files(files.evidence.clone());
                self.files = files;
                self.derive_at.get_or_insert(Instant::now());
            }
            Err((stamps, error)) => {
                tracing::warn!(
                    "the files about the topology are not taken, those before count on: {error:#}"
                );
                self.files.stamps = stamps;
            }
        }
    }

    /// A number that no earlier reign gave: nodes keep the key before the newest.
    fn renew_key(&mut self) {
        let mut key = [0; 32];
        if SystemRandom::new().fill(&mut key).is_err() {
            tracing::warn!("the system has no random numbers: the key of beacons stays");
            return;
        }
        let number = u32::try_from(wall().0 / 1_000_000).unwrap_or(u32::MAX);
        self.key = (number.max(self.key.0 + 1), key);
        let nodes: Vec<NodeId> = self.links.keys().cloned().collect();
        nodes.iter().for_each(|node| self.give_key(node));
    }

    fn give_key(&self, node: &NodeId) {
        let (number, key) = self.key;
        self.ask(node, ToNode::BeaconKey { number, key });
    }

    fn ask(&self, node: &NodeId, what: ToNode) {
        if let Some((_, asks)) = self.links.get(node)
            && let Err(error) = asks.try_send(what)
        {
            tracing::debug!(%node, %error, "a node takes no requests about its topology");
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Linked { node, asks } => {
                self.streams += 1;
                let (stream, ends, whose) = (self.streams, asks.clone(), node.clone());
                // However the stream ends, its end of the channel goes with it.
                self.gone.spawn(async move {
                    ends.closed().await;
                    (whose, stream)
                });
                self.links.insert(node.clone(), (stream, asks));
                self.survey.linked(&node, true);
                self.give_key(&node);
            }
            Message::Said { node, said } => self.on_said(&node, said),
        }
    }

    fn on_gone(&mut self, node: &NodeId, stream: u64) {
        if self.links.get(node).is_some_and(|(known, _)| *known == stream) {
            self.links.remove(node);
            self.survey.linked(node, false);
            self.ask_for_fabrics();
        }
    }

    fn on_said(&mut self, node: &NodeId, said: Said) {
        let now = wall();
        let new = match said {
            Said::Machine(machine) => self.survey.machine(now, node, machine),
            Said::Fabric { subnet, evidence } => self.survey.fabric(node, subnet, evidence),
            Said::Other(FromNode::Neighbours(all)) => self.survey.neighbours(now, node, all),
            Said::Other(FromNode::Heard(all)) => self.survey.heard(now, node, all),
            Said::Other(FromNode::Policy(policy)) => self.survey.policy(node, policy),
            Said::Other(FromNode::Fabrics(subnets)) => {
                self.survey.can_tell_fabrics(node, subnets.into_iter().collect());
                self.ask_for_fabrics();
                false
            }
            // Parts, which the stream has put together.
            Said::Other(FromNode::Machine { .. } | FromNode::Fabric { .. }) => false,
        };
        if new {
            self.derive_at.get_or_insert(Instant::now() + SETTLE);
        }
    }

    fn ask_for_fabrics(&mut self) {
        for (subnet, node) in self.survey.ask() {
            self.ask(&node, ToNode::TellFabric { subnet });
        }
    }

    /// Elsewhere: ten thousand nodes take a second. What comes meanwhile waits for the next time.
    async fn derive(&mut self) {
        self.derive_at = None;
        let survey = self.survey.clone();
        let derived = tokio::task::spawn_blocking(move || current(&survey, wall())).await;
        let current = match derived {
            Ok(Ok(current)) => Arc::new(current),
            Ok(Err(error)) => {
                return tracing::error!(%error, "the topology is not derived: the last one stays");
            }
            Err(error) => return tracing::error!(%error, "the topology is not derived: the last one stays"),
        };
        let old = self.publish.send_replace(Some(Arc::clone(&current)));
        log_changes(old.as_deref(), &current);
    }
}

/// Why there is no topology.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Derive(#[from] phalanx_common::topology::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

fn current(survey: &Survey, now: Timestamp) -> Result<Current, Error> {
    let mut surveyed = survey.derive(now)?;
    let told = Told::summarise(&std::mem::take(&mut surveyed.evidence));
    let kinds = surveyed.machines.iter().map(|(name, machine)| (name.clone(), machine.kind())).collect();
    let snapshot = Snapshot::new(surveyed.network.clone(), &kinds)?;
    Ok(Current { surveyed, snapshot, told })
}

fn log_changes(old: Option<&Current>, new: &Current) {
    let Some(old) = old else {
        let nodes = new.snapshot.network().nodes.len();
        tracing::info!(nodes, hash = %new.snapshot.hash(), "topology");
        return;
    };
    let changes = new.snapshot.diff(&old.snapshot);
    for change in changes.iter().take(MOST_LINES) {
        tracing::info!("topology: {change}");
    }
    if changes.len() > MOST_LINES {
        tracing::info!("topology: and {} changes more", changes.len() - MOST_LINES);
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
