//! The agent between a coordinator that the test plays and a real shim.

#![allow(clippy::unwrap_used, reason = "tests, and helpers that run in tests alone")]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use phalanx_common::hex;
use phalanx_common::id::{Epoch, Generation, Incarnation, JobId, NodeId, Rank};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::plan::{PlanBody, PodPlan};
use phalanx_common::spec::{Keep, Ship, StopScope};
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::{
    FileFrame, FileRequest, FromWorker, LogCredit, LogFrame, TailFrame, ToWorker,
};
use phalanx_worker::agent::{Agent, Config, Dialed, Facts, Shimming};
use phalanx_worker::check::Checker;
use phalanx_worker::link::{Error, FileLink, Link, LogLink, TailLink};
use phalanx_worker::shim::spawn::{Orphans, SpawnOptions};
use tokio::sync::mpsc;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The worker's end of a connection that the test holds the other end of.
struct Wire {
    orders: mpsc::UnboundedReceiver<ToWorker>,
    reports: mpsc::UnboundedSender<FromWorker>,
    /// Hears of each file stream: what is sent there arrives on the stream.
    files: mpsc::UnboundedSender<mpsc::UnboundedSender<FileFrame>>,
}

/// A stream for an archive.
struct Archive(mpsc::UnboundedReceiver<FileFrame>);

/// A stream that nothing is said on.
struct Silent;

impl Link for Wire {
    type Log = Silent;
    type Tail = Silent;
    type File = Archive;

    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    async fn send(&mut self, report: FromWorker) -> Result<(), Error> {
        self.reports.send(report).map_err(|_| lost())
    }

    async fn recv(&mut self) -> Result<ToWorker, Error> {
        match self.orders.recv().await {
            Some(order) => Ok(order),
            None => Err(lost()),
        }
    }

    fn open_log(&self) -> impl Future<Output = Result<Silent, Error>> + Send + 'static {
        std::future::ready(Ok(Silent))
    }

    fn open_tails(&self) -> impl Future<Output = Result<Silent, Error>> + Send + 'static {
        std::future::ready(Ok(Silent))
    }

    fn open_file(&self) -> impl Future<Output = Result<Archive, Error>> + Send + 'static {
        let (send, frames) = mpsc::unbounded_channel();
        let opened = self.files.send(send).map_err(|_| lost());
        std::future::ready(opened.map(|()| Archive(frames)))
    }
}

/// What everything on a connection says once it is gone.
fn lost() -> Error {
    Error::Lost(quinn::ConnectionError::TimedOut)
}

impl FileLink for Archive {
    async fn ask(&mut self, _: FileRequest) -> Result<(), Error> {
        Ok(())
    }

    async fn next(&mut self) -> Result<FileFrame, Error> {
        match self.0.recv().await {
            Some(frame) => Ok(frame),
            None => Err(lost()),
        }
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

/// Who runs this test: the one user that everybody may run jobs as.
fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name
}

fn job() -> JobId {
    JobId::from_existing("digits-1")
}

fn prepare(generation: u32, ship: &Ship) -> OrderKind {
    let body = PlanBody {
        user: Some(user()),
        secrets: Vec::new(),
        virtual_env: None,
        ship: Some(ship.clone()),
        name: "digits".into(),
        world_size: 1,
        nodes: 1,
        command: vec!["/bin/true".into()],
        working_dir: None,
        env: [].into(),
        master_addr: IpAddr::from([127, 0, 0, 1]),
        master_port: 20_003,
        interface: None,
        restart_count: 0,
        max_restarts: 0,
        termination_grace: Duration::from_secs(1),
        stop_scope: StopScope::Group,
        keep: Keep::Never,
        log_dir: None,
        max_file_bytes: 1 << 20,
        keep_files: 1,
        lease: None,
        probes: Default::default(),
        lifecycle: Default::default(),
        in_place: false,
        memory_limit: None,
    };
    // Another rank is where the gang meets: no port is taken here.
    OrderKind::Prepare(Box::new(PodPlan {
        job: job(),
        generation: Generation(generation),
        body,
        node_rank: 1,
        first_rank: Rank(0),
        local_ranks: 1,
        probe_port: None,
        binding: Default::default(),
    }))
}

fn agent(dir: &Path, links: mpsc::Receiver<Dialed<Wire>>) -> Agent<Wire> {
    let text = |name: &str| dir.join(name).to_string_lossy().into_owned();
    for name in ["pods", "logs", "ship"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let config = Config {
        node: NodeId::new("a"),
        incarnation: Incarnation(1),
        base_dir: text("pods"),
        log_dir: text("logs"),
        ship_dir: text("ship"),
        inherited: [].into(),
    };
    let options = SpawnOptions { exe: env!("CARGO_BIN_EXE_phalanx-worker").into(), orphans: Orphans::LOCAL };
    let checker = Checker::live(config.node.clone(), false);
    let shimming = Shimming { options, spare: None, cgroups: None, allow_root: true, checker };
    Agent::new(config, facts(), links, shimming)
}

fn facts() -> Facts {
    Facts {
        host_name: "host-a".into(),
        cores: 1,
        slots: 1,
        user: None,
        version: "1".into(),
        networks: Vec::new(),
        ports: (20_000, 20_009),
        address: IpAddr::from([127, 0, 0, 1]),
        interface: None,
    }
}

/// A directory as it travels: one file in it.
fn archive() -> (Vec<u8>, Ship) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    builder.append_data(&mut header, "data", &b"data"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    let ship = Ship { digest, bytes: bytes.len() as u64 };
    (bytes, ship)
}

#[tokio::test]
async fn a_directory_that_comes_for_a_generation_is_nothing_to_the_next_which_has_its_own_coming() {
    let dir = std::env::temp_dir().join(format!("phalanx-agent-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let (order, orders) = mpsc::unbounded_channel();
    let (reports, mut reported) = mpsc::unbounded_channel();
    let (files, mut opened) = mpsc::unbounded_channel();
    let (dialed, links) = mpsc::channel(1);
    let agent = agent(&dir, links);
    assert!(dialed.try_send(Dialed { link: Wire { orders, reports, files }, facts: facts() }).is_ok());
    let (bytes, ship) = archive();
    let half = bytes.len() / 2;
    let say = |kind: OrderKind| order.send((&Order { epoch: Epoch(1), kind }).into()).unwrap();
    let test = async {
        assert!(matches!(reported.recv().await, Some(FromWorker::Hello(_))));
        say(prepare(1, &ship));
        let first = opened.recv().await.unwrap();
        let begin = |file: &mpsc::UnboundedSender<FileFrame>| {
            file.send(FileFrame::Found { bytes: ship.bytes }).unwrap();
            file.send(FileFrame::Piece(Bytes(bytes[..half].to_vec()))).unwrap();
        };
        begin(&first);
        say(OrderKind::Stop {
            job: job(),
            generation: Generation(1),
            grace: Duration::ZERO,
            pre_stop: false,
        });
        assert!(matches!(reported.recv().await, Some(FromWorker::PodEnded { generation: 1, .. })));
        say(prepare(2, &ship));
        let second = opened.recv().await.unwrap();
        begin(&second);
        // The first breaks off. Whoever reads the stream drops it then.
        first.send(FileFrame::Refused { why: "the job has ended".into() }).unwrap();
        first.closed().await;
        second.send(FileFrame::Piece(Bytes(bytes[half..].to_vec()))).unwrap();
        let next = reported.recv().await;
        assert!(matches!(next, Some(FromWorker::Prepared { generation: 2, .. })), "{next:?}");
        say(OrderKind::Stop {
            job: job(),
            generation: Generation(2),
            grace: Duration::ZERO,
            pre_stop: false,
        });
        while !matches!(reported.recv().await, Some(FromWorker::PodEnded { generation: 2, .. })) {}
    };
    tokio::select! {
        ended = agent.run() => panic!("the agent ended: {ended:?}"),
        tested = tokio::time::timeout(PATIENCE, test) => tested.unwrap(),
    }
    let archives: Vec<_> =
        fs::read_dir(dir.join("ship").join(user())).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(archives.len(), 1, "{archives:?}");
    assert_eq!(fs::read(&archives[0]).unwrap(), bytes);
    fs::remove_dir_all(&dir).unwrap();
}

/// The test's end of a connection.
struct Peer {
    order: mpsc::UnboundedSender<ToWorker>,
    reported: mpsc::UnboundedReceiver<FromWorker>,
    opened: mpsc::UnboundedReceiver<mpsc::UnboundedSender<FileFrame>>,
}

impl Peer {
    /// The agent has it once it has said Hello.
    async fn dial(dialed: &mpsc::Sender<Dialed<Wire>>) -> Peer {
        let (order, orders) = mpsc::unbounded_channel();
        let (reports, mut reported) = mpsc::unbounded_channel();
        let (files, opened) = mpsc::unbounded_channel();
        let link = Wire { orders, reports, files };
        assert!(dialed.send(Dialed { link, facts: facts() }).await.is_ok());
        assert!(matches!(reported.recv().await, Some(FromWorker::Hello(_))));
        Peer { order, reported, opened }
    }

    fn say(&self, kind: OrderKind) {
        self.order.send((&Order { epoch: Epoch(1), kind }).into()).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_breaks_off_with_its_link_comes_over_the_next() {
    let dir = std::env::temp_dir().join(format!("phalanx-agent-flap-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let (dialed, links) = mpsc::channel(1);
    let agent = agent(&dir, links);
    let (bytes, ship) = archive();
    let found = || FileFrame::Found { bytes: ship.bytes };
    let half = bytes.len() / 2;
    let test = async {
        let mut peer = Peer::dial(&dialed).await;
        peer.say(prepare(1, &ship));
        let file = peer.opened.recv().await.unwrap();
        file.send(found()).unwrap();
        file.send(FileFrame::Piece(Bytes(bytes[..half].to_vec()))).unwrap();
        drop((file, peer));

        // The next is gone before anything is asked for.
        let peer = Peer::dial(&dialed).await;
        drop(peer);
        let mut peer = Peer::dial(&dialed).await;
        let file = peer.opened.recv().await.unwrap();
        file.send(found()).unwrap();
        file.send(FileFrame::Piece(Bytes(bytes.clone()))).unwrap();
        let next = peer.reported.recv().await;
        assert!(matches!(next, Some(FromWorker::Prepared { generation: 1, .. })), "{next:?}");
        peer.say(OrderKind::Stop {
            job: job(),
            generation: Generation(1),
            grace: Duration::ZERO,
            pre_stop: false,
        });
        while !matches!(peer.reported.recv().await, Some(FromWorker::PodEnded { generation: 1, .. })) {}
    };
    tokio::select! {
        ended = agent.run() => panic!("the agent ended: {ended:?}"),
        tested = tokio::time::timeout(PATIENCE, test) => tested.unwrap(),
    }
    fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_job_that_comes_back_while_its_shim_tidies_up_is_prepared_when_that_is_done() {
    let dir = std::env::temp_dir().join(format!("phalanx-agent-back-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let (dialed, links) = mpsc::channel(1);
    let agent = agent(&dir, links);
    let (bytes, ship) = archive();
    let test = async {
        let mut peer = Peer::dial(&dialed).await;
        peer.say(prepare(1, &ship));
        let file = peer.opened.recv().await.unwrap();
        file.send(FileFrame::Found { bytes: ship.bytes }).unwrap();
        file.send(FileFrame::Piece(Bytes(bytes.clone()))).unwrap();
        assert!(matches!(peer.reported.recv().await, Some(FromWorker::Prepared { generation: 1, .. })));
        // A while's work for who removes them.
        let pod = dir.join("pods").join(job().as_str());
        for number in 0..20_000 {
            fs::write(pod.join(format!("left-{number}")), "").unwrap();
        }
        peer.say(OrderKind::Stop {
            job: job(),
            generation: Generation(1),
            grace: Duration::ZERO,
            pre_stop: false,
        });
        while !matches!(peer.reported.recv().await, Some(FromWorker::PodEnded { generation: 1, .. })) {}
        peer.say(OrderKind::Forget { job: job(), failed: false });
        peer.say(prepare(3, &ship));
        let next = peer.reported.recv().await;
        assert!(matches!(next, Some(FromWorker::Prepared { generation: 3, .. })), "{next:?}");
        assert!(!pod.join("left-0").exists());
        peer.say(OrderKind::Stop {
            job: job(),
            generation: Generation(3),
            grace: Duration::ZERO,
            pre_stop: false,
        });
        let end = loop {
            if let FromWorker::PodEnded { generation: 3, end, .. } = peer.reported.recv().await.unwrap() {
                break end;
            }
        };
        assert!(!end.shim_lost, "{end:?}");
    };
    tokio::select! {
        ended = agent.run() => panic!("the agent ended: {ended:?}"),
        tested = tokio::time::timeout(PATIENCE, test) => tested.unwrap(),
    }
    fs::remove_dir_all(&dir).unwrap();
}
