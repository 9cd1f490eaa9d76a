//! The processes of a lab: the coordinator on its head, a worker on each node, and what else a test starts.

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use super::{Family, Lab, PORT};
use crate::support::{binary, wait_for};

impl Lab {
    /// A lab whose coordinator answers, and whose user is logged in.
    pub(crate) fn served(nodes: u8) -> Option<Lab> {
        let mut lab = Lab::new(nodes)?;
        lab.serve();
        lab.login();
        Some(lab)
    }

    /// The same, with all nodes ready.
    pub(crate) fn joined(nodes: u8) -> Option<Lab> {
        let mut lab = Lab::served(nodes)?;
        lab.join_all();
        Some(lab)
    }

    /// Starts the coordinator on the head, and waits until it answers.
    pub(crate) fn serve(&mut self) {
        self.serve_with(&[]);
    }

    pub(crate) fn serve_with(&mut self, flags: &[&str]) {
        let listen = match self.family {
            Family::V4 => self.coordinator(),
            Family::V6 => format!("[::]:{PORT}"),
        };
        let state = self.dir.join("coordinator").to_string_lossy().into_owned();
        let args = ["serve", "--listen", &listen, "--state-dir", &state, "--log", "info,phalanx=debug"];
        self.daemon("head", "coordinator", &binary().to_string_lossy(), &[&args, flags].concat(), &[]);
        wait_for("the coordinator", || {
            let operator = self.dir.join("coordinator/operator.json").exists();
            (operator && self.operate(&["nodes"]).status.success()).then_some(())
        });
    }

    /// Logs the test's own user in.
    pub(crate) fn login(&self) {
        let socket = self.dir.join("coordinator/login.sock").to_string_lossy().into_owned();
        self.run(&["login", "--socket", &socket]).assert_code(0);
    }

    /// Joins a node that runs jobs of root, which these tests are, and waits until it is ready.
    pub(crate) fn join(&mut self, host: &str) {
        self.join_with(host, &["--allow-root-jobs"]);
    }

    /// Joins every node of the lab.
    pub(crate) fn join_all(&mut self) {
        for host in self.hosts.clone().iter().filter(|host| host.starts_with("node")) {
            self.join(host);
        }
    }

    /// Joins a node as an operator would.
    pub(crate) fn join_plain(&mut self, host: &str) {
        self.join_with(host, &[]);
    }

    pub(crate) fn join_with(&mut self, host: &str, flags: &[&str]) {
        let token = self.operate(&["token", "create", "--quiet"]);
        token.assert_code(0);
        let address = self.coordinator();
        let token = token.out().trim().to_owned();
        self.work(host, &["join", &address], flags, &[("PHALANX_TOKEN", &token)]);
        self.wait_ready(host);
    }

    /// Starts the worker of a node that has joined before.
    pub(crate) fn start_worker(&mut self, host: &str) {
        self.start_worker_with(host, &["--allow-root-jobs"]);
    }

    pub(crate) fn start_worker_with(&mut self, host: &str, flags: &[&str]) {
        self.work(host, &["run"], flags, &[]);
    }

    fn work(&mut self, host: &str, how: &[&str], flags: &[&str], env: &[(&str, &str)]) {
        let state = self.dir.join(host).to_string_lossy().into_owned();
        let node = ["--state-dir", &state, "--interface", "data0", "--slots", "4"];
        self.daemon(host, host, &worker(), &[how, &node, flags].concat(), env);
    }

    pub(crate) fn wait_ready(&self, host: &str) {
        wait_for(&format!("{host} to be ready"), || {
            let nodes = self.operate(&["nodes"]).out();
            nodes
                .lines()
                .any(|line| line.starts_with(&format!("{host}-")) && line.contains(" ready "))
                .then_some(())
        });
    }

    /// Runs until the lab ends or `kill` is asked for.
    pub(super) fn daemon(
        &mut self,
        host: &str,
        name: &str,
        program: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("{name}.log")))
            .expect("a log file");
        let errors = log.try_clone().expect("a second handle");
        let mut command = self.on(host, program, args);
        command.envs(env.iter().copied()).stdout(log).stderr(errors);
        self.daemons.push((name.to_owned(), command.spawn().expect("a daemon starts")));
    }

    /// Kills a daemon with SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        let mut child = self.take_daemon(name);
        child.kill().expect("the daemon lives");
        child.wait().expect("the daemon can be waited for");
    }

    /// Ends a daemon as a service manager does, and waits for its end.
    pub(crate) fn terminate(&mut self, name: &str) {
        let mut child = self.take_daemon(name);
        crate::support::kill(child.id(), "TERM");
        let status = child.wait().expect("the daemon can be waited for");
        assert!(status.success(), "{name} ends in good order: {status}");
    }

    fn take_daemon(&mut self, name: &str) -> Child {
        let at = self.daemons.iter().position(|(daemon, _)| daemon == name).expect("a daemon of this name");
        self.daemons.remove(at).1
    }

    /// Bytes of memory that a daemon has in use.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let (_, child) =
            self.daemons.iter().find(|(daemon, _)| daemon == name).expect("a daemon of this name");
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("the daemon lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// What a daemon has said so far.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default()
    }
}

/// The `phalanx-worker` under test: beside `phalanx`.
pub(crate) fn worker() -> String {
    let path = match std::env::var_os("PHALANX_WORKER_BIN") {
        Some(path) => PathBuf::from(path),
        None => binary().with_file_name("phalanx-worker"),
    };
    assert!(path.exists(), "{} is not built: cargo build -p phalanx-worker", path.display());
    path.to_string_lossy().into_owned()
}
