//! The coordinator process: the real core, its stored records, its clock, its death and return.

use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::identity::Owner;
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::restart::Charge;
use phalanx_launcher_core::{Command, Coordinator, Durable, Input, Record, Wish};

use super::invariants::{
    Invariant, View, changes_are_told, nothing_waits_in_vain, order_is_recorded, record_is_lawful,
};
use super::net::Way;
use super::sabotage::Sabotage;
use super::witness::PodKey;
use super::world::{Happening, World};

/// How many orders of earlier reigns are kept for replay.
const OLD_ORDERS: usize = 64;

impl World {
    pub fn coordinator(&self) -> Option<&Coordinator> {
        self.reign.as_ref()
    }

    pub fn submit(&mut self, job: &JobId, spec: JobSpec) {
        self.input(Input::Submit {
            job: job.clone(),
            spec: Box::new(spec),
            owner: Owner { name: "ann".into(), unix_user: None },
            attached: false,
        });
    }

    pub fn stop(&mut self, job: &JobId, force: bool) {
        let by = "SIGINT".to_owned();
        self.input(Input::Stop { job: job.clone(), by, status: ExitStatus::Signal(2), force });
    }

    pub fn suspend(&mut self, job: &JobId) {
        self.input(Input::Suspend { job: job.clone() });
    }

    pub fn resume(&mut self, job: &JobId) {
        self.input(Input::Resume { job: job.clone() });
    }

    /// What an operator wants of a node.
    pub fn wish(&mut self, node: &NodeId, wish: Wish) {
        self.input(Input::Node { node: node.clone(), by: "root".into(), wish });
    }

    /// The coordinator's clock, which jumps now and then.
    pub(crate) fn coordinator_now(&self) -> Timestamp {
        Timestamp(self.now.0.saturating_add_signed(self.clock_offset))
    }

    /// When the coordinator's next deadline is due, on the world's clock.
    pub(crate) fn coordinator_due(&self) -> Option<Timestamp> {
        let (at, _) = self.reign.as_ref()?.poll_timeout()?;
        Some(Timestamp(at.0.saturating_add_signed(-self.clock_offset)))
    }

    pub(crate) fn jump_clock(&mut self, by_micros: i64) {
        self.clock_offset += by_micros;
        self.input(Input::ClockJumped { by_micros });
    }

    /// Hands an input to the coordinator, if there is one, and does what it says.
    pub(crate) fn input(&mut self, input: Input) {
        self.trace.add(self.now, || format!("coordinator <- {input:?}"));
        let now = self.coordinator_now();
        self.drive(|coordinator| coordinator.handle(now, input));
    }

    pub(crate) fn coordinator_timeout(&mut self) {
        let now = self.coordinator_now();
        let trace = self.reign.as_ref().and_then(Coordinator::poll_timeout);
        self.trace.add(self.now, || format!("coordinator deadline {trace:?}"));
        self.drive(|coordinator| coordinator.handle_timeout(now));
    }

    fn drive(&mut self, act: impl FnOnce(&mut Coordinator)) {
        let Some(coordinator) = &mut self.reign else { return };
        let before = View::of(coordinator);
        act(coordinator);
        let after = View::of(coordinator);
        let mut events: Vec<_> = std::iter::from_fn(|| coordinator.poll_event()).collect();
        let mut commands: Vec<_> = std::iter::from_fn(|| coordinator.poll_command()).collect();
        if self.setup.sabotage == Some(Sabotage::DropEvents) {
            events.clear();
        }
        for event in &events {
            self.trace
                .add(self.now, || format!("event {:?} {:?} {:?}", event.job, event.generation, event.kind));
            self.witness.note_event(event);
        }
        for in_vain in self.reign.as_ref().map(nothing_waits_in_vain).unwrap_or_default() {
            self.violated(Invariant::I10, in_vain);
        }
        for untold in changes_are_told(&before, &after, &events) {
            self.violated(Invariant::I9, untold);
        }
        if self.setup.sabotage == Some(Sabotage::SendBeforePersist) {
            commands.sort_by_key(|command| matches!(command, Command::Persist(_)));
        }
        for command in commands {
            if let Some((left, down)) = self.crash_after {
                if left == 0 {
                    self.crash_after = None;
                    return self.crash_coordinator(down);
                }
                self.crash_after = Some((left - 1, down));
            }
            match command {
                Command::Persist(record) => self.store_record(record),
                Command::Send { node, order } => self.send_order(&node, order),
            }
        }
        self.events.extend(events);
    }

    fn store_record(&mut self, mut record: Record) {
        self.stored += 1;
        match (self.setup.sabotage, &mut record) {
            (Some(Sabotage::LoseRecords), _) if self.stored.is_multiple_of(5) => return,
            (Some(Sabotage::SamePort), Record::GenerationPlanned(planned)) => planned.master_port = 20_000,
            (Some(Sabotage::PlaceOnClosed), Record::GenerationPlanned(planned)) => {
                if let (Some(pod), Some(node)) = (planned.pods.first_mut(), self.witness.closed.first()) {
                    pod.node = node.clone();
                }
            }
            (Some(Sabotage::OverspendBudget), Record::GenerationEnded(ended)) => {
                ended.charge = Charge::Budget
            }
            _ => {}
        }
        self.trace.add(self.now, || format!("stored {record:?}"));
        if let Some((invariant, what)) = record_is_lawful(&self.witness, &record) {
            self.violated(invariant, what);
        }
        if let Record::JobForgotten { job } = &record
            && self.processes().any(|(_, process)| process.job == *job)
        {
            self.injected("a job was forgotten, and a pod of it was alive");
        }
        self.witness.note_record(&record);
        self.store.push(record);
    }

    fn send_order(&mut self, node: &NodeId, order: Order) {
        if let Some(what) = order_is_recorded(&self.witness, &order) {
            self.violated(Invariant::I8, what);
        }
        self.trace.add(self.now, || format!("order to {node}: {}", brief(&order)));
        match &order.kind {
            OrderKind::Stop { job, generation, .. } => self.note_stopped(node, job, *generation),
            OrderKind::Prepare(plan) => {
                if let Some(before) = plan.generation.0.checked_sub(1) {
                    self.note_stopped(node, &plan.job, phalanx_common::id::Generation(before));
                }
            }
            _ => {}
        }
        self.old_orders.push((node.clone(), order.clone()));
        if self.old_orders.len() > OLD_ORDERS {
            self.old_orders.remove(0);
        }
        let Some(connection) = self.net.peers.get(node).copied() else { return };
        let at = self.now + self.delay();
        let at = self.net.arrives(connection, Way::In, at);
        self.at(at, Happening::ToWorker { connection, node: node.clone(), order });
    }

    fn note_stopped(&mut self, node: &NodeId, job: &JobId, generation: phalanx_common::id::Generation) {
        let known = self.witness.stopped.entry((node.clone(), job.clone())).or_default();
        *known = generation.max(*known);
    }

    pub(crate) fn crash_coordinator(&mut self, down: Duration) {
        if self.reign.take().is_none() {
            return;
        }
        self.trace.add(self.now, || "coordinator crashes".to_owned());
        self.injected("coordinator crash");
        let nodes: Vec<NodeId> = self.machines.keys().cloned().collect();
        for node in nodes {
            self.lose_connections(&node);
        }
        self.net.peers.clear();
        self.after(down, Happening::CoordinatorBack);
    }

    /// A new reign over what was stored.
    pub(crate) fn begin_reign(&mut self) {
        let durable = Durable::replay(&self.store);
        // What was said of a live generation died with the coordinator that said it.
        let over = |(job, generation, _): &PodKey| {
            let active = durable.jobs.get(job).and_then(|job| job.active());
            active.is_none_or(|active| active.number != *generation)
        };
        self.witness.abandoned.retain(over);
        self.witness.ended.retain(over);
        let coordinator = Coordinator::new(self.setup.config.clone(), durable.epoch.next(), &self.store);
        self.reign = Some(coordinator);
        self.drive(|_| {});
        self.check_replay();
    }
}

/// An order in a few words.
pub(crate) fn brief(order: &Order) -> String {
    match &order.kind {
        OrderKind::Prepare(plan) => {
            format!("Prepare {} generation {} port {}", plan.job, plan.generation, plan.body.master_port)
        }
        other => format!("{other:?}"),
    }
}
