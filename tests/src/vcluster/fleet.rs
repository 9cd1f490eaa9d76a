//! The workers and their shims: the real worker core, driven by what reaches its machine.

use std::time::Duration;

use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_common::order::Order;
use phalanx_common::report::Report;
use phalanx_worker_core::shim::{ShimOrder, ShimReport};
use phalanx_worker_core::{Command as WorkerCommand, Input as WorkerInput};

use super::invariants::{self, Invariant};
use super::net::Way;
use super::reign::brief;
use super::sabotage::Sabotage;
use super::shim::{Around, Shim};
use super::world::{Happening, LOCAL, World};

/// A machine that is slower than this has lost its connection.
const SLOWEST: Duration = Duration::from_secs(4);
/// A shim gives up on a peer after this.
const SILENT_AFTER: Duration = Duration::from_millis(2750);

impl World {
    pub(crate) fn on_worker_notices(&mut self, connection: u64, node: &NodeId) {
        let Some(machine) = self.machines.get_mut(node).filter(|m| m.connection == Some(connection)) else {
            return;
        };
        machine.connection = None;
        let life = machine.life;
        self.drive_worker(node, WorkerInput::LinkDown);
        let retry = self.rng.millis(100, 1000);
        self.after(retry, Happening::Connect { node: node.clone(), life });
    }

    pub(crate) fn on_connect(&mut self, node: &NodeId, life: u64) {
        let Some(machine) = self.machines.get(node) else { return };
        if machine.life != life || machine.worker.is_none() || machine.connection.is_some() {
            return;
        }
        if self.reign.is_none() || machine.cut_until > self.now {
            let retry = self.rng.millis(200, 1000);
            return self.after(retry, Happening::Connect { node: node.clone(), life });
        }
        let connection = self.net.connect(node, self.now);
        if let Some(machine) = self.machines.get_mut(node) {
            machine.connection = Some(connection);
        }
        self.drive_worker(node, WorkerInput::LinkUp);
    }

    pub(crate) fn on_start_worker(&mut self, node: NodeId, life: u64) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node).filter(|machine| machine.life == life) else {
            return;
        };
        machine.start_worker();
        machine.last_order = now;
        let life = machine.life;
        self.after(LOCAL, Happening::Connect { node, life });
    }

    pub(crate) fn deliver_stale_order(&mut self, node: &NodeId) {
        let Some(epoch) =
            self.machines.get(node).and_then(|m| m.worker.as_ref()).map(|worker| worker.epoch())
        else {
            return;
        };
        let stale: Vec<Order> = self
            .old_orders
            .iter()
            .filter(|(to, order)| to == node && order.epoch < epoch)
            .map(|(_, order)| order.clone())
            .collect();
        if let Some(order) = self.rng.pick(&stale).cloned() {
            self.injected("stale order");
            self.deliver_order(node, order);
        }
    }

    pub(crate) fn deliver_order(&mut self, node: &NodeId, order: Order) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(node) else { return };
        let Some(epoch) = machine.worker.as_ref().map(|worker| worker.epoch()) else { return };
        let stale = order.epoch < epoch;
        self.trace.add(now, || format!("{node} <- epoch {} {}", order.epoch, brief(&order)));
        let mut passed = order.clone();
        if stale && self.setup.sabotage == Some(Sabotage::AcceptStaleOrders) {
            passed.epoch = epoch;
        }
        if !stale {
            machine.last_order = now;
        }
        let commands = self.ask_worker(node, WorkerInput::Order(passed));
        if stale && let Some(what) = invariants::stale_order_changes_nothing(&order, &commands) {
            self.violated(Invariant::I3, what);
        }
        self.obey_worker(node, commands);
    }

    pub(crate) fn drive_worker(&mut self, node: &NodeId, input: WorkerInput) {
        self.trace.add(self.now, || format!("{node} <- {input:?}"));
        let commands = self.ask_worker(node, input);
        self.obey_worker(node, commands);
    }

    fn ask_worker(&mut self, node: &NodeId, input: WorkerInput) -> Vec<WorkerCommand> {
        let now = self.now;
        let Some(worker) = self.machines.get_mut(node).and_then(|machine| machine.worker.as_mut()) else {
            return Vec::new();
        };
        worker.handle(now, input);
        std::iter::from_fn(|| worker.poll_command()).collect()
    }

    fn obey_worker(&mut self, node: &NodeId, commands: Vec<WorkerCommand>) {
        let life = self.life_of(node);
        for command in commands {
            let Some(machine) = self.machines.get_mut(node) else { return };
            match command {
                WorkerCommand::SpawnShim { job, .. } => {
                    self.numbered += 1;
                    machine.shims.insert(self.numbered, Shim::new(job.clone(), node.clone()));
                    machine.shim_of.insert(job.clone(), self.numbered);
                    let spawned = self.rng.millis(1, 20);
                    let spawned = self.takes(node, spawned);
                    let input = WorkerInput::ShimUp { job };
                    self.after(spawned, Happening::WorkerInput { node: node.clone(), life, input });
                }
                WorkerCommand::ToShim { job, order: ShimOrder::Probe { generation, target, .. } } => {
                    self.probe(node, life, job, generation, target);
                }
                WorkerCommand::ToShim { job, order } => {
                    if let Some(shim) = machine.shim_of.get(&job).copied() {
                        self.note_shim_order(node, life, &job, &order);
                        self.after(LOCAL, Happening::ToShim { node: node.clone(), life, shim, order });
                    }
                }
                WorkerCommand::CloseShim { job } => {
                    machine.shim_of.remove(&job);
                }
                WorkerCommand::Sweep { job, .. } => {
                    let time = self.rng.millis(1, 50);
                    let time = self.takes(node, time);
                    self.after(time, Happening::Sweep { node: node.clone(), life, job });
                }
                WorkerCommand::ToCoordinator(report) => self.send_report(node, report),
            }
        }
    }

    /// The shim asks its peer on the data plane: a shim that lives there answers, whatever its worker does.
    fn probe(&mut self, node: &NodeId, life: u64, job: JobId, generation: Generation, target: NodeId) {
        // The question goes one way, the answer the other.
        let open =
            |node: &NodeId| self.machines.get(node).is_some_and(|machine| machine.data_is_open(self.now));
        let answers = self.machines.get(&target).is_some_and(|machine| {
            machine.shims.values().any(|shim| shim.job == job && shim.generation() == Some(generation))
        });
        let heard = answers && open(node) && open(&target);
        let after = if heard { self.delay() } else { SILENT_AFTER };
        let report = ShimReport::Probed { generation, target, heard };
        let input = WorkerInput::ShimReport { job, report };
        self.after(after, Happening::WorkerInput { node: node.clone(), life, input });
    }

    /// I3 at the shim: no generation twice, none after a later one.
    fn note_shim_order(&mut self, node: &NodeId, life: u64, job: &JobId, order: &ShimOrder) {
        let ShimOrder::Prepare(plan) = order else { return };
        let key = (node.clone(), life, job.clone());
        let before = self.witness.shim_generations.insert(key, plan.generation);
        if before.is_some_and(|before| before >= plan.generation) {
            let what = format!("the shim of job {job} on node {node} prepares {} again", plan.generation);
            self.violated(Invariant::I3, what);
        }
    }

    fn send_report(&mut self, node: &NodeId, report: Report) {
        if self.setup.sabotage == Some(Sabotage::SwallowPodEnded) && matches!(report, Report::PodEnded { .. })
        {
            return;
        }
        let Some(connection) = self.machines.get(node).and_then(|machine| machine.connection) else { return };
        let delay = self.delay();
        let at = self.now + self.takes(node, delay).min(SLOWEST);
        let at = self.net.arrives(connection, Way::Out, at);
        self.at(at, Happening::ToCoordinator { connection, node: node.clone(), report });
    }

    /// Lets a shim act, then passes on what it said and when it acts next.
    pub(crate) fn with_shim(&mut self, node: &NodeId, id: u64, act: impl FnOnce(&mut Shim, &mut Around<'_>)) {
        let Some(machine) = self.machines.get_mut(node) else { return };
        let slow = machine.slowness(self.now);
        let Some(shim) = machine.shims.get_mut(&id) else { return };
        let job = shim.job.clone();
        let mut around = Around {
            now: self.now,
            scripts: &self.setup.scripts,
            processes: &mut machine.processes,
            foreign_ports: &machine.foreign_ports,
            slow,
            sabotage: self.setup.sabotage,
            met: Vec::new(),
            reports: Vec::new(),
            prepared: Vec::new(),
            released: Vec::new(),
            ready: Vec::new(),
            broken: Vec::new(),
        };
        act(shim, &mut around);
        let (reports, prepared, released) = (around.reports, around.prepared, around.released);
        let (broken, ready, met) = (around.broken, around.ready, around.met);
        self.witness.ready.extend(ready);
        if self.setup.sabotage == Some(Sabotage::RenewWithoutOrders) {
            shim.renew_forever();
        }
        let (wake, gone) = (shim.next_wake(), shim.gone);
        if gone {
            machine.shims.remove(&id);
        }
        met.into_iter().for_each(|what| self.injected(what));
        for what in broken {
            self.violated(Invariant::I1, format!("shim of job {job} on node {node}: {what}"));
        }
        for (job, generation) in prepared {
            self.witness.prepared.insert((job.clone(), generation, node.clone()));
            if self.setup.sabotage == Some(Sabotage::ForgeGo) {
                let life = self.life_of(node);
                let order = ShimOrder::Go { generation };
                self.after(LOCAL, Happening::ToShim { node: node.clone(), life, shim: id, order });
            }
        }
        for (job, generation) in released {
            if !self.witness.released.contains(&(job.clone(), generation)) {
                let what = format!("job {job} generation {generation} runs on node {node} without a record");
                self.violated(Invariant::I2, what);
            }
        }
        for report in reports {
            self.tell_worker(node, WorkerInput::ShimReport { job: job.clone(), report });
        }
        if gone {
            // It has a directory to remove first.
            let (tidied, life) = (self.rng.millis(1, 300), self.life_of(node));
            let tidied = self.takes(node, tidied);
            let input = WorkerInput::ShimLost { job, why: "exit status: 0".to_owned() };
            self.after(tidied, Happening::WorkerInput { node: node.clone(), life, input });
        }
        if let Some(at) = wake {
            // A wake-up that comes too early does nothing.
            let at = at.max(self.now);
            self.at(at, Happening::ShimWake { node: node.clone(), shim: id });
        }
    }
}
