//! One pod on one node, between a coordinator that does as it is told in a line and a real shim. It is a process of
//! its own, so that a test can give it an environment: the library of PHALANX_NVML_LIBRARY, an outer launcher's masks.
//!
//! `pod DIR ROOT [share]`: prepares the plan (`PodPlan` in JSON) that comes in, releases it once it is prepared and
//! ends when it has. What the worker says is written as lines of JSON. DIR has the pod's files, the kernel's are below
//! ROOT.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use phalanx_common::id::{Epoch, Incarnation, NodeId};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::plan::PodPlan;
use phalanx_common::wire::NoCommonVersion;
use phalanx_common::wire::v1::{
    FileFrame, FileRequest, FromWorker, LogCredit, LogFrame, TailFrame, ToWorker,
};
use phalanx_formats::dir::Dir;
use phalanx_worker::agent::{Agent, Config, Dialed, Facts, Shimming};
use phalanx_worker::check::{Checker, Sources};
use phalanx_worker::link::{Error, FileLink, Link, LogLink, TailLink};
use phalanx_worker::shim::maybe_run;
use phalanx_worker::shim::spawn::{Orphans, SpawnOptions};
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    maybe_run();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (dir, root, share) = match args[..] {
        [dir, root] => (dir, root, false),
        [dir, root, "share"] => (dir, root, true),
        _ => return Err("usage: pod DIR ROOT [share]".into()),
    };
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let plan: PodPlan = serde_json::from_str(&text)?;
    let checker =
        Checker::new(NodeId::new("n1"), Dir::open(Path::new(root))?, Sources::of_this_process(share));
    let options = SpawnOptions::new(Orphans::LOCAL);
    let shimming = Shimming { options, spare: None, cgroups: None, allow_root: true, checker };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(plan, config(dir), shimming))
}

fn config(dir: &str) -> Config {
    Config {
        node: NodeId::new("n1"),
        incarnation: Incarnation(1),
        base_dir: format!("{dir}/pods"),
        log_dir: format!("{dir}/logs"),
        ship_dir: format!("{dir}/ship"),
        inherited: std::env::vars().collect(),
    }
}

fn facts() -> Facts {
    Facts {
        host_name: "host-a".into(),
        cores: 8,
        slots: 8,
        user: None,
        version: "1".into(),
        networks: Vec::new(),
        ports: (20_000, 20_009),
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        interface: None,
    }
}

async fn work(plan: PodPlan, config: Config, shimming: Shimming) -> Result<(), Failure> {
    let (order, orders) = mpsc::unbounded_channel();
    let (reports, mut reported) = mpsc::unbounded_channel();
    let (dialed, links) = mpsc::channel(1);
    dialed.send(Dialed { link: Wire { orders, reports }, facts: facts() }).await?;
    let agent = Agent::new(config, facts(), links, shimming);
    let mut shims = agent.shims_alive();
    let (job, generation) = (plan.job.clone(), plan.generation);
    let say = |kind: OrderKind| order.send((&Order { epoch: Epoch(1), kind }).into());
    let mut plan = Some(plan);
    let coordinate = async {
        while let Some(report) = reported.recv().await {
            writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
            match report {
                FromWorker::Hello(_) => {
                    if let Some(plan) = plan.take() {
                        say(OrderKind::Prepare(Box::new(plan)))?;
                    }
                }
                FromWorker::Prepared { .. } => say(OrderKind::Go { job: job.clone(), generation })?,
                FromWorker::NotPrepared { .. } => {
                    say(OrderKind::Stop {
                        job: job.clone(),
                        generation,
                        grace: Duration::ZERO,
                        pre_stop: false,
                    })?;
                }
                FromWorker::PodEnded { .. } => {
                    say(OrderKind::Forget { job: job.clone(), failed: false })?;
                    break;
                }
                _ => {}
            }
        }
        shims.wait_for(|alive| *alive == 0).await?;
        Ok(())
    };
    tokio::select! {
        ended = agent.run() => Err(format!("the agent ended: {ended:?}").into()),
        done = coordinate => done,
    }
}

/// The worker's end of a connection.
struct Wire {
    orders: mpsc::UnboundedReceiver<ToWorker>,
    reports: mpsc::UnboundedSender<FromWorker>,
}

/// A stream that nothing is said on.
struct Silent;

fn lost() -> Error {
    Error::Version(NoCommonVersion { lowest: 0, highest: 0 })
}

impl Link for Wire {
    type Log = Silent;
    type Tail = Silent;
    type File = Silent;

    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    async fn send(&mut self, report: FromWorker) -> Result<(), Error> {
        self.reports.send(report).map_err(|_| lost())
    }

    async fn recv(&mut self) -> Result<ToWorker, Error> {
        self.orders.recv().await.ok_or_else(lost)
    }

    fn open_log(&self) -> impl Future<Output = Result<Silent, Error>> + Send + 'static {
        std::future::ready(Ok(Silent))
    }

    fn open_tails(&self) -> impl Future<Output = Result<Silent, Error>> + Send + 'static {
        std::future::ready(Ok(Silent))
    }

    fn open_file(&self) -> impl Future<Output = Result<Silent, Error>> + Send + 'static {
        std::future::ready(Err(lost()))
    }
}

impl FileLink for Silent {
    async fn ask(&mut self, _: FileRequest) -> Result<(), Error> {
        Err(lost())
    }

    async fn next(&mut self) -> Result<FileFrame, Error> {
        Err(lost())
    }
}

impl LogLink for Silent {
    async fn send(&mut self, _: LogFrame) -> Result<(), Error> {
        Ok(())
    }

    async fn credit(&mut self) -> Result<LogCredit, Error> {
        std::future::pending().await
    }
}

impl TailLink for Silent {
    async fn send(&mut self, _: TailFrame) -> Result<(), Error> {
        Ok(())
    }
}
