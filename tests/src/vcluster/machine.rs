//! One machine: its worker, its shims and its processes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use phalanx_common::id::{Generation, Incarnation, JobId, NodeId, Rank};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::{Config, Facts, Worker};

use super::shim::Shim;

/// A process that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub job: JobId,
    pub generation: Generation,
    /// `None` for a rank's child and for an init container.
    pub rank: Option<Rank>,
    /// It runs user code.
    pub released: bool,
    /// It runs before there are ranks, and dies with its shim.
    pub init: bool,
}

/// Everything alive on a machine, and the ports its pods hold.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    live: Vec<Process>,
    ports: BTreeMap<u16, (JobId, Generation)>,
    last_pid: u32,
}

/// A machine of the virtual cluster.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    /// `None`: the worker is dead, or the whole machine.
    pub(crate) worker: Option<Worker>,
    /// Counts the worker's lives: what was meant for an earlier one is dropped.
    pub(crate) life: u64,
    pub(crate) frozen_until: Option<Timestamp>,
    /// No connection can be made before this.
    pub(crate) cut_until: Timestamp,
    /// On the data plane this machine hears nobody before this.
    pub(crate) data_deaf_until: Timestamp,
    /// Nobody hears it there before this.
    pub(crate) data_mute_until: Timestamp,
    /// The connection the worker believes in.
    pub(crate) connection: Option<u64>,
    pub(crate) shims: BTreeMap<u64, Shim>,
    pub(crate) shim_of: BTreeMap<JobId, u64>,
    pub(crate) processes: Processes,
    pub(crate) foreign_ports: Vec<u16>,
    /// What begins on this machine before this takes so many times as long.
    pub(crate) slow: (Timestamp, u32),
    /// When the worker last took an order: what a lease counts from.
    pub(crate) last_order: Timestamp,
}

/// Small on purpose, so that ports run out and come round.
pub(crate) const PORTS: (u16, u16) = (20_000, 20_011);

impl Machine {
    pub(crate) fn new(id: NodeId) -> Machine {
        let mut machine = Machine {
            id,
            worker: None,
            life: 0,
            frozen_until: None,
            cut_until: Timestamp::default(),
            data_deaf_until: Timestamp::default(),
            data_mute_until: Timestamp::default(),
            connection: None,
            shims: BTreeMap::new(),
            shim_of: BTreeMap::new(),
            processes: Processes::default(),
            foreign_ports: Vec::new(),
            slow: (Timestamp::default(), 1),
            last_order: Timestamp::default(),
        };
        machine.start_worker();
        machine
    }

    /// Whether it hears and is heard on the data plane.
    pub(crate) fn data_is_open(&self, now: Timestamp) -> bool {
        self.data_deaf_until <= now && self.data_mute_until <= now
    }

    /// How many times as long as usual things take.
    pub(crate) fn slowness(&self, now: Timestamp) -> u32 {
        let (until, times) = self.slow;
        if now < until { times } else { 1 }
    }

    /// A new life of the worker, with nothing of the one before.
    pub(crate) fn start_worker(&mut self) {
        self.life += 1;
        let config = Config {
            node: self.id.clone(),
            incarnation: Incarnation(self.life),
            base_dir: "/run/phalanx".to_owned(),
            log_dir: "/logs".into(),
            ship_dir: "/ship".into(),
            inherited: Default::default(),
        };
        let facts = Facts {
            host_name: format!("host-{}", self.id),
            cores: 8,
            slots: u32::MAX,
            user: None,
            version: "1".to_owned(),
            networks: Vec::new(),
            ports: PORTS,
            address: IpAddr::from([10, 0, 0, 1]),
            interface: Some("eth0".to_owned()),
        };
        self.worker = Some(Worker::new(config, facts));
        self.frozen_until = None;
        self.connection = None;
    }

    /// The worker is gone, and with it every shim and process.
    pub(crate) fn stop_everything(&mut self) {
        self.worker = None;
        self.life += 1;
        self.connection = None;
        self.frozen_until = None;
        self.shims.clear();
        self.shim_of.clear();
        self.processes = Processes { last_pid: self.processes.last_pid, ..Processes::default() };
    }
}

impl Processes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.live.iter()
    }

    /// Ranks that are held, and the ports tested for them.
    pub(crate) fn hold(&mut self, job: &JobId, generation: Generation, ranks: &[Rank], ports: &[u16]) {
        for rank in ranks {
            self.add(job, generation, Some(*rank), false);
        }
        self.ports.extend(ports.iter().map(|port| (*port, (job.clone(), generation))));
    }

    pub(crate) fn release(&mut self, job: &JobId, generation: Generation, twice: bool) {
        let mut released = Vec::new();
        for process in self.live.iter_mut().filter(|p| p.job == *job && p.generation == generation) {
            process.released = true;
            released.extend(process.rank);
        }
        if twice {
            for rank in released {
                self.add(job, generation, Some(rank), true);
            }
        }
    }

    /// Another start of a rank; its process.
    pub(crate) fn start_rank(&mut self, job: &JobId, generation: Generation, rank: Rank) -> u32 {
        self.add(job, generation, Some(rank), true);
        self.last_pid
    }

    pub(crate) fn add_grandchild(&mut self, job: &JobId, generation: Generation) {
        self.add(job, generation, None, true);
    }

    pub(crate) fn add_init(&mut self, job: &JobId, generation: Generation) {
        self.add(job, generation, None, true);
        if let Some(process) = self.live.last_mut() {
            process.init = true;
        }
    }

    pub(crate) fn has_init(&self, job: &JobId) -> bool {
        self.live.iter().any(|p| p.init && p.job == *job)
    }

    pub(crate) fn end_init(&mut self, job: &JobId, generation: Generation) {
        self.live.retain(|p| !(p.init && p.job == *job && p.generation == generation));
    }

    fn add(&mut self, job: &JobId, generation: Generation, rank: Option<Rank>, released: bool) {
        self.last_pid += 1;
        let pid = self.last_pid;
        self.live.push(Process { pid, job: job.clone(), generation, rank, released, init: false });
    }

    pub(crate) fn pids(&self, job: &JobId, generation: Generation) -> Vec<u32> {
        let ranks =
            self.live.iter().filter(|p| p.job == *job && p.generation == generation && p.rank.is_some());
        ranks.map(|process| process.pid).collect()
    }

    pub(crate) fn live_ranks(&self, job: &JobId, generation: Generation) -> Vec<Rank> {
        let ranks = self.live.iter().filter(|p| p.job == *job && p.generation == generation);
        ranks.filter_map(|process| process.rank).collect()
    }

    /// Whether it was alive.
    pub(crate) fn end_rank(&mut self, job: &JobId, generation: Generation, rank: Rank) -> bool {
        let before = self.live.len();
        self.live.retain(|p| !(p.job == *job && p.generation == generation && p.rank == Some(rank)));
        self.live.len() < before
    }

    /// Kills everything of a job, or of one generation of it, and says how many children there were.
    pub(crate) fn sweep(&mut self, job: &JobId, generation: Option<Generation>) -> u32 {
        let hit = |j: &JobId, g: Generation| j == job && generation.is_none_or(|only| only == g);
        let children = self.live.iter().filter(|p| hit(&p.job, p.generation) && p.rank.is_none()).count();
        self.live.retain(|p| !hit(&p.job, p.generation));
        self.ports.retain(|_, (j, g)| !hit(j, *g));
        u32::try_from(children).unwrap_or(u32::MAX)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Process) -> bool) {
        self.live.retain(keep);
    }

    pub(crate) fn port_is_bound(&self, port: u16) -> bool {
        self.ports.contains_key(&port)
    }
}
