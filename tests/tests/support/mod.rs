//! Runs the real `phalanx` in a directory of its own, and looks at what it leaves behind.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// How long any condition may take on a loaded machine; reached only by a failing test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The `phalanx` under test.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PHALANX_BIN") {
        return path.into();
    }
    let mut path = std::env::current_exe().expect("a test has a path");
    path.pop();
    path.pop();
    path.push("phalanx");
    assert!(
        path.exists(),
        "{} is not built: run `cargo build -p phalanx` or set PHALANX_BIN",
        path.display()
    );
    path
}

/// Says that this test, or the rest of it, is not run here, and why: in the file of `PHALANX_TEST_SKIPS` as well,
/// because a test that returns counts as passed.
pub(crate) fn skipped(why: &str) {
    let line = format!("SKIPPED {}: {why}\n", std::thread::current().name().unwrap_or_default());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    if let Some(path) = std::env::var_os("PHALANX_TEST_SKIPS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of what is skipped");
    }
}

/// A capture from a real machine or network, which stays outside of the repository; `None` after saying that the test
/// is skipped.
pub(crate) fn capture(path: &str) -> Option<String> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("PHALANX_DATA").map_or_else(beside, PathBuf::from);
    match fs::read_to_string(root.join("topology").join(path)) {
        Ok(text) => Some(text),
        Err(error) => {
            skipped(&format!("topology/{path} is not there ({error}); PHALANX_DATA names the folder"));
            None
        }
    }
}

/// An interpreter with PyTorch, if one was given.
pub(crate) fn python() -> Option<PathBuf> {
    std::env::var_os("PHALANX_TEST_PYTHON").map(PathBuf::from)
}

/// A directory for one test: TMPDIR, logs and working directory of its launches. Its end fails the
/// test if a process of these launches is still alive.
pub(crate) struct Sandbox {
    pub(crate) dir: PathBuf,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("phx-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("tmp")).expect("a directory for the test");
        Sandbox { dir }
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).expect("a file for the test");
        path
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// `phalanx` with `args`, its files kept inside the sandbox.
    pub(crate) fn phalanx(&self, args: &[&str]) -> Command {
        // The launcher leaves alone what was ignored before it began, as a shell's background jobs have it:
        // these tests may be one.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT,QUIT,HUP,TSTP")
            .arg(binary())
            .args(args)
            .current_dir(&self.dir)
            .env("TMPDIR", self.dir.join("tmp"))
            .env("PHALANX_LOG_DIR", self.logs())
            .env("PHALANX_CONFIG", "/dev/null")
            .env("PHALANX_STATE_DIR", self.dir.join("nothing"))
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env_remove("PHALANX_OUTPUT")
            .env_remove("PHALANX_COORDINATOR")
            .env_remove("PHALANX_IDENTITY")
            .env_remove("CUDA_VISIBLE_DEVICES")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        Running::start(self.phalanx(args)).finish()
    }

    /// `run -n N` of a shell script.
    pub(crate) fn shell(&self, ranks: u32, flags: &[&str], script: &str) -> Finished {
        Running::start(self.phalanx(&self.shell_args(ranks, flags, script))).finish()
    }

    /// Starts `run -n N` of a shell script.
    pub(crate) fn start_shell(&self, ranks: u32, flags: &[&str], script: &str) -> Running {
        Running::start(self.phalanx(&self.shell_args(ranks, flags, script)))
    }

    fn shell_args<'a>(&self, ranks: u32, flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
        let ranks: &'static str = Box::leak(ranks.to_string().into_boxed_str());
        let mut args = vec!["run", "-n", ranks];
        args.extend_from_slice(flags);
        args.extend_from_slice(&["--", "/bin/sh", "-c", script]);
        args
    }

    /// Processes whose environment carries this sandbox's TMPDIR: ranks, their children, shims.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let tmp = self.dir.join("tmp");
        let needle = tmp.as_os_str().as_encoded_bytes();
        let own = std::process::id();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
            if pid != own && environ.windows(needle.len()).any(|window| window == needle) {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                let state = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
                if !state.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z') {
                    found.push((pid, name.trim().to_owned()));
                }
            }
        }
        found
    }

    /// Waits until nothing of the sandbox's launches is alive.
    pub(crate) fn assert_empty_within(&self, bound: Duration) {
        let deadline = Instant::now() + bound;
        while !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "still alive after {bound:?}: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The file, once it is there and not empty.
    pub(crate) fn wait_for_file(&self, name: &str) -> String {
        wait_for(name, || fs::read_to_string(self.dir.join(name)).ok().filter(|text| !text.is_empty()))
    }

    /// The one job's log file of a rank.
    pub(crate) fn log(&self, generation: u32, rank: u32, stream: &str) -> Vec<u8> {
        let job = only_entry(&self.logs());
        let path = job.join(generation.to_string()).join(rank.to_string()).join(format!("{stream}.log"));
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left = self.processes();
            assert!(left.is_empty(), "a test left processes behind: {left:?}");
        }
        for (pid, _) in self.processes() {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn only_entry(dir: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .flatten()
        .map(|e| e.path())
        .collect();
    assert_eq!(entries.len(), 1, "one job in {}: {entries:?}", dir.display());
    entries.remove(0)
}

/// Waits for a condition, bounded.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal, by its name without SIG.
pub(crate) fn kill(pid: u32, signal: &str) {
    let signal = Signal::from_str(&format!("SIG{signal}")).expect("a signal's name");
    nix::sys::signal::kill(Pid::from_raw(pid as i32), signal).expect("the process is there");
}

/// State letter of a process, `None` if it is gone.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Parent of a process.
pub(crate) fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let rest = stat.rsplit_once(')').expect("a name in parentheses").1;
    rest.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("a parent")
}

/// Environment of a process, with its NUL bytes.
pub(crate) fn environ(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).expect("the process is there"))
        .into_owned()
}

/// Children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// A launch under way.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: Option<std::thread::JoinHandle<Vec<u8>>>,
    err: Option<std::thread::JoinHandle<Vec<u8>>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command.spawn().expect("phalanx starts");
        let collect = |mut stream: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                bytes
            })
        };
        let out = child.stdout.take().map(|stream| collect(Box::new(stream)));
        let err = child.stderr.take().map(|stream| collect(Box::new(stream)));
        Running { child, out, err }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The shim of this launch: its only child with `__shim` on its command line.
    pub(crate) fn shim(&self) -> u32 {
        wait_for("the shim", || {
            children(self.pid()).into_iter().find(|pid| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.windows(6).any(|w| w == b"__shim"))
            })
        })
    }

    /// Waits for the end, bounded.
    pub(crate) fn finish(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for phalanx") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("phalanx did not end within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
            thread.map(|thread| thread.join().expect("a reader ends")).unwrap_or_default()
        };
        Finished { status, stdout: text(self.out.take()), stderr: text(self.err.take()) }
    }
}

/// A launch that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Finished {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Lines of standard output in a stable order: ranks write when they like.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.out().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Finished {
        assert_eq!(
            self.status.code(),
            Some(code),
            "signal {:?}\nstdout: {}\nstderr: {}",
            self.status.signal(),
            self.out(),
            self.err()
        );
        self
    }

    #[track_caller]
    pub(crate) fn assert_says(&self, text: &str) -> &Finished {
        assert!(self.err().contains(text), "standard error lacks {text:?}:\n{}", self.err());
        self
    }
}
