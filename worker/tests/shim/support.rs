//! A worker for tests: it speaks the protocol to a real shim and forgets nothing it hears.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use phalanx_common::defaults;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::report::{Notice, PodEnd, PrepareFailure, RankExit};
use phalanx_common::spec::{Keep, MemoryBinding, StopScope};
use phalanx_common::topology::machine::CpuSet;
use phalanx_common::wire::codec;
use phalanx_worker::shim::spawn::{Orphans, ShimProcess, SpawnOptions, spawn};
use phalanx_worker_core::shim::{
    Secrets, ShimHello, ShimOrder, ShimPlan, ShimRank, ShimReport, Stream, VERSION, log_file,
};

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const BINARY: &str = env!("CARGO_BIN_EXE_phalanx-worker");
pub(crate) const GENERATION: Generation = Generation(1);

/// A directory of this test, removed at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("phalanx-shim-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    /// An executable script.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port below the ephemeral range that nobody listens on; no other test of this process gets it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = std::process::id() * 37 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (step % 20_000) as u16;
        if std::net::TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A plan for `ranks` ranks that run `sh -c <script>`.
pub(crate) fn shell(scratch: &Scratch, ranks: u32, script: &str) -> ShimPlan {
    command(scratch, ranks, &["sh", "-c", script])
}

pub(crate) fn command(scratch: &Scratch, ranks: u32, command: &[&str]) -> ShimPlan {
    let job = JobId::from_existing("test-job");
    let mark = format!("test-{}", scratch.0.file_name().unwrap().to_str().unwrap());
    let ranks = (0..ranks)
        .map(|rank| ShimRank {
            rank: Rank(rank),
            env: vec![("RANK".into(), rank.to_string())],
            log_dir: scratch.path(&format!("logs/1/{rank}")),
            error_file: scratch.path(&format!("base/test-job/errors/{rank}.json")),
            cpus: CpuSet::new(),
            nodes: CpuSet::new(),
        })
        .collect();
    ShimPlan {
        job,
        generation: GENERATION,
        mark: mark.clone(),
        command: command.iter().map(ToString::to_string).collect(),
        working_dir: None,
        remove_env: Vec::new(),
        env: vec![("PHALANX_POD".into(), mark)],
        ranks,
        memory: MemoryBinding::None,
        job_dir: scratch.path("base/test-job"),
        keep: Keep::Never,
        ports: Vec::new(),
        ship: None,
        virtual_env: None,
        secrets: Secrets::default(),
        probe: None,
        stop_scope: StopScope::Group,
        termination_grace: defaults::TERMINATION_GRACE,
        max_file_bytes: defaults::LOG_FILE_CAP,
        keep_files: defaults::LOG_FILES_KEPT,
        lease: None,
        nccl_topology: None,
        probes: Default::default(),
        stop_signal: 15,
        post_start: None,
        pre_stop: None,
        init: Vec::new(),
        init_once: false,
        in_place: false,
        memory_limit: None,
    }
}

/// A shim and everything it said.
pub(crate) struct Shim {
    pub(crate) process: ShimProcess,
    input: Vec<u8>,
    pub(crate) heard: Vec<ShimReport>,
}

impl Shim {
    pub(crate) fn start() -> Shim {
        Shim::start_as(PathBuf::from(BINARY), Orphans::LOCAL)
    }

    /// A shim of a cluster's worker, with a limit that a test can wait for.
    pub(crate) fn start_in_cluster(limit: Duration) -> Shim {
        Shim::start_as(PathBuf::from(BINARY), Orphans { limit, ..Orphans::CLUSTER })
    }

    /// A shim that sees no cgroup file system, if this user can hide it.
    pub(crate) fn start_without_cgroup(scratch: &Scratch) -> Shim {
        if !is_root() {
            return Shim::start();
        }
        let hide = "umount -l /sys/fs/cgroup/unified 2>/dev/null; umount -l /sys/fs/cgroup";
        let text = format!("#!/bin/sh\nexec unshare -m sh -c '{hide}; exec {BINARY} \"$@\"' sh \"$@\"\n");
        Shim::start_as(PathBuf::from(scratch.script("without-cgroup", &text)), Orphans::LOCAL)
    }

    /// A shim whose parent did `setup` (shell commands) first.
    pub(crate) fn start_after(scratch: &Scratch, setup: &str) -> Shim {
        let text = format!("#!/bin/sh\n{setup}\nexec {BINARY} \"$@\"\n");
        Shim::start_as(PathBuf::from(scratch.script("setup", &text)), Orphans::LOCAL)
    }

    fn start_as(exe: PathBuf, orphans: Orphans) -> Shim {
        let process = spawn(&SpawnOptions { exe, orphans }, None).unwrap();
        let mut shim = Shim { process, input: Vec::new(), heard: Vec::new() };
        shim.send(&ShimHello { version: VERSION });
        let deadline = Instant::now() + PATIENCE;
        let hello: ShimHello = loop {
            if let Some(hello) = codec::take(&mut shim.input).unwrap() {
                break hello;
            }
            assert!(shim.fill(deadline), "no hello from the shim");
        };
        assert_eq!(hello.version, VERSION);
        shim
    }

    /// A shim with this plan's ranks held.
    pub(crate) fn prepared(plan: &ShimPlan) -> Shim {
        let mut shim = Shim::start();
        shim.prepare(plan);
        shim
    }

    /// A shim with this plan's ranks running.
    pub(crate) fn started(plan: &ShimPlan) -> Shim {
        Shim::start().and_started(plan)
    }

    pub(crate) fn and_started(mut self, plan: &ShimPlan) -> Shim {
        self.prepare(plan);
        self.go(plan.generation);
        self.pids();
        self
    }

    fn send<T: serde::Serialize>(&mut self, message: &T) {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes).unwrap();
        self.process.socket.write_all(&bytes).unwrap();
    }

    pub(crate) fn order(&mut self, order: ShimOrder) {
        self.send(&order);
    }

    pub(crate) fn prepare(&mut self, plan: &ShimPlan) {
        self.order(ShimOrder::Prepare(Box::new(plan.clone())));
        let generation = plan.generation;
        self.until("Prepared", |report| match report {
            ShimReport::Prepared { generation: of, .. } if *of == generation => Some(()),
            ShimReport::NotPrepared { reason, .. } => panic!("not prepared: {}", reason.message),
            _ => None,
        });
    }

    pub(crate) fn refused(&mut self, plan: &ShimPlan) -> PrepareFailure {
        self.order(ShimOrder::Prepare(Box::new(plan.clone())));
        self.until("NotPrepared", |report| match report {
            ShimReport::NotPrepared { reason, .. } => Some(reason.clone()),
            ShimReport::Prepared { .. } => panic!("prepared, where a refusal was expected"),
            _ => None,
        })
    }

    pub(crate) fn go(&mut self, generation: Generation) {
        self.order(ShimOrder::Go { generation });
    }

    pub(crate) fn stop(&mut self, grace: Duration) {
        self.order(ShimOrder::Stop { generation: GENERATION, grace, pre_stop: false });
    }

    /// The same with preStop hooks.
    pub(crate) fn stop_by_wish(&mut self, grace: Duration) {
        self.order(ShimOrder::Stop { generation: GENERATION, grace, pre_stop: true });
    }

    pub(crate) fn pids(&mut self) -> Vec<u32> {
        self.until("Started", |report| match report {
            ShimReport::Started { pids, .. } => Some(pids.clone()),
            _ => None,
        })
    }

    pub(crate) fn exit_of(&mut self, rank: u32) -> RankExit {
        self.until("Exited", |report| match report {
            ShimReport::Exited { exit, .. } if exit.rank == Rank(rank) => Some(exit.clone()),
            _ => None,
        })
    }

    pub(crate) fn ended(&mut self) -> PodEnd {
        self.ended_of(GENERATION)
    }

    pub(crate) fn ended_of(&mut self, generation: Generation) -> PodEnd {
        self.until("Ended", |report| match report {
            ShimReport::Ended { generation: of, end } if *of == generation => Some(end.clone()),
            _ => None,
        })
    }

    /// Go, and everything to Ended and Exit; all ranks' exits by rank.
    pub(crate) fn run_to_end(&mut self) -> (Vec<RankExit>, PodEnd) {
        self.go(GENERATION);
        let end = self.ended();
        (self.exits(), end)
    }

    pub(crate) fn exits(&self) -> Vec<RankExit> {
        let mut exits: Vec<RankExit> = self
            .heard
            .iter()
            .filter_map(|report| match report {
                ShimReport::Exited { exit, .. } => Some(exit.clone()),
                _ => None,
            })
            .collect();
        exits.sort_by_key(|exit| exit.rank);
        exits
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.heard
            .iter()
            .filter_map(|report| match report {
                ShimReport::Notice { notice } => Some(notice.clone()),
                _ => None,
            })
            .collect()
    }

    /// Whether the pod whose probes come to `port` of this host answers.
    pub(crate) fn hears(&mut self, port: u16) -> bool {
        self.heard.retain(|report| !matches!(report, ShimReport::Probed { .. }));
        let (target, address) = (NodeId::new("n2"), ([127, 0, 0, 1], port).into());
        self.order(ShimOrder::Probe { generation: GENERATION, target, address });
        self.until("Probed", |report| match report {
            ShimReport::Probed { heard, .. } => Some(*heard),
            _ => None,
        })
    }

    /// The last word on how much of a stream was written.
    pub(crate) fn written(&self, rank: u32, stream: Stream) -> u64 {
        let last = self.heard.iter().rev().find_map(|report| match report {
            ShimReport::Output { rank: of, stream: on, written, .. }
                if *of == Rank(rank) && *on == stream =>
            {
                Some(*written)
            }
            _ => None,
        });
        last.unwrap_or(0)
    }

    /// The job is over; the shim has to go.
    pub(crate) fn exit(mut self, failed: bool) {
        self.order(ShimOrder::Exit { failed });
        let status = self.wait();
        assert!(status.success(), "the shim ended with {status}");
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        eventually("the shim ends", || self.process.child.try_wait().unwrap())
    }

    /// What the shim says next that `pick` wants; reports heard earlier count too.
    pub(crate) fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&ShimReport) -> Option<T>) -> T {
        if let Some(found) = self.heard.iter().find_map(&mut pick) {
            return found;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(report) = codec::take::<ShimReport>(&mut self.input).unwrap() {
                let found = pick(&report);
                self.heard.push(report);
                if let Some(found) = found {
                    return found;
                }
            }
            assert!(self.fill(deadline), "no {what} from the shim, only {:#?}", self.heard);
        }
    }

    /// More bytes from the shim; false at the deadline.
    fn fill(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.process.socket.set_read_timeout(Some(left)).unwrap();
        let mut chunk = [0; 65536];
        match self.process.socket.read(&mut chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => true,
            Err(error) => panic!("reading from the shim: {error}; it said {:#?}", self.heard),
            Ok(0) => panic!("the shim left ({:?}); it said {:#?}", self.process.child.wait(), self.heard),
            Ok(got) => {
                self.input.extend_from_slice(&chunk[..got]);
                true
            }
        }
    }
}

/// A shim that a failed test leaves behind ends by itself: its socket closes with the test.
impl Drop for Shim {
    fn drop(&mut self) {
        let _ = self.process.socket.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.process.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.process.child.kill();
    }
}

/// Waits for something to come true.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The whole of a stream's files.
pub(crate) fn output(plan: &ShimPlan, rank: usize, stream: Stream) -> Vec<u8> {
    let mut whole = Vec::new();
    for part in 0.. {
        let (name, _) = log_file(stream, part * plan.max_file_bytes, plan.max_file_bytes);
        match fs::read(Path::new(&plan.ranks[rank].log_dir).join(name)) {
            Ok(bytes) => whole.extend(bytes),
            Err(_) => break,
        }
    }
    whole
}

pub(crate) fn text(plan: &ShimPlan, rank: usize) -> String {
    String::from_utf8(output(plan, rank, Stream::Stdout)).unwrap()
}

/// State letter of a process, `None` if it is gone.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Processor time a process has used, in clock ticks.
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Stopped, or waiting in vfork for a child that is.
pub(crate) fn is_stopped(pid: u32) -> bool {
    matches!(state(pid), Some('T' | 'D'))
}

pub(crate) fn is_alive(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Live processes that carry the plan's mark.
pub(crate) fn marked(plan: &ShimPlan) -> Vec<u32> {
    let wanted = format!("PHALANX_POD={}", plan.mark);
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| is_alive(*pid))
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        })
        .collect()
}

pub(crate) fn nothing_left(plan: &ShimPlan) {
    eventually("nothing of the pod is alive", || marked(plan).is_empty().then_some(()));
}

/// Says loudly, past the test harness, that a test did not run: in the file of `PHALANX_TEST_SKIPS` as well,
/// because a test that returns counts as passed.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_string();
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(path) = std::env::var_os("PHALANX_TEST_SKIPS") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The shim's guardian, which takes its name a moment after Prepared.
pub(crate) fn guardian_of(shim: &Shim) -> u32 {
    eventually("the shim has a guardian", || children_called(shim.process.pid(), "phalanx-guard").pop())
}

/// The processes that are both children of `parent` and called `name`.
pub(crate) fn children_called(parent: u32, name: &str) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_ascii_whitespace()
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name))
        .map(|pid| pid.parse().unwrap())
        .collect()
}

pub(crate) fn kill(pid: u32, signal: &str) {
    let number: nix::sys::signal::Signal = format!("SIG{signal}").parse().expect("a signal's name");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), number).expect("the process is there");
}

/// The file's content once it is there and complete (ends with a newline).
pub(crate) fn line_in(path: &str) -> String {
    eventually(&format!("a line in {path}"), || {
        fs::read_to_string(path).ok().filter(|text| text.ends_with('\n')).map(|text| text.trim().to_string())
    })
}

pub(crate) fn code(code: u8) -> ExitStatus {
    ExitStatus::Code(code)
}
