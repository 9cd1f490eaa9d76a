//! A worker alone, with a plan of two ranks.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Epoch, Generation, Incarnation, JobId, NodeId, Rank};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::plan::{PlanBody, PodPlan};
use phalanx_common::report::{Notice, PodEnd, RankExit, Report};
use phalanx_common::spec::{Keep, StopScope};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::shim::{ShimOrder, ShimReport};
use phalanx_worker_core::{Command, Config, Facts, Input, Worker};

pub(crate) fn job() -> JobId {
    JobId::from_existing("digits-1")
}

pub(crate) fn config() -> Config {
    Config {
        node: NodeId::new("a"),
        incarnation: Incarnation(1),
        base_dir: "/run/phalanx".into(),
        log_dir: "/logs".into(),
        ship_dir: "/ship".into(),
        inherited: [].into(),
    }
}

pub(crate) fn facts() -> Facts {
    Facts {
        host_name: "host-a".into(),
        cores: 4,
        slots: 8,
        user: None,
        version: "1".into(),
        networks: Vec::new(),
        ports: (20_000, 20_009),
        address: IpAddr::from([127, 0, 0, 1]),
        interface: Some("lo".into()),
    }
}

pub(crate) fn plan(generation: u32, lease: Option<Duration>) -> PodPlan {
    PodPlan {
        job: job(),
        generation: Generation(generation),
        body: PlanBody {
            user: None,
            secrets: Vec::new(),
            virtual_env: None,
            ship: None,
            name: "digits".into(),
            world_size: 4,
            nodes: 2,
            command: vec!["python".into()],
            working_dir: None,
            env: [].into(),
            master_addr: IpAddr::from([127, 0, 0, 1]),
            master_port: 20_003,
            interface: None,
            restart_count: 0,
            max_restarts: 0,
            termination_grace: Duration::from_secs(30),
            stop_scope: StopScope::Group,
            keep: Keep::Never,
            log_dir: Some("/logs".into()),
            max_file_bytes: 1 << 20,
            keep_files: 1,
            lease,
            probes: Default::default(),
            lifecycle: Default::default(),
            in_place: false,
            memory_limit: None,
        },
        node_rank: 0,
        first_rank: Rank(0),
        local_ranks: 2,
        probe_port: None,
        binding: Default::default(),
    }
}

/// A worker with nothing around it: what is fed to it comes from the test, what it asks for goes to the test.
pub(crate) struct Bench(pub(crate) Worker);

impl Bench {
    /// A worker with a connection; its Hello is off the pile.
    pub(crate) fn new() -> Bench {
        let mut bench = Bench(Worker::new(config(), facts()));
        assert!(matches!(bench.input(Input::LinkUp)[..], [Command::ToCoordinator(Report::Hello(_))]));
        bench
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Command> {
        self.0.handle(Timestamp(1), input);
        std::iter::from_fn(|| self.0.poll_command()).collect()
    }

    pub(crate) fn order(&mut self, kind: OrderKind) -> Vec<Command> {
        self.order_of(Epoch(1), kind)
    }

    pub(crate) fn order_of(&mut self, epoch: Epoch, kind: OrderKind) -> Vec<Command> {
        self.input(Input::Order(Order { epoch, kind }))
    }

    pub(crate) fn prepare(&mut self, generation: u32) -> Vec<Command> {
        self.order(OrderKind::Prepare(Box::new(plan(generation, None))))
    }

    pub(crate) fn stop(&mut self, generation: u32) -> Vec<Command> {
        let generation = Generation(generation);
        self.order(OrderKind::Stop {
            job: job(),
            generation,
            grace: Duration::from_secs(30),
            pre_stop: false,
        })
    }

    pub(crate) fn shim(&mut self, report: ShimReport) -> Vec<Command> {
        self.input(Input::ShimReport { job: job(), report })
    }

    pub(crate) fn ended(&mut self, generation: u32) -> Vec<Command> {
        self.shim(ShimReport::Ended { generation: Generation(generation), end: PodEnd::default() })
    }

    /// The pod's first generation is prepared.
    pub(crate) fn prepared() -> Bench {
        Bench::prepared_with(plan(1, None))
    }

    pub(crate) fn prepared_with(plan: PodPlan) -> Bench {
        let mut bench = Bench::new();
        let commands = bench.order(OrderKind::Prepare(Box::new(plan)));
        assert_eq!(commands, [Command::SpawnShim { job: job(), user: None }]);
        let commands = bench.input(Input::ShimUp { job: job() });
        assert_eq!(prepares(&commands), [1]);
        let commands = bench.shim(ShimReport::Prepared { generation: Generation(1), interpreter: None });
        let prepared = Report::Prepared { job: job(), generation: Generation(1), interpreter: None };
        assert_eq!(commands, [Command::ToCoordinator(prepared)]);
        bench
    }

    /// Its ranks run.
    pub(crate) fn started() -> Bench {
        Bench::started_with(plan(1, None))
    }

    pub(crate) fn started_with(plan: PodPlan) -> Bench {
        let mut bench = Bench::prepared_with(plan);
        let generation = Generation(1);
        let commands = bench.order(OrderKind::Go { job: job(), generation });
        assert_eq!(commands, [Command::ToShim { job: job(), order: ShimOrder::Go { generation } }]);
        bench.shim(ShimReport::Started { generation, pids: vec![7, 8] });
        bench
    }
}

/// Generations whose preparation these commands ask of the shim.
pub(crate) fn prepares(commands: &[Command]) -> Vec<u32> {
    let plans = commands.iter().filter_map(|command| match command {
        Command::ToShim { order: ShimOrder::Prepare(plan), .. } => Some(plan.generation.0),
        _ => None,
    });
    plans.collect()
}

pub(crate) fn refused(commands: &[Command]) -> bool {
    matches!(commands, [Command::ToCoordinator(Report::Notice { notice: Notice::Refused { .. }, .. })])
}

pub(crate) fn ends(commands: &[Command]) -> Vec<u32> {
    let ends = commands.iter().filter_map(|command| match command {
        Command::ToCoordinator(Report::PodEnded { generation, .. }) => Some(generation.0),
        _ => None,
    });
    ends.collect()
}

/// A rank that ended with code 3, saying so.
pub(crate) fn exit(rank: u32) -> RankExit {
    let exit = RankExit::new(Rank(rank), ExitStatus::Code(3), Timestamp(5));
    RankExit { stderr_tail: b"boom".to_vec(), ..exit }
}
