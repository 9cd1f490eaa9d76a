//! How many ranks a node with GPUs takes, through a real coordinator and a real worker.

#[path = "support/look.rs"]
mod look;
mod support;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use look::replace;
use serde_json::json;
use support::{Finished, Running, Sandbox, binary, kill, wait_for};

/// Process 1 is nobody's rank.
const PROFILE: &str = r#"
device_defaults: {name: Test}
devices:
- {index: 0, uuid: GPU-aa, pci: {bus_id: "0000:10:00.0"}}
- {index: 1, uuid: GPU-bb, pci: {bus_id: "0000:20:00.0"}, processes: [{pid: 1, type: C}]}
- {index: 2, uuid: GPU-cc, pci: {bus_id: "0000:30:00.0"}, failure: {mode: lost}}
"#;

const TWO: &str = r#"
device_defaults: {name: Test}
devices:
- {index: 0, uuid: GPU-aa, pci: {bus_id: "0000:10:00.0"}}
- {index: 1, uuid: GPU-bb, pci: {bus_id: "0000:20:00.0"}}
"#;

/// A coordinator and one worker on this host's loopback network, until the end of a test.
struct Pair {
    sandbox: Sandbox,
    address: String,
    running: Vec<Child>,
}

impl Pair {
    fn start() -> Pair {
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let mut pair = Pair { sandbox: Sandbox::new(), address: free.to_string(), running: Vec::new() };
        let state = pair.sandbox.dir.join("coordinator");
        let mut serve = pair.sandbox.phalanx(&["serve", "--listen", &pair.address, "--state-dir"]);
        serve.arg(&state).stdout(Stdio::null()).stderr(Stdio::null());
        pair.running.push(serve.spawn().expect("phalanx starts"));
        wait_for("the coordinator", || pair.operate(&["nodes"]).status.success().then_some(()));
        pair
    }

    fn operate(&self, args: &[&str]) -> Finished {
        let mut command = self.sandbox.phalanx(args);
        command.env("PHALANX_IDENTITY", self.sandbox.dir.join("coordinator/operator.json"));
        Running::start(command).finish()
    }

    /// Starts the worker, or starts it anew.
    fn work(&mut self, how: &[&str], profile: &Path) {
        if let Some(mut before) = (self.running.len() > 1).then(|| self.running.pop()).flatten() {
            end(&mut before);
        }
        let worker = std::env::var_os("PHALANX_WORKER_BIN")
            .map_or_else(|| binary().with_file_name("phalanx-worker"), PathBuf::from);
        assert!(worker.exists(), "{} is not built: cargo build -p phalanx-worker", worker.display());
        let mut command = Command::new(worker);
        command.args(how).args(["--interface", "lo", "--state-dir"]).arg(self.sandbox.dir.join("worker"));
        command
            .env("PHALANX_NVML_LIBRARY", phalanx_fake_nvml::library())
            .env(phalanx_fake_nvml::PROFILE, profile);
        let log = fs::File::create(self.sandbox.dir.join("log")).expect("a file for the test");
        command.stdout(Stdio::null()).stderr(log);
        self.running.push(command.spawn().expect("phalanx-worker starts"));
    }

    /// A worker with this board, so many slots, and a user whose jobs it takes; says where the board's profile is.
    fn takes_jobs_of_root(&mut self, profile: &str, slots: u32) -> PathBuf {
        let token = self.operate(&["token", "create", "--quiet"]).out().trim().to_owned();
        let profile = self.sandbox.file("own.yaml", profile);
        let address = self.address.clone();
        self.work(&["join", &address, "--token", &token, "--allow-root-jobs"], &profile);
        self.wait_for_slots(slots);
        let bundle = self.sandbox.dir.join("root.json").to_string_lossy().into_owned();
        let added = self.operate(&["user", "add", "root", "--unix-user", "root", "--out", &bundle]);
        assert!(added.status.success(), "{added:?}");
        profile
    }

    /// Waits until the node has this many slots.
    fn wait_for_slots(&self, slots: u32) {
        wait_for(&format!("{slots} slots"), || {
            let nodes = self.operate(&["nodes", "--json"]).out();
            let nodes: serde_json::Value = serde_json::from_str(&nodes).ok()?;
            (nodes[0]["slots"] == json!(slots)).then_some(())
        });
    }
}

fn end(child: &mut Child) {
    kill(child.id(), "TERM");
    let _ = child.wait();
}

impl Drop for Pair {
    fn drop(&mut self) {
        while let Some(mut child) = self.running.pop() {
            end(&mut child);
        }
    }
}

#[test]
fn a_node_takes_no_rank_for_a_gpu_that_others_compute_on_unless_it_is_told_to_share() {
    let mut pair = Pair::start();
    let token = pair.operate(&["token", "create", "--quiet"]).out().trim().to_owned();
    let profile = pair.sandbox.file("own.yaml", PROFILE);
    let address = pair.address.clone();
    pair.work(&["join", &address, "--token", &token], &profile);
    pair.wait_for_slots(1);
    let log = fs::read_to_string(pair.sandbox.dir.join("log")).expect("the worker's log");
    assert!(
        log.contains("process 1, none of ours, computes on GPU 1") && log.contains("GPU 2 does not answer"),
        "{log}"
    );
    pair.work(&["run", "--share"], &profile);
    pair.wait_for_slots(2);
    pair.work(&["run", "--slots", "5"], &profile);
    pair.wait_for_slots(5);
    replace(&profile, &PROFILE.replace("{name: Test}", "{name: Test, failure: {mode: lost}}"));
    pair.work(&["run"], &profile);
    pair.wait_for_slots(0);
}

/// A rank says which devices it sees, on which cores it may run, and which NUMA node its memory comes from.
const TELLS: &str = r#"
ranks: 2
resources: {devices: {count: 1}, cpus: 1}
placement: {deviceView: rank}
command:
- sh
- -c
- >-
  cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status);
  memory=$(sed -n '1s/.* prefer[^:]*:\([^ ]*\) .*/\1/p' /proc/self/numa_maps);
  echo "$RANK: GPU $CUDA_VISIBLE_DEVICES, cores $cpus, memory $memory"
"#;

#[test]
fn ranks_have_the_devices_cores_and_memory_that_the_plan_says() {
    let mut pair = Pair::start();
    pair.takes_jobs_of_root(TWO, 2);
    let file = pair.sandbox.file("job.yaml", TELLS);
    let file = file.to_str().expect("a path");
    let planned: serde_json::Value = wait_for("a plan", || {
        let planned = pair.operate(&["plan", "--as", "root", "-f", file, "--json"]);
        planned.status.success().then(|| serde_json::from_str(&planned.out()).expect("JSON"))
    });
    let ranks = planned["pods"][0]["ranks"].as_array().expect("the ranks of a pod");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let mut wanted: Vec<String> = ranks
        .iter()
        .map(|rank| {
            let device = text(&rank["devices"][0]);
            let device = device.split(" (GPU-").next().expect("a device");
            let (number, cpus, memory) = (&rank["rank"], text(&rank["cpus"]), text(&rank["memory"]));
            format!("[{number}] {number}: {device}, cores {cpus}, memory {memory}")
        })
        .collect();
    wanted.sort();
    assert_eq!(wanted.len(), 2, "{planned:#}");
    let ran = pair.operate(&["run", "--as", "root", "-f", file]);
    let out = ran.out();
    let mut told: Vec<&str> = out.lines().collect();
    told.sort_unstable();
    assert_eq!(told, wanted, "{}", ran.err());
}

#[test]
fn a_job_ends_with_a_gpu_that_the_driver_wants_to_reset_and_a_rule_knows_the_reason() {
    let mut pair = Pair::start();
    let profile = pair.takes_jobs_of_root(PROFILE, 1);
    let file = pair.sandbox.file(
        "job.yaml",
        "name: train\nranks: 1\nresources: {devices: {count: 1}}\nmaxRestarts: 3\n\
         failureRules: [{reasons: [DeviceError], action: FailJob}]\ncommand: [sleep, '1000']\n",
    );
    let submitted = pair.operate(&["submit", "--as", "root", "-f", file.to_str().expect("a path")]);
    assert!(submitted.status.success(), "{submitted:?}");
    let status = |pair: &Pair| -> Option<serde_json::Value> {
        let jobs = pair.operate(&["ps", "--all", "--json"]).out();
        serde_json::from_str::<serde_json::Value>(&jobs).ok().map(|jobs| jobs[0].clone())
    };
    wait_for("a job that runs", || (status(&pair)?["phase"] == "running").then_some(()));
    replace(&profile, &PROFILE.replace("uuid: GPU-aa,", "uuid: GPU-aa, recovery_action: 1,"));
    let ended = wait_for("the end of the job", || status(&pair).filter(|job| job["phase"] == "ended"));
    let outcome = &ended["outcome"];
    assert_eq!(outcome["first_cause"]["cause"], "device_failed", "{outcome}");
    assert_eq!(outcome["first_cause"]["device"], "GPU-aa");
    assert_eq!(outcome["no_restart"]["no_restart"], "rule", "{outcome}");
}
