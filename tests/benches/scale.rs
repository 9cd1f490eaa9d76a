//! A coordinator and many workers: a real `phalanx serve`, real QUIC connections, and workers in this
//! process that start no ranks but say that they did.
//!
//! ```text
//! cargo bench -p phalanx-tests --bench scale -- [WORKERS [RANKS]]      default 1000 and 8
//! ```
//!
//! Everything is on loopback of one machine: workers and coordinator share its cores.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends where something is wrong"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use phalanx_common::event::Outcome;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Incarnation, JobId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::plan::PodPlan;
use phalanx_common::report::{NodeReport, PodEnd, RankExit, Report};
use phalanx_common::status::JobStatus;
use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::ToWorker;
use phalanx_net::identity_file::Identity;
use phalanx_net::token::Token;
use phalanx_net::{join, transport};
use phalanx_worker::link::{Link, QuicLink};
use quinn::{Endpoint, TokioRuntime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

const ADDRESS: &str = "127.0.0.1:7643";
/// How often a gang is started.
const GANGS: usize = 7;
/// Joins at once: each is two handshakes' worth of work.
const JOINING: usize = 32;
/// Sockets that the workers share: a thousand of them in one process cost more than all that they carry.
const SOCKETS: usize = 16;
/// How long ranks run: they end when all of them have long started.
const RUNNING: Duration = Duration::from_secs(1);

fn main() {
    // `cargo bench` adds an argument of its own.
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let (workers, ranks) = (numbers.first().copied().unwrap_or(1000), numbers.get(1).copied().unwrap_or(8));
    let files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap().1;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, files, files).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bench(workers, ranks));
}

struct Lab {
    dir: PathBuf,
    phalanx: PathBuf,
    coordinator: Child,
}

impl Lab {
    fn start() -> Lab {
        let phalanx = std::env::var_os("PHALANX_BIN")
            .map_or_else(|| PathBuf::from("target/release/phalanx"), PathBuf::from);
        let phalanx = std::path::absolute(phalanx).unwrap();
        let dir = std::env::temp_dir().join(format!("phalanx-scale-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let coordinator = serve(&phalanx, &dir);
        Lab { dir, phalanx, coordinator }
    }

    fn restart(&mut self) {
        self.coordinator.kill().unwrap();
        self.coordinator.wait().unwrap();
        self.coordinator = serve(&self.phalanx, &self.dir);
    }

    fn command(&self, args: &[&str], identity: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.phalanx);
        command.args(args).env("PHALANX_IDENTITY", identity).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn operate(&self, args: &[&str]) -> String {
        text(self.command(args, &self.dir.join("operator.json"))).await.trim().to_owned()
    }

    /// Resident memory of the coordinator, kB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.coordinator.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time of the coordinator so far, seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.coordinator.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // Ticks are hundredths of a second on every Linux that matters here.
        ticks as f64 / 100.0
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.coordinator.kill();
        let _ = self.coordinator.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn serve(phalanx: &Path, dir: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    Command::new(phalanx)
        .args(["serve", "--listen", ADDRESS, "--log", "warn", "--state-dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// What a worker tells the bench.
enum Told {
    /// Its coordinator has said Hello.
    Connected,
    /// Its link is lost, and so it noticed.
    Lost(Noticed),
    /// Bytes of UDP payload received and sent since it was asked last.
    Bytes(u64, u64),
}

/// How a worker noticed that its coordinator is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noticed {
    /// The next coordinator said so (stateless reset).
    Reset,
    /// Nothing was heard for the idle timeout: the reset was lost.
    Silence,
}

async fn bench(workers: u32, ranks: u32) {
    let mut lab = Lab::start();
    let operator = lab.dir.join("operator.json");
    while !operator.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let uses = workers.to_string();
    let token =
        Token::parse(&lab.operate(&["token", "create", "-q", "--uses", &uses, "--ttl", "1h"]).await).unwrap();
    let joining = Instant::now();
    let identities = join_all(workers, &token).await;
    println!("{workers} nodes joined in {:.2} s", joining.elapsed().as_secs_f64());
    let before = lab.memory();

    let (tell, mut told) = mpsc::unbounded_channel();
    let mut all = JoinSet::new();
    let connecting = Instant::now();
    let (ask, _) = tokio::sync::broadcast::channel(4);
    let sockets: Vec<Endpoint> = (0..SOCKETS).map(|_| socket()).collect();
    for (identity, socket) in identities.into_iter().zip(sockets.iter().cycle()) {
        all.spawn(work(identity, socket.clone(), ranks, tell.clone(), ask.subscribe()));
    }
    connected(&mut told, workers, "connected", connecting).await;
    let per_worker = (lab.memory() - before) / f64::from(workers);
    println!("coordinator memory: {per_worker:.1} kB per worker ({:.1} MB in all)", lab.memory() / 1024.0);

    let user = lab.dir.join("user.json");
    let bundle = user.to_string_lossy().into_owned();
    lab.operate(&["user", "add", "bench", "--unix-user", "nobody", "--out", &bundle]).await;
    let gang = Gang { user, nodes: workers.to_string(), ranks_per_node: ranks.to_string() };
    let mut times = Vec::new();
    let cpu = lab.cpu();
    for number in 0..GANGS {
        let _ = ask.send(());
        bytes(&mut told, workers).await;
        times.push(gang.submitted(&lab).await);
        let _ = ask.send(());
        let (received, sent) = bytes(&mut told, workers).await;
        if number == 0 {
            let each = f64::from(workers) * f64::from(ranks);
            println!(
                "wire, a whole job from Prepare to Forget with keep-alives: {:.0} bytes per rank out, {:.0} in",
                received as f64 / each,
                sent as f64 / each
            );
        }
    }
    let what = format!("{GANGS} gangs of {workers} x {ranks}");
    println!("submitted to all Started, {what}: {}", spread(&mut times));
    println!("processor time of the coordinator: {:.0} ms each", (lab.cpu() - cpu) * 1e3 / GANGS as f64);
    let mut times = Vec::new();
    for _ in 0..GANGS {
        times.push(gang.followed(&lab).await);
    }
    println!("the same with a client on this host that is told every event: {}", spread(&mut times));

    let (cpu, idle) = (lab.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("idle: {:.1} % of one core", (lab.cpu() - cpu) / idle.elapsed().as_secs_f64() * 100.0);

    while told.try_recv().is_ok() {}
    let killed = Instant::now();
    lab.restart();
    connected(&mut told, workers, "back after the coordinator was killed", killed).await;
}

/// A job over all workers.
struct Gang {
    user: PathBuf,
    nodes: String,
    ranks_per_node: String,
}

impl Gang {
    fn command(&self, lab: &Lab, how: &[&str]) -> tokio::process::Command {
        let shape = ["--nodes", &self.nodes, "--ranks-per-node", &self.ranks_per_node];
        lab.command(&[how, &shape, &["-o", "files", "--", "true"]].concat(), &self.user)
    }

    /// Milliseconds from submission to all Started; the job has ended when this returns.
    async fn submitted(&self, lab: &Lab) -> f64 {
        let job = text(self.command(lab, &["submit"])).await;
        tokio::time::sleep(RUNNING).await;
        loop {
            let status = text(lab.command(&["status", "--json", job.trim()], &self.user)).await;
            let status: JobStatus = serde_json::from_str(&status).unwrap();
            if status.outcome == Some(Outcome::Succeeded) {
                return status.running_since.unwrap().since(status.submitted_at).as_secs_f64() * 1e3;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The same from placement to all Started.
    async fn followed(&self, lab: &Lab) -> f64 {
        let events = text(self.command(lab, &["run", "--json"])).await;
        let at = |event: &str| {
            let line = events.lines().find(|line| line.contains(event)).unwrap();
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["at"].as_u64().unwrap() as f64 / 1e3
        };
        at("gang_running") - at("gang_placed")
    }
}

async fn text(mut command: tokio::process::Command) -> String {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn spread(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    format!("median {:.0} ms, {:.0} to {:.0}", times[times.len() / 2], times[0], times[times.len() - 1])
}

async fn join_all(workers: u32, token: &Token) -> Vec<Identity> {
    let room = Semaphore::new(JOINING);
    let joins = (0..workers).map(|number| {
        let room = &room;
        async move {
            let _permit = room.acquire().await.unwrap();
            join::join(&[ADDRESS.to_owned()], token, &format!("n{number}")).await.unwrap()
        }
    });
    futures(joins).await
}

/// All of them, on this task's thread.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.map(Box::pin).map(Some).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        for slot in &mut waiting {
            if let Some(future) = slot
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                done.push(value);
                *slot = None;
            }
        }
        if waiting.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

/// A socket for many workers, with a buffer for many answers at once.
fn socket() -> Endpoint {
    let (socket, _) = phalanx_net::socket::listen(([127, 0, 0, 1], 0).into()).unwrap();
    Endpoint::new(Default::default(), None, socket, Arc::new(TokioRuntime)).unwrap()
}

async fn connected(told: &mut mpsc::UnboundedReceiver<Told>, workers: u32, what: &str, since: Instant) {
    let (mut times, mut noticed) = (Vec::new(), Vec::new());
    while times.len() < workers as usize {
        match tokio::time::timeout(Duration::from_secs(120), told.recv()).await {
            Ok(Some(Told::Connected)) => times.push(since.elapsed().as_secs_f64()),
            Ok(Some(Told::Lost(how))) => noticed.push((how, since.elapsed().as_secs_f64())),
            Ok(Some(Told::Bytes(..))) => {}
            _ => panic!("only {} of {workers} workers are {what}", times.len()),
        }
    }
    println!(
        "{workers} workers {what}: 99 % in {:.2} s, all in {:.2} s",
        times[times.len() * 99 / 100],
        times[times.len() - 1]
    );
    if let Some((_, last)) = noticed.iter().rfind(|(how, _)| *how == Noticed::Reset) {
        let lost = noticed.iter().filter(|(how, _)| *how == Noticed::Silence).count();
        println!("they noticed by a reset, the last after {last:.2} s; {lost} resets were lost");
    }
}

async fn bytes(told: &mut mpsc::UnboundedReceiver<Told>, workers: u32) -> (u64, u64) {
    let (mut received, mut sent, mut answers) = (0, 0, 0);
    while answers < workers {
        if let Some(Told::Bytes(of_one_in, of_one_out)) = told.recv().await {
            (received, sent, answers) = (received + of_one_in, sent + of_one_out, answers + 1);
        }
    }
    (received, sent)
}

/// A worker whose runtime is made up: it connects again whenever its link is lost, at once.
async fn work(
    identity: Identity,
    socket: Endpoint,
    ranks: u32,
    tell: mpsc::UnboundedSender<Told>,
    mut ask: tokio::sync::broadcast::Receiver<()>,
) {
    let tls = identity.tls().unwrap();
    let config = tls.config(transport::member());
    let (address, name) = (ADDRESS.parse().unwrap(), tls.cluster().server_name());
    loop {
        let connecting = socket.connect_with(config.clone(), address, &name).unwrap();
        let Ok(connection) = connecting.await else { continue };
        let Ok(mut link) = QuicLink::greet(socket.clone(), connection.clone()).await else { continue };
        let _ = tell.send(Told::Connected);
        let hello = hello(&identity, ranks);
        if link.send((&Report::Hello(Box::new(hello))).into()).await.is_err() {
            continue;
        }
        let (mut received, mut sent) = (0, 0);
        let mut pods: Vec<PodPlan> = Vec::new();
        let mut ending: Option<(tokio::time::Instant, PodPlan)> = None;
        loop {
            let end = ending.as_ref().map(|(at, _)| *at);
            tokio::select! {
                message = link.recv() => {
                    let Ok(message) = message else { break };
                    for report in answer(message, &mut pods) {
                        if let Report::Started { job, .. } = &report {
                            let pod = pods.iter().find(|pod| pod.job == *job).cloned();
                            ending = pod.map(|pod| (tokio::time::Instant::now() + RUNNING, pod));
                        }
                        let _ = link.send((&report).into()).await;
                    }
                }
                () = tokio::time::sleep_until(end.unwrap_or_else(tokio::time::Instant::now)), if end.is_some() => {
                    for report in ending.take().map(|(_, pod)| ends(&pod)).into_iter().flatten() {
                        let _ = link.send((&report).into()).await;
                    }
                }
                asked = ask.recv() => {
                    if asked.is_err() {
                        return;
                    }
                    let stats = connection.stats();
                    let (now_in, now_out) = (stats.udp_rx.bytes, stats.udp_tx.bytes);
                    let _ = tell.send(Told::Bytes(now_in - received, now_out - sent));
                    (received, sent) = (now_in, now_out);
                }
            }
        }
        let noticed = match connection.close_reason() {
            Some(quinn::ConnectionError::Reset) => Noticed::Reset,
            _ => Noticed::Silence,
        };
        let _ = tell.send(Told::Lost(noticed));
    }
}

fn hello(identity: &Identity, ranks: u32) -> NodeReport {
    NodeReport {
        node: phalanx_common::id::NodeId::new(identity.principal.name()),
        incarnation: Incarnation(1),
        host_name: "bench".into(),
        cores: ranks,
        slots: ranks,
        user: None,
        clock: now(),
        version: "bench".into(),
        ports: (20_000, 30_000),
        address: [127, 0, 0, 1].into(),
        interface: None,
        networks: Vec::new(),
        pods: Vec::new(),
    }
}

fn answer(message: ToWorker, pods: &mut Vec<PodPlan>) -> Vec<Report> {
    let ToWorker::Order { epoch, order } = message else { return Vec::new() };
    match order.into_domain(epoch).kind {
        OrderKind::Prepare(plan) => {
            let (job, generation) = (plan.job.clone(), plan.generation);
            pods.retain(|pod| pod.job != job);
            pods.push(*plan);
            vec![Report::Prepared { job, generation, interpreter: None }]
        }
        OrderKind::Go { job, generation } => {
            let Some(pod) = pods.iter().find(|pod| pod.job == job) else { return Vec::new() };
            let pids = (0..pod.local_ranks).map(|local| 1000 + local).collect();
            vec![Report::Started { job, generation, pids }]
        }
        OrderKind::Stop { job, generation, .. } => {
            vec![Report::PodEnded { job, generation, end: PodEnd::default() }]
        }
        OrderKind::Forget { job, .. } => forget(pods, &job),
        _ => Vec::new(),
    }
}

/// Every rank of the pod ends with 0, and the pod with them.
fn ends(pod: &PodPlan) -> Vec<Report> {
    let (job, generation) = (&pod.job, pod.generation);
    let exits = pod.ranks().map(|rank| Report::Exited { job: job.clone(), generation, exit: exit(rank) });
    let ended = Report::PodEnded { job: job.clone(), generation, end: PodEnd::default() };
    exits.chain([ended]).collect()
}

fn forget(pods: &mut Vec<PodPlan>, job: &JobId) -> Vec<Report> {
    pods.retain(|pod| pod.job != *job);
    Vec::new()
}

fn exit(rank: Rank) -> RankExit {
    RankExit::new(rank, ExitStatus::Code(0), now())
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_micros()).unwrap())
}
