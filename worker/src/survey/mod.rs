//! Tells the coordinator what this node is and what is around it, and again whenever that changes.
//!
//! ```text
//! every 10 s: Looker (blocks, elsewhere) --> Look: machine, tools' neighbours, interfaces --+
//! LLDP frames, beacons -----------------------------------------------------------------------+--> FromNode
//! ToNode: key of beacons, whose fabric is wanted --> beacons leave by every interface
//! ```
//!
//! One task owns all of it. It has nothing to do with jobs: whatever goes wrong here costs knowledge and no rank.

mod beat;
mod fabrics;
mod looker;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phalanx_common::defaults::{BEACON_LOST, BEACON_PORT, LOOK_EVERY};
use phalanx_common::topology::machine::Machine;
use phalanx_common::wire::topology_v1::{FromNode, Neighbour, Policy, ToNode};
use rand::Rng;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::discovery::beacon::{self, Beacon, Interface, Keys, News, Sockets};
use crate::discovery::fabric::{self, Gate};
use crate::discovery::lldp::{self, Listener};
use crate::link::{self, TopologyLink};
use beat::Beat;
use fabrics::Fabrics;
pub use looker::{Look, Looker};
use tell::Told;

/// All tools of a look together take less, if the drivers are well.
const SLOW: Duration = Duration::from_secs(60);

/// What a node says of itself, for as long as it works.
#[derive(Debug)]
pub struct Surveyor<L> {
    /// Its id in the cluster.
    node: String,
    policy: Policy,
    links: mpsc::Receiver<L>,
    link: Option<L>,
    looker: Option<Looker>,
    looking: JoinSet<(Looker, Look)>,
    look_at: Instant,
    /// When a look that is not over is worth a word.
    slow_at: Option<Instant>,
    /// The last look was slow, and that was said.
    slow: bool,
    expire_at: Instant,
    /// Since when ports are there that may not have heard all yet.
    listens_since: Instant,
    tell_at: Option<Instant>,
    machine: Machine,
    /// As lldpd says, where it answers.
    of_lldpd: Option<Vec<Neighbour>>,
    /// At ports that are not the host's.
    beyond: Vec<Neighbour>,
    frames: lldp::Table,
    listener: Option<Listener>,
    beacons: beacon::Table,
    sockets: Option<Sockets>,
    keys: Keys,
    interfaces: Vec<Interface>,
    beat: Beat,
    /// Of all beacons: whoever starts again may have a clock that was set back.
    session: u64,
    /// Of the last beacon.
    sequence: u64,
    walking: JoinSet<(u64, Result<Vec<u8>, fabric::Error>)>,
    /// Subnets that this node can walk.
    gates: BTreeMap<u64, Gate>,
    fabrics: Fabrics,
    told: Told,
}

impl<L: TopologyLink> Surveyor<L> {
    /// Says so once where something of the host's cannot be used.
    pub fn new(node: String, policy: Policy, looker: Looker, links: mpsc::Receiver<L>) -> Surveyor<L> {
        let sockets = Sockets::open(BEACON_PORT).inspect_err(|error| {
            tracing::warn!(%error, port = BEACON_PORT, "no beacons: who shares a layer-2 domain with this node is not found");
        });
        let listener = Listener::open().inspect_err(|error| {
            tracing::info!(%error, "LLDP is known from lldpd alone, if it runs: hearing frames takes CAP_NET_RAW");
        });
        let now = Instant::now();
        Surveyor {
            node,
            policy,
            links,
            link: None,
            looker: Some(looker),
            looking: JoinSet::new(),
            look_at: now,
            slow_at: None,
            slow: false,
            expire_at: now + LOOK_EVERY,
            listens_since: now,
            tell_at: None,
            machine: Machine::default(),
            of_lldpd: None,
            beyond: Vec::new(),
            frames: lldp::Table::default(),
            listener: listener.ok(),
            beacons: beacon::Table::new(BEACON_LOST),
            sockets: sockets.ok(),
            keys: Keys::default(),
            interfaces: Vec::new(),
            beat: Beat::default(),
            session: rand::rng().random(),
            sequence: 0,
            walking: JoinSet::new(),
            gates: BTreeMap::new(),
            fabrics: Fabrics::default(),
            told: Told::default(),
        }
    }

    /// Until nobody dials any more.
    pub async fn run(mut self) {
        loop {
            let look_at = if self.looker.is_some() { Some(self.look_at) } else { None };
            tokio::select! {
                link = self.links.recv() => match link {
                    Some(link) => self.on_link(link),
                    None => return,
                },
                asked = asked(&mut self.link) => self.on_asked(asked).await,
                () = at(look_at) => self.look(),
                Some(looked) = self.looking.join_next() => self.on_look(looked),
                () = at(self.slow_at) => self.on_slow_look(),
                () = at(Some(self.expire_at)) => self.expire(),
                () = at(self.beat.next()) => self.send_beacons(),
                arrived = beacon_arrived(self.sockets.as_ref()) => self.on_beacon(arrived),
                arrived = frame_arrived(self.listener.as_ref()) => self.on_frame(arrived),
                Some(walked) = self.walking.join_next() => self.on_walked(walked).await,
                () = at(self.tell_at) => self.tell().await,
            }
        }
    }

    /// Another coordinator, or one that was started again, knows nothing.
    fn on_link(&mut self, link: L) {
        self.link = Some(link);
        self.told = Told::default();
        self.fabrics.unwanted();
        self.tell_soon();
    }

    async fn on_asked(&mut self, asked: Result<ToNode, link::Error>) {
        match asked {
            Ok(ToNode::BeaconKey { number, key }) => {
                let first = self.keys.is_empty();
                self.keys.add(number, &key);
                if first {
                    self.beat.burst(Instant::now());
                }
            }
            Ok(ToNode::TellFabric { subnet }) => {
                if let Some(known) = self.fabrics.want(Instant::now(), subnet) {
                    self.tell_fabric(subnet, &known).await;
                }
                self.walk();
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the topology stream ended");
                self.link = None;
            }
        }
    }

    fn look(&mut self) {
        if let Some(mut looker) = self.looker.take() {
            self.slow_at = Some(Instant::now() + SLOW);
            self.looking.spawn_blocking(move || {
                let look = looker.look();
                (looker, look)
            });
        }
    }

    fn on_slow_look(&mut self) {
        self.slow_at = None;
        if !self.slow {
            tracing::warn!(
                "looking at this machine takes longer than {} s: a driver or one of its tools may hang; until it answers, changes here are not told",
                SLOW.as_secs()
            );
        }
        self.slow = true;
    }

    /// What is not heard any more; however long a look takes.
    fn expire(&mut self) {
        self.expire_at = Instant::now() + LOOK_EVERY;
        let before = self.neighbours();
        let now = std::time::Instant::now();
        if self.frames.expire(now) | self.beacons.expire(now) {
            self.after_neighbours(&before);
            self.tell_soon();
        }
    }

    fn on_look(&mut self, looked: Result<(Looker, Look), JoinError>) {
        let (looker, look) = match looked {
            Ok(looked) => looked,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        self.looker = Some(looker);
        self.look_at = Instant::now() + LOOK_EVERY;
        if self.slow_at.take().is_some() {
            self.slow = false;
        }
        let before = self.neighbours();
        (self.machine, self.gates) = (look.machine, look.gates);
        (self.of_lldpd, self.beyond) = (look.neighbours, look.beyond);
        self.use_interfaces(look.interfaces);
        self.after_neighbours(&before);
        self.walk();
        if self.untold() {
            self.tell_soon();
        }
    }

    /// Interfaces that came are listened on; of those that went nothing is heard.
    fn use_interfaces(&mut self, interfaces: Vec<Interface>) {
        if let Some(sockets) = &mut self.sockets {
            sockets.listen_on(&interfaces);
        }
        if interfaces == self.interfaces {
            return;
        }
        let is_new = |interface: &&Interface| !self.interfaces.contains(interface);
        for interface in interfaces.iter().filter(is_new) {
            if let Some(listener) = &self.listener
                && let Err(error) = listener.listen_on(interface.index)
            {
                tracing::debug!(%error, interface = interface.name, "LLDP is not listened to");
            }
        }
        for gone in self.interfaces.iter().filter(|known| !interfaces.contains(known)) {
            self.beacons.forget(&gone.name);
            self.frames.forget(&gone.name);
        }
        if interfaces.iter().any(|it| is_new(&it)) {
            self.listens_since = Instant::now();
        }
        self.interfaces = interfaces;
        self.beat.burst(Instant::now());
    }

    /// Where a switch is at the other end no more, and another is, what was heard before says nothing.
    fn after_neighbours(&mut self, before: &[Neighbour]) {
        let now = self.neighbours();
        let of = |all: &[Neighbour], interface: &str| -> BTreeSet<Neighbour> {
            all.iter().filter(|neighbour| neighbour.interface == interface).cloned().collect()
        };
        let mut moved = false;
        for interface in &self.interfaces {
            let (was, is) = (of(before, &interface.name), of(&now, &interface.name));
            if !is.is_empty() && !was.is_subset(&is) {
                self.beacons.forget(&interface.name);
                moved = true;
            }
        }
        if moved {
            self.beat.burst(Instant::now());
            self.tell_soon();
        }
    }

    fn neighbours(&self) -> Vec<Neighbour> {
        let mut neighbours = self.of_lldpd.clone().unwrap_or_else(|| self.frames.neighbours());
        neighbours.extend(self.beyond.iter().cloned());
        neighbours.sort();
        neighbours
    }

    fn send_beacons(&mut self) {
        self.beat.sent(Instant::now());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        // The host's clock may be set back.
        let sequence = now.max(self.sequence.saturating_add(1));
        self.sequence = sequence;
        let Some(sockets) = &self.sockets else { return };
        for interface in &self.interfaces {
            let (node, session) = (self.node.clone(), self.session);
            let beacon = Beacon { node, interface: interface.name.clone(), session, sequence };
            if let Some(bytes) = self.keys.seal(&beacon) {
                // A full queue, an address that is not ready: the next one comes.
                sockets.send(interface, &bytes);
            }
        }
    }

    fn on_beacon(&mut self, arrived: std::io::Result<beacon::Arrived>) {
        let arrived = match arrived {
            Ok(arrived) => arrived,
            Err(error) => {
                tracing::warn!(%error, "the beacons' socket is broken: none are heard any more");
                self.sockets = None;
                return;
            }
        };
        let Some(beacon) = self.keys.open(&arrived.bytes) else { return };
        let Some(interface) = self.interfaces.iter().find(|it| it.index == arrived.interface) else { return };
        if beacon.node == self.node && beacon.interface == interface.name {
            return;
        }
        match self.beacons.note(std::time::Instant::now(), &interface.name, beacon) {
            // Whoever is new wants to hear us, too.
            News::New => {
                self.beat.answer(Instant::now());
                self.tell_soon();
            }
            News::Burst => self.beat.answer_burst(Instant::now()),
            News::Nothing => {}
        }
    }

    fn on_frame(&mut self, arrived: std::io::Result<lldp::Arrived>) {
        let arrived = match arrived {
            Ok(arrived) => arrived,
            Err(error) => {
                tracing::warn!(%error, "the socket for LLDP is broken: no frames are heard any more");
                self.listener = None;
                return;
            }
        };
        let Some(interface) = self.interfaces.iter().find(|it| it.index == arrived.interface) else { return };
        // Anybody on the cable can send nonsense: no line of the log each.
        let Ok(frame) = phalanx_formats::lldp::frame(&arrived.frame) else { return };
        let before = self.neighbours();
        if self.frames.note(std::time::Instant::now(), &interface.name.clone(), &frame) {
            self.after_neighbours(&before);
            self.tell_soon();
        }
    }

    /// One walk at a time.
    fn walk(&mut self) {
        if self.walking.is_empty()
            && let Some((subnet, gate)) = self.fabrics.next(Instant::now(), &self.gates)
        {
            self.walking.spawn_blocking(move || (subnet, fabric::walk(&gate)));
        }
    }

    async fn on_walked(&mut self, walked: Result<(u64, Result<Vec<u8>, fabric::Error>), JoinError>) {
        let now = Instant::now();
        match walked {
            Ok((subnet, Ok(dump))) => {
                if self.fabrics.walked(now, subnet, &dump) {
                    self.tell_fabric(subnet, &dump).await;
                }
            }
            Ok((subnet, Err(error))) => {
                if self.fabrics.failed(now, subnet, error.to_string()) {
                    tracing::warn!(%error, "the InfiniBand fabric cannot be told; tried again, less and less often");
                }
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
        self.walk();
    }

    async fn tell_fabric(&mut self, subnet: u64, dump: &[u8]) {
        let told = self.tell_parts(dump, |part, last| FromNode::Fabric { subnet, part, last }).await;
        self.ended(told);
    }
}

async fn asked<L: TopologyLink>(link: &mut Option<L>) -> Result<ToNode, link::Error> {
    match link {
        Some(link) => link.asked().await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn beacon_arrived(sockets: Option<&Sockets>) -> std::io::Result<beacon::Arrived> {
    match sockets {
        Some(sockets) => sockets.recv().await,
        None => std::future::pending().await,
    }
}

async fn frame_arrived(listener: Option<&Listener>) -> std::io::Result<lldp::Arrived> {
    match listener {
        Some(listener) => listener.recv().await,
        None => std::future::pending().await,
    }
}
