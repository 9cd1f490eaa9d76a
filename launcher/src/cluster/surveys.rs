//! Owns the survey: takes what nodes tell, derives the facts a moment later, and gives out the newest.

mod current;
mod due;
mod files;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_common::defaults::{BEACON_KEY_EVERY, LOOK_EVERY};
use phalanx_common::id::NodeId;
use phalanx_common::topology::machine::Machine;
use phalanx_common::topology::{Evidence, Finding};
use phalanx_common::wire::topology_v1::{FromNode, Policy, ToNode};
use phalanx_launcher_core::survey::{News, Survey};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval, interval_at};

pub(crate) use self::current::Current;
use self::due::{Due, until};
pub(crate) use self::files::Files;
use crate::driver::wall;

/// What nodes told that may wait; their streams wait then.
const INBOX: usize = 256;
/// A node that takes no requests for so many is not reading: it gets the next when it connects again.
pub(crate) const ASKS_QUEUED: usize = 8;

/// What a node's stream brings.
#[derive(Debug)]
pub(crate) enum Message {
    /// A stream was opened; it is there for as long as it takes what is asked.
    Linked { node: NodeId, stream: u64, asks: mpsc::Sender<ToNode> },
    /// Counts as long as the node has opened no other stream.
    Said { node: NodeId, stream: u64, said: Said },
}

/// As it was put together from its parts.
#[derive(Debug)]
pub(crate) enum Said {
    Machine(Arc<Machine>),
    Fabric { subnet: u64, evidence: Vec<Evidence> },
    Other(FromNode),
}

/// Where streams deliver, and where the facts are.
#[derive(Clone, Debug)]
pub(crate) struct Surveys {
    inbox: mpsc::Sender<Message>,
    current: watch::Receiver<Option<Arc<Current>>>,
    policies: watch::Receiver<BTreeMap<NodeId, Policy>>,
    /// So many streams were opened.
    streams: Arc<AtomicU64>,
}

impl Surveys {
    /// The handle, and the task that has to run.
    pub(crate) fn new(files: Files) -> (Surveys, Owner) {
        let (inbox, messages) = mpsc::channel(INBOX);
        let (publish, current) = watch::channel(None);
        let (policies, told) = watch::channel(BTreeMap::new());
        let mut survey = Survey::default();
        survey.files(files.evidence.clone());
        let mut due = Due::new(Instant::now());
        due.on_news(Instant::now(), News::of(!files.paths.is_empty()));
        let owner = Owner {
            files,
            not_taken: Vec::new(),
            survey,
            messages,
            publish,
            policies,
            links: BTreeMap::new(),
            gone: JoinSet::new(),
            key: (0, [0; 32]),
            due,
        };
        (Surveys { inbox, current, policies: told, streams: Arc::default() }, owner)
    }

    /// The number of a new stream.
    pub(crate) fn stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// False once the coordinator ends.
    pub(crate) async fn tell(&self, message: Message) -> bool {
        self.inbox.send(message).await.is_ok()
    }

    /// Tells of every change of what [`Surveys::current`] gives.
    pub(crate) fn facts(&self) -> watch::Receiver<Option<Arc<Current>>> {
        self.current.clone()
    }

    /// What the operators of nodes want of them.
    pub(crate) fn policies(&self) -> watch::Receiver<BTreeMap<NodeId, Policy>> {
        self.policies.clone()
    }

    /// `None` before any node told of itself.
    pub(crate) fn current(&self) -> Option<Arc<Current>> {
        self.current.borrow().clone()
    }

    /// The labels that a node came with, whatever becomes of the facts.
    pub(crate) fn labels(&self, node: &NodeId) -> Vec<(String, String)> {
        self.policies.borrow().get(node).map(|policy| policy.labels.clone()).unwrap_or_default()
    }
}

/// A stream that is open.
#[derive(Debug)]
struct Link {
    stream: u64,
    asks: mpsc::Sender<ToNode>,
    /// Of its end.
    watch: AbortHandle,
    /// The number of the key of beacons that it was given.
    key: Option<u32>,
}

/// The one who knows.
#[derive(Debug)]
pub(crate) struct Owner {
    files: Files,
    /// Those that were wrong when they were read last.
    not_taken: Vec<Finding>,
    survey: Survey,
    messages: mpsc::Receiver<Message>,
    publish: watch::Sender<Option<Arc<Current>>>,
    /// What the operators of nodes want of them.
    policies: watch::Sender<BTreeMap<NodeId, Policy>>,
    /// The newest stream of each node.
    links: BTreeMap<NodeId, Link>,
    /// One for each stream, until its end.
    gone: JoinSet<(NodeId, u64)>,
    /// Of beacons, with its number.
    key: (u32, [u8; 32]),
    due: Due,
}

impl Owner {
    /// Until nobody can tell anything any more.
    pub(crate) async fn run(mut self) {
        // Before the first node asks for it.
        self.renew_key();
        let mut renew = interval_at(Instant::now() + BEACON_KEY_EVERY, BEACON_KEY_EVERY);
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                Some(gone) = self.gone.join_next() => self.on_gone(gone.ok()),
                _ = renew.tick() => self.renew_key(),
                _ = look.tick() => self.on_look().await,
                () = until(self.due.at()) => self.on_due().await,
            }
        }
    }

    async fn on_look(&mut self) {
        // Whose queue was full may have room by now.
        self.ask_for_fabrics();
        self.give_key();
        self.look_at_files().await;
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
                self.not_taken.clear();
                self.due.on_news(Instant::now(), News::Facts);
            }
            Err((stamps, error)) => {
                tracing::warn!("the files about the topology are not taken, those before count on: {error}");
                self.files.stamps = stamps;
                self.not_taken = error.findings();
                self.due.on_news(Instant::now(), News::Machines);
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
        self.give_key();
    }

    /// To every node that does not have the newest.
    fn give_key(&mut self) {
        let (number, key) = self.key;
        let without = self.links.iter().filter(|(_, link)| link.key != Some(number));
        for node in without.map(|(node, _)| node.clone()).collect::<Vec<NodeId>>() {
            if self.ask(&node, ToNode::BeaconKey { number, key })
                && let Some(link) = self.links.get_mut(&node)
            {
                link.key = Some(number);
            }
        }
    }

    /// Whether it will hear of it.
    fn ask(&self, node: &NodeId, what: ToNode) -> bool {
        let Some(link) = self.links.get(node) else { return false };
        let sent = link.asks.try_send(what);
        if let Err(error) = &sent {
            tracing::debug!(%node, %error, "a node takes no requests about its topology");
        }
        sent.is_ok()
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Linked { node, stream, asks } => {
                let (ends, whose) = (asks.clone(), node.clone());
                // However the stream ends, its end of the channel goes with it.
                let watch = self.gone.spawn(async move {
                    ends.closed().await;
                    (whose, stream)
                });
                if let Some(before) = self.links.insert(node.clone(), Link { stream, asks, watch, key: None })
                {
                    // The last that holds its channel, without which it ends.
                    before.watch.abort();
                }
                self.on_link(&node, true);
                self.give_key();
            }
            Message::Said { node, stream, said } => {
                if self.has(&node, stream) {
                    self.on_said(&node, said);
                }
            }
        }
    }

    fn has(&self, node: &NodeId, stream: u64) -> bool {
        self.links.get(node).is_some_and(|link| link.stream == stream)
    }

    /// `None`: another stream took its place.
    fn on_gone(&mut self, gone: Option<(NodeId, u64)>) {
        if let Some((node, stream)) = gone
            && self.has(&node, stream)
        {
            self.links.remove(&node);
            self.on_link(&node, false);
            self.ask_for_fabrics();
        }
    }

    fn on_link(&mut self, node: &NodeId, linked: bool) {
        self.survey.linked(node, linked);
        let is_twin =
            self.publish.borrow().as_ref().is_some_and(|current| current.facts.twins.contains(node));
        self.due.on_news(Instant::now(), News::of(is_twin));
    }

    fn on_said(&mut self, node: &NodeId, said: Said) {
        let now = wall();
        let news = match said {
            Said::Machine(machine) => {
                let news = self.survey.machine(now, node, machine);
                // It may have its first port in a subnet.
                if news == News::Facts {
                    self.ask_for_fabrics();
                }
                news
            }
            Said::Fabric { subnet, evidence } => self.survey.fabric(node, subnet, evidence),
            Said::Other(FromNode::Neighbours(all)) => self.survey.neighbours(now, node, all),
            Said::Other(FromNode::Heard { beacons, whole }) => self.survey.heard(now, node, beacons, whole),
            Said::Other(FromNode::Policy(policy)) => {
                self.policies.send_modify(|all| drop(all.insert(node.clone(), policy)));
                News::Nothing
            }
            Said::Other(FromNode::Fabrics(subnets)) => {
                self.survey.can_tell_fabrics(node, subnets);
                self.ask_for_fabrics();
                News::Nothing
            }
            // Parts, which the stream has put together.
            Said::Other(FromNode::Machine { .. } | FromNode::Fabric { .. }) => News::Nothing,
        };
        self.due.on_news(Instant::now(), news);
    }

    fn ask_for_fabrics(&mut self) {
        for (subnet, node) in self.survey.ask() {
            if !self.ask(&node, ToNode::TellFabric { subnet }) {
                self.survey.not_asked(subnet);
            }
        }
    }

    /// Elsewhere. What comes meanwhile waits for the next time.
    async fn on_due(&mut self) {
        let (news, survey, old) = (self.due.take(), self.survey.clone(), self.publish.borrow().clone());
        let not_taken = self.not_taken.clone();
        let renewed = tokio::task::spawn_blocking(move || {
            current::renew(&survey, old.as_deref(), news, wall(), &not_taken)
        })
        .await;
        self.due.rest(Instant::now());
        match renewed {
            Ok(Ok((current, changes))) => {
                current.log(&changes);
                self.publish.send_replace(Some(Arc::new(current)));
            }
            Ok(Err(error)) => tracing::error!(%error, "the topology is not derived: the last one stays"),
            Err(error) => tracing::error!(%error, "the topology is not derived: the last one stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(pool: &str) -> Said {
        let labels = vec![("pool".to_owned(), pool.to_owned())];
        Said::Other(FromNode::Policy(Policy { labels, ..Policy::default() }))
    }

    #[tokio::test]
    async fn a_node_that_had_no_room_for_the_key_of_beacons_gets_it_at_the_next_look_and_once() {
        let (surveys, mut owner) = Surveys::new(Files::default());
        owner.renew_key();
        let (asks, mut asked) = mpsc::channel(1);
        asks.try_send(ToNode::TellFabric { subnet: 7 }).unwrap();
        owner.on_message(Message::Linked { node: NodeId::new("a-000001"), stream: surveys.stream(), asks });
        assert_eq!(asked.recv().await, Some(ToNode::TellFabric { subnet: 7 }));
        assert!(asked.try_recv().is_err());
        owner.on_look().await;
        assert!(matches!(asked.try_recv(), Ok(ToNode::BeaconKey { .. })));
        owner.on_look().await;
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn labels_are_known_before_any_facts_are() {
        let (surveys, owner) = Surveys::new(Files::default());
        let (node, stream) = (NodeId::new("a-000001"), surveys.stream());
        let (asks, _asked) = mpsc::channel(ASKS_QUEUED);
        assert!(surveys.tell(Message::Linked { node: node.clone(), stream, asks }).await);
        assert!(surveys.tell(Message::Said { node: node.clone(), stream, said: labelled("a") }).await);
        let mut policies = surveys.policies.clone();
        tokio::select! {
            () = owner.run() => {}
            _ = policies.changed() => {}
        }
        let labels = vec![("pool".to_owned(), "a".to_owned())];
        assert_eq!((surveys.labels(&node), surveys.current().is_none()), (labels, true));
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_node_opens_another_and_counts_no_more() {
        let (surveys, owner) = Surveys::new(Files::default());
        let node = NodeId::new("a-000001");
        let [old, new] = [surveys.stream(), surveys.stream()];
        let (asks, mut asked) = mpsc::channel(ASKS_QUEUED);
        assert!(surveys.tell(Message::Linked { node: node.clone(), stream: old, asks }).await);
        let (asks, _asked) = mpsc::channel(ASKS_QUEUED);
        assert!(surveys.tell(Message::Linked { node: node.clone(), stream: new, asks }).await);
        for (stream, pool) in [(new, "new"), (old, "old")] {
            assert!(surveys.tell(Message::Said { node: node.clone(), stream, said: labelled(pool) }).await);
        }
        let ended = async { while asked.recv().await.is_some() {} };
        tokio::select! {
            () = owner.run() => {}
            ended = tokio::time::timeout(std::time::Duration::from_secs(10), ended) => ended.unwrap(),
        }
        assert_eq!(surveys.labels(&node), [("pool".to_owned(), "new".to_owned())]);
    }
}
