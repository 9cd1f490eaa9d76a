//! A small cluster of network namespaces: each host has a name, addresses and links of its own.
//!
//! ```text
//!            ctl 10.77.0.0/24 (bridge)           data 10.78.0.0/24 (bridge)
//!   head     .1 ctl0                             -
//!   node1    .11 ctl0                            .11 data0
//!   node2    .12 ctl0                            .12 data0
//! ```
//!
//! Or the same with IPv6 alone, in fd77::/64 and fd78::/64. All of it goes when the lab does. The files of all
//! hosts are one machine's: each has its own directory, and what `mount` puts over it for this host alone.

mod daemons;
mod hosts;
mod switches;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use daemons::worker;

use crate::support::{Finished, PATIENCE, Running, binary, wait_for};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Makes a host of a shell: the host's name, and the lab's own cgroup in a file system of cgroups, which a
/// new network namespace hides.
const ENTER: &str = r#"hostname "$0"; lab=/sys/fs/cgroup/$1; shift
{ mount -t cgroup2 cgroup2 /sys/fs/cgroup && mkdir -p $lab && echo 0 > $lab/cgroup.procs; } 2>/dev/null
"#;
/// Removes the lab's cgroup, which is empty by now.
const REMOVE_CGROUP: &str =
    "mount -t cgroup2 cgroup2 /sys/fs/cgroup && find /sys/fs/cgroup/$0 -depth -type d -exec rmdir {} +";
/// Port of the lab's coordinator.
const PORT: u16 = 7429;

pub(crate) struct Lab {
    pub(crate) dir: PathBuf,
    /// Begins the names of this lab's namespaces.
    prefix: String,
    family: Family,
    hosts: Vec<String>,
    /// Arguments of mount(8), by host.
    mounts: BTreeMap<String, Vec<String>>,
    /// What comes before every command line, by host.
    clocks: BTreeMap<String, Vec<String>>,
    /// Hosts with a file of names.
    named: Vec<String>,
    daemons: Vec<(String, Child)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A network of the lab, by the name of its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    Control,
    Data,
}

impl Plane {
    fn name(self) -> &'static str {
        match self {
            Plane::Control => "ctl",
            Plane::Data => "data",
        }
    }

    /// A host's address here, without its prefix.
    fn address(self, family: Family, number: u8) -> String {
        match (self, family) {
            (Plane::Control, Family::V4) => format!("10.77.0.{number}"),
            (Plane::Data, Family::V4) => format!("10.78.0.{number}"),
            (Plane::Control, Family::V6) => format!("fd77::{number}"),
            (Plane::Data, Family::V6) => format!("fd78::{number}"),
        }
    }
}

impl Lab {
    /// A lab with a head and so many nodes, nothing running; `None`, with a line that says so, where no
    /// namespaces can be made.
    pub(crate) fn new(nodes: u8) -> Option<Lab> {
        Lab::of(Family::V4, nodes)
    }

    /// The same with addresses of one family and no other.
    pub(crate) fn of(family: Family, nodes: u8) -> Option<Lab> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("phx{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(&prefix);
        let mut lab = Lab {
            dir,
            prefix,
            family,
            hosts: Vec::new(),
            mounts: BTreeMap::new(),
            clocks: BTreeMap::new(),
            named: Vec::new(),
            daemons: Vec::new(),
        };
        if !nix::unistd::geteuid().is_root() || !ok(ip(&["netns", "add", &lab.namespace("hub")])) {
            crate::support::skipped("network namespaces need root and a kernel that has them");
            return None;
        }
        fs::create_dir_all(&lab.dir).expect("a directory for the lab");
        lab.hosts.push("hub".to_owned());
        for plane in [Plane::Control, Plane::Data] {
            lab.in_hub(&["link", "add", plane.name(), "type", "bridge"]);
            lab.in_hub(&["link", "set", plane.name(), "up"]);
        }
        lab.add_host("head", 1, &[Plane::Control]);
        for node in 1..=nodes {
            lab.add_host(&format!("node{node}"), 10 + node, &[Plane::Control, Plane::Data]);
        }
        Some(lab)
    }

    fn add_host(&mut self, host: &str, number: u8, planes: &[Plane]) {
        let namespace = self.namespace(host);
        assert!(ok(ip(&["netns", "add", &namespace])), "a namespace for {host}");
        self.hosts.push(host.to_owned());
        assert!(ok(ip(&["-n", &namespace, "link", "set", "lo", "up"])));
        for plane in planes {
            let (inside, outside) = (format!("{}0", plane.name()), format!("{}-{}", plane.name(), host));
            self.in_hub(&[
                "link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &namespace,
            ]);
            self.in_hub(&["link", "set", &outside, "master", plane.name(), "up"]);
            let address = plane.address(self.family, number);
            let address = match self.family {
                Family::V4 => format!("{address}/24"),
                Family::V6 => format!("{address}/64"),
            };
            let mut add = vec!["-n", &namespace, "addr", "add", &address, "dev", &inside];
            // Whether somebody else has the address is asked for a second first.
            add.extend((self.family == Family::V6).then_some("nodad"));
            assert!(ok(ip(&add)));
            assert!(ok(ip(&["-n", &namespace, "link", "set", &inside, "up"])));
        }
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn in_hub(&self, args: &[&str]) {
        let hub = self.namespace("hub");
        assert!(ok(ip(&[&["-n", &hub], args].concat())), "ip {args:?}");
    }

    /// Cuts or mends a host's link to a plane, at the switch: the host does not see it.
    pub(crate) fn link(&self, host: &str, plane: Plane, up: bool) {
        let port = format!("{}-{host}", plane.name());
        self.in_hub(&["link", "set", &port, if up { "up" } else { "down" }]);
    }

    /// Talks from a host's network, in this process.
    pub(crate) fn within<F: Future>(&self, host: &str, talk: impl FnOnce() -> F + Send) -> F::Output
    where
        F::Output: Send,
    {
        let namespace = Path::new("/run/netns").join(self.namespace(host));
        let namespace = fs::File::open(namespace).expect("the host's namespace");
        let talking = || {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("the host's network");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let talked = runtime.expect("an event loop").block_on(async { within_patience(talk()).await });
            talked.expect("the talk comes to its end")
        };
        let talked = std::thread::scope(|scope| scope.spawn(talking).join());
        talked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Where the coordinator is, as `join` takes it.
    pub(crate) fn coordinator(&self) -> String {
        let address = Plane::Control.address(self.family, 1);
        match self.family {
            Family::V4 => format!("{address}:{PORT}"),
            Family::V6 => format!("[{address}]:{PORT}"),
        }
    }

    /// A command on a host, under its name.
    pub(crate) fn on(&self, host: &str, program: &str, args: &[&str]) -> Command {
        let mounts = self.mounts.get(host).map(|all| {
            all.iter().fold(String::new(), |mut text, mount| {
                text += &format!("mount {mount} && ");
                text
            })
        });
        let script = format!(r#"{ENTER}{}exec "$@""#, mounts.unwrap_or_default());
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(host), "unshare", "--uts", "sh", "-c"])
            .args([&script, host, &self.prefix])
            .args(self.clocks.get(host).into_iter().flatten())
            .arg(program)
            .args(args)
            .current_dir(&self.dir)
            .env("HOME", self.dir.join("home"))
            .env("PHALANX_CONFIG", "/dev/null")
            .env("PHALANX_STATE_DIR", self.dir.join("nothing"))
            .env_remove("PHALANX_OUTPUT")
            .env_remove("PHALANX_COORDINATOR")
            .env_remove("PHALANX_IDENTITY")
            .env_remove("CUDA_VISIBLE_DEVICES")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `phalanx` on the head, as the user who is logged in.
    pub(crate) fn phalanx(&self, args: &[&str]) -> Command {
        let mut command = self.on("head", &binary().to_string_lossy(), args);
        command.env("PHALANX_IDENTITY", self.dir.join("user.json"));
        command
    }

    /// The same to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        Running::start(self.phalanx(args)).finish()
    }

    /// `phalanx` on the head, as the cluster's operator.
    pub(crate) fn operate(&self, args: &[&str]) -> Finished {
        let mut command = self.on("head", &binary().to_string_lossy(), args);
        command.env("PHALANX_IDENTITY", self.dir.join("coordinator/operator.json"));
        Running::start(command).finish()
    }

    /// The id of the one job there is or was.
    pub(crate) fn only_job(&self) -> String {
        let jobs = self.operate(&["ps", "--all"]).out();
        let mut ids = jobs.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        let id = ids.next().expect("a job").to_owned();
        assert_eq!(ids.next(), None, "one job: {jobs}");
        id
    }

    /// Names of the cgroups that this node's worker made for pods; `None`, with a line that says so, where
    /// the host lets it make none.
    pub(crate) fn pod_cgroups(&self, host: &str) -> Option<Vec<String>> {
        if self.log(host).contains("pods get no cgroups of their own") {
            crate::support::skipped("in part: this host lets nobody make cgroups of version 2");
            return None;
        }
        let nodes = self.operate(&["nodes"]).out();
        let mut ids = nodes.lines().filter_map(|line| line.split_whitespace().next());
        let id = ids.find(|id| id.starts_with(&format!("{host}-"))).expect("the node is there").to_owned();
        let listed =
            Running::start(self.on(host, "ls", &[&format!("/sys/fs/cgroup/{}", self.prefix)])).finish();
        let prefix = format!("phalanx-{id}@");
        Some(listed.out().lines().filter(|name| name.starts_with(&prefix)).map(str::to_owned).collect())
    }

    /// The file, once it is there and holds `text`.
    pub(crate) fn wait_for_file(&self, name: &str, text: &str) -> String {
        wait_for(&format!("{text:?} in {name}"), || {
            fs::read_to_string(self.dir.join(name)).ok().filter(|content| content.contains(text))
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (name, _) in &self.daemons {
                let log = self.log(name);
                let tail: Vec<&str> = log.lines().rev().take(60).collect();
                eprintln!("--- {name}");
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        for (_, child) in &mut self.daemons {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Pods run on without their worker: they are ended with their namespace.
        for host in self.hosts.iter().rev() {
            let namespace = format!("{}-{host}", self.prefix);
            let deadline = std::time::Instant::now() + PATIENCE;
            while std::time::Instant::now() < deadline {
                let pids = Command::new("ip").args(["netns", "pids", &namespace]).output();
                let pids = pids
                    .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                    .unwrap_or_default();
                let alive: Vec<i32> = pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
                if alive.is_empty() {
                    break;
                }
                for pid in alive {
                    let _ =
                        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            // The hub is the last one.
            if host == "hub" {
                let remove = ["netns", "exec", &namespace, "sh", "-c", REMOVE_CGROUP, &self.prefix];
                let _ = ip(&remove).stderr(Stdio::null()).status();
            }
            let _ = ip(&["netns", "del", &namespace]).status();
        }
        for host in &self.named {
            let _ = fs::remove_dir_all(self.names_of(host));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

async fn within_patience<F: Future>(talk: F) -> Option<F::Output> {
    tokio::time::timeout(PATIENCE, talk).await.ok()
}

fn ip(args: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(args).stdin(Stdio::null());
    command
}

fn ok(mut command: Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
