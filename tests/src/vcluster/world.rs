//! The world: time, what happens next, and everything that is.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::event::Event;
use phalanx_common::id::{Epoch, JobId, NodeId};
use phalanx_common::order::Order;
use phalanx_common::report::Report;
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::{Config, Coordinator, Input, Record};
use phalanx_worker_core::Input as WorkerInput;
use phalanx_worker_core::shim::ShimOrder;

use super::faults::Fault;
use super::invariants::{self, Invariant, Violation};
use super::machine::Machine;
use super::net::{Net, Passage, Way};
use super::rng::Rng;
use super::sabotage::Sabotage;
use super::script::Scripts;
use super::shim::Shim;
use super::trace::Trace;
use super::witness::Witness;

/// What a world begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub config: Config,
    pub nodes: Vec<NodeId>,
    pub scripts: Scripts,
    pub sabotage: Option<Sabotage>,
    /// Nothing is left to chance: what goes over the network takes as long as it mostly does.
    pub calm: bool,
    /// Keep the log of the run.
    pub trace: bool,
}

/// A virtual cluster.
#[derive(Debug)]
pub struct World {
    pub now: Timestamp,
    pub setup: Setup,
    /// Everything the coordinators said, of all reigns.
    pub events: Vec<Event>,
    pub store: Vec<Record>,
    pub violations: Vec<Violation>,
    /// How often each kind of fault met something that it could harm.
    pub injected: BTreeMap<&'static str, u64>,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) net: Net,
    pub(crate) reign: Option<Coordinator>,
    pub(crate) clock_offset: i64,
    pub(crate) crash_after: Option<(u32, Duration)>,
    pub(crate) old_orders: Vec<(NodeId, Order)>,
    pub(crate) stored: u64,
    pub(crate) rng: Rng,
    pub(crate) trace: Trace,
    pub(crate) witness: Witness,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    happened: u64,
    pub(crate) numbered: u64,
}

/// Something that happens at its time.
#[derive(Debug)]
pub(crate) enum Happening {
    ToCoordinator {
        connection: u64,
        node: NodeId,
        report: Report,
    },
    ToWorker {
        connection: u64,
        node: NodeId,
        order: Order,
    },
    CoordinatorNotices {
        connection: u64,
        node: NodeId,
    },
    WorkerNotices {
        connection: u64,
        node: NodeId,
    },
    Connect {
        node: NodeId,
        life: u64,
    },
    /// From the shims or the shell of a machine to its worker.
    WorkerInput {
        node: NodeId,
        life: u64,
        input: WorkerInput,
    },
    ToShim {
        node: NodeId,
        life: u64,
        shim: u64,
        order: ShimOrder,
    },
    ShimWake {
        node: NodeId,
        shim: u64,
    },
    Sweep {
        node: NodeId,
        life: u64,
        job: JobId,
    },
    StartWorker {
        node: NodeId,
        life: u64,
    },
    /// The shims of a dead worker have ended their pods.
    Orphans {
        node: NodeId,
        life: u64,
    },
    CoordinatorBack,
    /// Time passes.
    Nothing,
    Submit {
        job: JobId,
        spec: Box<phalanx_common::spec::JobSpec>,
    },
    Fault(Fault),
}

/// Where the world's clock begins.
pub(crate) const BEGINNING: Timestamp = Timestamp(1_800_000_000_000_000);
/// Messages between a worker and its shims.
pub(crate) const LOCAL: Duration = Duration::from_micros(50);
/// How often I8 is checked, in steps: replaying is the dearest check.
const REPLAY_EVERY: u64 = 16;

impl World {
    pub fn new(setup: Setup) -> World {
        let machines = setup.nodes.iter().map(|id| (id.clone(), Machine::new(id.clone()))).collect();
        let mut world = World {
            now: BEGINNING,
            events: Vec::new(),
            store: Vec::new(),
            violations: Vec::new(),
            injected: BTreeMap::new(),
            machines,
            net: Net::default(),
            reign: None,
            clock_offset: 0,
            crash_after: None,
            old_orders: Vec::new(),
            stored: 0,
            rng: if setup.calm { Rng::calm() } else { Rng::fork(setup.seed, "world") },
            trace: Trace::new(setup.trace),
            witness: Witness::default(),
            queue: BTreeMap::new(),
            happened: 0,
            numbered: 0,
            setup,
        };
        world.witness.epoch = Epoch::default();
        world.begin_reign();
        for node in world.setup.nodes.clone() {
            let life = world.life_of(&node);
            world.after(LOCAL, Happening::Connect { node, life });
        }
        world
    }

    /// How many things have happened.
    pub fn steps(&self) -> u64 {
        self.happened
    }

    /// Every process that is alive, with its node.
    pub fn processes(&self) -> impl Iterator<Item = (&NodeId, &super::machine::Process)> {
        self.machines
            .iter()
            .flat_map(|(id, machine)| machine.processes.iter().map(move |process| (id, process)))
    }

    pub fn trace_lines(&self) -> &[String] {
        self.trace.lines()
    }

    /// Lets this go wrong after this time.
    pub fn schedule(&mut self, after: Duration, fault: Fault) {
        self.after(after, Happening::Fault(fault));
    }

    /// Submits a job after this time, if there is a coordinator then; if not, once there is.
    pub fn submit_after(&mut self, after: Duration, job: JobId, spec: phalanx_common::spec::JobSpec) {
        self.after(after, Happening::Submit { job, spec: Box::new(spec) });
    }

    /// Lets the next thing happen, then checks the invariants. False: nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        let due = self.coordinator_due();
        match (next, due) {
            (None, None) => return false,
            (next, Some(due)) if next.is_none_or(|next| due <= next) => {
                self.now = self.now.max(due);
                self.coordinator_timeout();
            }
            _ => {
                if let Some(((at, _), happening)) = self.queue.pop_first() {
                    self.now = self.now.max(at);
                    self.happen(happening);
                }
            }
        }
        self.happened += 1;
        for (invariant, what) in invariants::check_processes(self) {
            self.violated(invariant, what);
        }
        if self.happened.is_multiple_of(REPLAY_EVERY) {
            self.check_replay();
        }
        true
    }

    pub(crate) fn check_replay(&mut self) {
        if let Some(what) = invariants::check_replay(self) {
            self.violated(Invariant::I8, what);
        }
    }

    pub(crate) fn violated(&mut self, invariant: Invariant, what: String) {
        self.trace.add(self.now, || format!("BROKEN {invariant:?}: {what}"));
        self.violations.push(Violation { invariant, at: self.now, what });
    }

    pub(crate) fn injected(&mut self, what: &'static str) {
        *self.injected.entry(what).or_default() += 1;
    }

    pub(crate) fn at(&mut self, at: Timestamp, happening: Happening) {
        // Two things at the same time happen in the order in which they were decided.
        self.numbered += 1;
        self.queue.insert((at, self.numbered), happening);
    }

    pub(crate) fn after(&mut self, after: Duration, happening: Happening) {
        self.at(self.now + after, happening);
    }

    /// From one machine to another.
    pub(crate) fn delay(&mut self) -> Duration {
        if self.rng.chance(2) { self.rng.millis(50, 2000) } else { self.rng.millis(0, 5) }
    }

    pub(crate) fn life_of(&self, node: &NodeId) -> u64 {
        self.machines.get(node).map_or(0, |machine| machine.life)
    }

    /// Whether the coordinator believes in its connection to this node, and is right.
    pub(crate) fn within_reach(&self, node: &NodeId) -> bool {
        let believed = self.coordinator().and_then(|coordinator| coordinator.nodes().get(node));
        let connection = self.net.peers.get(node);
        believed.is_some_and(|node| node.reachable()) && connection.is_some_and(|id| self.net.alive(*id))
    }

    /// What takes so long on a machine as it should be, on this one.
    pub(crate) fn takes(&self, node: &NodeId, time: Duration) -> Duration {
        time * self.machines.get(node).map_or(1, |machine| machine.slowness(self.now))
    }

    /// Whether the ranks of this job may never end, and do not hang.
    pub(crate) fn may_run_on(&self, job: &JobId) -> bool {
        let Some(facts) = self.witness.jobs.get(job) else { return false };
        let Some(generation) = facts.generation else { return false };
        let mut shims = self.machines.values().flat_map(|machine| machine.shims.values());
        if shims.any(|shim| shim.job == *job && shim.hangs()) {
            return false;
        }
        let mut ranks = (0..facts.spec.world_size()).map(phalanx_common::id::Rank);
        ranks.any(|rank| self.setup.scripts.rank(job, generation, rank).runs.is_none())
    }

    /// Something the machine's own worker hears, in the order it was said.
    pub(crate) fn tell_worker(&mut self, node: &NodeId, input: WorkerInput) {
        let life = self.life_of(node);
        self.after(LOCAL, Happening::WorkerInput { node: node.clone(), life, input });
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(until) = self.frozen(&happening) {
            return self.at(until, happening);
        }
        match self.passage(&happening) {
            Passage::Arrives => {}
            Passage::HeldUntil(until) => return self.at(until, happening),
            Passage::Lost => return,
        }
        match happening {
            Happening::ToCoordinator { connection, node, report } => {
                self.on_to_coordinator(connection, node, report)
            }
            Happening::ToWorker { connection, node, order } => {
                let believed = self.machines.get(&node).and_then(|machine| machine.connection);
                if believed == Some(connection) {
                    self.deliver_order(&node, order);
                }
            }
            Happening::CoordinatorNotices { connection, node } => {
                // A newer connection of the same node outlives the end of an older one.
                if self.net.peers.get(&node) == Some(&connection) {
                    self.net.peers.remove(&node);
                    self.input(Input::NodeDisconnected { node });
                }
            }
            Happening::WorkerNotices { connection, node } => self.on_worker_notices(connection, &node),
            Happening::Connect { node, life } => self.on_connect(&node, life),
            Happening::WorkerInput { node, life, input } => {
                if self.life_of(&node) == life {
                    self.drive_worker(&node, input);
                }
            }
            Happening::ToShim { node, life, shim, order } => {
                if self.life_of(&node) == life {
                    self.with_shim(&node, shim, |shim, around| shim.handle(order, around));
                }
            }
            Happening::ShimWake { node, shim } => self.with_shim(&node, shim, Shim::wake),
            Happening::Sweep { node, life, job } => {
                if self.life_of(&node) == life
                    && let Some(machine) = self.machines.get_mut(&node)
                {
                    let killed = machine.processes.sweep(&job, None);
                    self.tell_worker(&node, WorkerInput::Swept { job, killed, survivors: Vec::new() });
                }
            }
            Happening::Orphans { node, life } => {
                if self.life_of(&node) == life
                    && let Some(machine) = self.machines.get_mut(&node)
                {
                    machine.stop_everything();
                    let life = machine.life;
                    self.after(LOCAL, Happening::StartWorker { node, life });
                }
            }
            Happening::StartWorker { node, life } => self.on_start_worker(node, life),
            Happening::CoordinatorBack => {
                if self.reign.is_none() {
                    self.begin_reign();
                }
            }
            Happening::Nothing => {}
            Happening::Submit { job, spec } => {
                if self.reign.is_some() {
                    self.submit(&job, *spec);
                } else {
                    self.after(Duration::from_secs(1), Happening::Submit { job, spec });
                }
            }
            Happening::Fault(fault) => {
                self.trace.add(self.now, || format!("fault {fault:?}"));
                self.apply_fault(fault);
            }
        }
    }

    /// When the worker this is meant for runs again, if it does not run.
    fn frozen(&self, happening: &Happening) -> Option<Timestamp> {
        let node = match happening {
            Happening::ToWorker { node, .. }
            | Happening::WorkerNotices { node, .. }
            | Happening::Connect { node, .. }
            | Happening::Sweep { node, .. }
            | Happening::WorkerInput { node, .. } => node,
            _ => return None,
        };
        self.machines.get(node)?.frozen_until.filter(|until| *until > self.now)
    }

    /// Whether a message gets through, if this is one.
    fn passage(&mut self, happening: &Happening) -> Passage {
        match happening {
            Happening::ToCoordinator { connection, .. } => self.net.passage(*connection, Way::Out, self.now),
            Happening::ToWorker { connection, .. } => self.net.passage(*connection, Way::In, self.now),
            _ => Passage::Arrives,
        }
    }

    fn on_to_coordinator(&mut self, connection: u64, node: NodeId, report: Report) {
        if self.reign.is_none() {
            return;
        }
        if let Report::Hello(hello) = &report {
            let known = self.coordinator().and_then(|coordinator| coordinator.nodes().get(&node));
            let incarnation = known.and_then(|node| node.facts.as_ref()).map(|facts| facts.incarnation);
            if incarnation.is_some_and(|incarnation| incarnation != hello.incarnation) {
                self.witness.forget_prepared(&node);
            }
            self.witness.forget_orders(&node);
            self.net.peers.insert(node.clone(), connection);
        }
        if self.net.peers.get(&node) == Some(&connection) {
            self.input(Input::Report { node, report });
        }
    }
}
