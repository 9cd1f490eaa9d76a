//! A coordinator on a desk: inputs by hand, commands and events on a pile.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_common::event::{Event, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Epoch, Generation, Incarnation, JobId, NodeId, Rank};
use phalanx_common::identity::Owner;
use phalanx_common::order::OrderKind;
use phalanx_common::report::{NodeReport, PodEnd, PodPhase, PodStatus, RankExit, Report};
use phalanx_common::spec::{JobSpec, Shape};
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::{Command, Config, Coordinator, Input, JobState, Record};

pub(crate) struct Desk {
    pub(crate) coordinator: Coordinator,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    pub(crate) records: Vec<Record>,
    commands: Vec<Command>,
}

pub(crate) fn job(name: &str) -> JobId {
    JobId::from_existing(name)
}

pub(crate) fn spec(nodes: u32, ranks_per_node: u32) -> JobSpec {
    let mut spec = JobSpec::of("j", Shape::Nodes { nodes, ranks_per_node }, &["true"]);
    spec.output.log_dir = Some("/logs".into());
    spec
}

pub(crate) fn exit(rank: u32, status: ExitStatus, at: u64) -> RankExit {
    RankExit::new(Rank(rank), status, Timestamp(at))
}

/// A pod that is prepared.
pub(crate) fn status(name: &str, generation: u32) -> PodStatus {
    PodStatus {
        job: job(name),
        generation: Generation(generation),
        phase: PodPhase::Prepared,
        not_prepared: None,
        suspended: false,
        exits: Vec::new(),
        end: None,
        pids: Vec::new(),
        health: Vec::new(),
        attempts: Vec::new(),
    }
}

impl Desk {
    pub(crate) fn new(config: Config, nodes: &[&str]) -> Desk {
        let mut desk = Desk {
            coordinator: Coordinator::new(config, Epoch(1), &[]),
            now: Timestamp(1_000_000_000_000),
            events: Vec::new(),
            records: Vec::new(),
            commands: Vec::new(),
        };
        desk.collect();
        for node in nodes {
            desk.hello(node, Vec::new());
        }
        desk
    }

    pub(crate) fn over(coordinator: Coordinator, before: &Desk) -> Desk {
        let mut desk = Desk {
            coordinator,
            now: before.now,
            events: Vec::new(),
            records: before.records.clone(),
            commands: Vec::new(),
        };
        desk.collect();
        desk
    }

    /// A job whose only generation is Running.
    pub(crate) fn running(nodes: &[&str], name: &str, spec: JobSpec) -> Desk {
        let mut desk = Desk::new(Config::default(), nodes);
        let Shape::Nodes { nodes: used, .. } = spec.shape else { panic!("a gang of so many nodes") };
        let used = used as usize;
        desk.submit(name, spec);
        nodes[..used].iter().for_each(|node| desk.prepared(node, name, 1));
        nodes[..used].iter().for_each(|node| desk.started(node, name, 1));
        assert_eq!(desk.phase(name), GangPhase::Running);
        desk
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.now = self.now + Duration::from_millis(1);
        self.coordinator.handle(self.now, input);
        self.collect();
    }

    pub(crate) fn timeout(&mut self, now: Timestamp) {
        self.now = now;
        self.coordinator.handle_timeout(now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(command) = self.coordinator.poll_command() {
            if let Command::Persist(record) = &command {
                self.records.push(record.clone());
            }
            self.commands.push(command);
        }
        while let Some(event) = self.coordinator.poll_event() {
            self.events.push(event);
        }
    }

    pub(crate) fn submit(&mut self, name: &str, spec: JobSpec) {
        self.input(Input::Submit {
            job: job(name),
            spec: Box::new(spec),
            owner: Owner { name: "ann".into(), unix_user: None },
            attached: false,
        });
    }

    pub(crate) fn stop(&mut self, name: &str, force: bool) {
        let by = "SIGINT".to_owned();
        self.input(Input::Stop { job: job(name), by, status: ExitStatus::Signal(2), force });
    }

    pub(crate) fn report(&mut self, node: &str, report: Report) {
        self.input(Input::Report { node: NodeId::new(node), report });
    }

    pub(crate) fn hello(&mut self, node: &str, pods: Vec<PodStatus>) {
        let report = NodeReport {
            node: NodeId::new(node),
            incarnation: Incarnation(1),
            host_name: node.into(),
            cores: 8,
            slots: u32::MAX,
            user: None,
            clock: self.now,
            version: "1".into(),
            ports: (20_000, 20_009),
            address: IpAddr::from([127, 0, 0, 1]),
            interface: Some("lo".into()),
            networks: Vec::new(),
            pods,
        };
        self.report(node, Report::Hello(Box::new(report)));
    }

    /// The node is back and holds this pod, prepared.
    pub(crate) fn hello_with(&mut self, node: &str, name: &str, generation: u32) {
        self.hello(node, vec![status(name, generation)]);
    }

    pub(crate) fn prepared(&mut self, node: &str, name: &str, generation: u32) {
        self.prepared_with(node, name, generation, None);
    }

    /// The pod found this version of the job's Python.
    pub(crate) fn prepared_with(
        &mut self,
        node: &str,
        name: &str,
        generation: u32,
        interpreter: Option<&str>,
    ) {
        let (job, generation) = (job(name), Generation(generation));
        let interpreter = interpreter.map(str::to_owned);
        self.report(node, Report::Prepared { job, generation, interpreter });
    }

    pub(crate) fn started(&mut self, node: &str, name: &str, generation: u32) {
        let (job, generation) = (job(name), Generation(generation));
        self.report(node, Report::Started { job, generation, pids: vec![42] });
    }

    pub(crate) fn exited(&mut self, node: &str, name: &str, generation: u32, exit: RankExit) {
        let (job, generation) = (job(name), Generation(generation));
        self.report(node, Report::Exited { job, generation, exit });
    }

    pub(crate) fn ended(&mut self, node: &str, name: &str, generation: u32) {
        let (job, generation) = (job(name), Generation(generation));
        self.report(node, Report::PodEnded { job, generation, end: PodEnd::default() });
    }

    pub(crate) fn phase(&self, name: &str) -> GangPhase {
        self.coordinator.job(&job(name)).expect("a job that was submitted").phase
    }

    pub(crate) fn outcome(&self, name: &str) -> Option<Outcome> {
        match &self.coordinator.job(&job(name))?.job.state {
            JobState::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// Nodes and port of the generation placed last.
    pub(crate) fn placed(&self) -> (Vec<NodeId>, u16) {
        let placed = self.events.iter().rev().find_map(|event| match &event.kind {
            EventKind::GangPlaced { nodes, master_port, .. } => Some((nodes.clone(), *master_port)),
            _ => None,
        });
        placed.expect("a generation was placed")
    }

    pub(crate) fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Orders of this kind sent since the last look at the pile, which is empty then.
    pub(crate) fn take_orders(&mut self, kind: &str) -> Vec<(NodeId, OrderKind)> {
        self.take_commands()
            .into_iter()
            .filter_map(|command| match command {
                Command::Send { node, order } => Some((node, order.kind)),
                Command::Persist(_) => None,
            })
            .filter(|(_, order)| format!("{order:?}").starts_with(kind))
            .collect()
    }
}
