//! A pod that gets devices: what its ranks see, and what keeps it from being prepared, through a real worker, a real
//! shim and a real dlopen of a libnvidia-ml that has no hardware behind it.

#[path = "support/look.rs"]
mod look;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use look::sys;
use phalanx_common::id::{Generation, JobId, Rank};
use phalanx_common::plan::{BoundDevice, PlanBody, PodBinding, PodPlan, RankBinding};
use phalanx_common::spec::{DeviceView, Keep, StopScope};
use phalanx_common::topology::machine::AcceleratorKind;
use phalanx_formats::nccl_xml;
use serde_json::Value;
use support::Sandbox;

/// A board of eight GPUs, `GPU-0a` at number 0 and so on.
fn board(more: &[(u32, &str)]) -> String {
    let own = |index: u32| {
        let found = more.iter().find(|(of, _)| *of == index);
        found.map_or(String::new(), |(_, text)| format!(", {text}"))
    };
    let device = |index: u32| {
        let (uuid, bus) = (uuid(index), (index + 1) * 10);
        format!("- {{index: {index}, uuid: {uuid}, pci: {{bus_id: \"0000:{bus}:00.0\"}}{}}}\n", own(index))
    };
    let devices: String = (0..8).map(device).collect();
    format!("device_defaults: {{name: Test}}\ndevices:\n{devices}")
}

fn uuid(index: u32) -> String {
    format!("GPU-0{}", char::from(b'a' + u8::try_from(index).expect("few")))
}

const SLICES: &str = "mig: {mode_current: enabled, instances: [{profile: 1g.10gb, uuid: MIG-1}, {profile: 1g.10gb, uuid: MIG-2}]}";

fn gpu(index: u32) -> BoundDevice {
    BoundDevice { kind: AcceleratorKind::Nvidia, index, uuid: Some(uuid(index)), mig: false }
}

fn slice(index: u32, uuid: &str) -> BoundDevice {
    BoundDevice { uuid: Some(uuid.to_owned()), mig: true, ..gpu(index) }
}

/// These devices, one for each rank.
fn one_each(devices: &[BoundDevice], view: DeviceView) -> PodBinding {
    let rank = |_: &BoundDevice| RankBinding { devices: 1, ..RankBinding::default() };
    PodBinding {
        devices: devices.to_vec(),
        view,
        ranks: devices.iter().map(rank).collect(),
        ..PodBinding::default()
    }
}

/// A node that prepares one pod.
struct Node {
    sandbox: Sandbox,
    profile: PathBuf,
    root: PathBuf,
    env: Vec<(&'static str, String)>,
    share: bool,
}

impl Node {
    fn new(profile: &str) -> Node {
        let sandbox = Sandbox::new();
        let profile = sandbox.file("board.yaml", profile);
        let root = sys(&sandbox, "0x10de", "0x030200", &["0000:00:01.0"]);
        Node { sandbox, profile, root, env: Vec::new(), share: false }
    }

    /// What the worker says.
    fn run(&self, binding: PodBinding, ranks: u32, script: &str) -> Vec<Value> {
        let dir = &self.sandbox.dir;
        let mut command = Command::new(env!("CARGO_BIN_EXE_pod"));
        command.arg(dir).arg(&self.root).args(self.share.then_some("share"));
        command
            .env("PHALANX_NVML_LIBRARY", phalanx_fake_nvml::library())
            .env(phalanx_fake_nvml::PROFILE, &self.profile)
            .env_remove("CUDA_VISIBLE_DEVICES")
            .envs(self.env.iter().cloned())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child: Child = command.spawn().expect("pod starts");
        let plan = serde_json::to_vec(&plan(binding, ranks, script)).expect("a plan");
        child.stdin.take().expect("its input").write_all(&plan).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).expect("text");
        lines.lines().map(|line| serde_json::from_str(line).expect("a report")).collect()
    }

    /// What each rank sees of its devices: LOCAL_RANK, CUDA_DEVICE_ORDER and CUDA_VISIBLE_DEVICES.
    fn seen(&self, binding: PodBinding, ranks: u32) -> Vec<String> {
        let script =
            "echo $LOCAL_RANK $CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES $HIP_VISIBLE_DEVICES > seen.$RANK";
        let said = self.run(binding, ranks, script);
        let read = |rank: u32| fs::read_to_string(self.sandbox.dir.join(format!("seen.{rank}")));
        (0..ranks).map(|rank| read(rank).unwrap_or_else(|_| panic!("{said:?}")).trim().to_owned()).collect()
    }

    /// Why a pod that gets this is not prepared.
    fn refused(&self, binding: PodBinding) -> String {
        let ranks = u32::try_from(binding.ranks.len()).expect("few").max(1);
        let said = self.run(binding, ranks, "touch ran");
        assert!(!Path::new(&self.sandbox.dir).join("ran").exists(), "{said:?}");
        let reason = said.iter().find_map(|report| report.get("NotPrepared")?.get("reason"));
        let reason = reason.unwrap_or_else(|| panic!("{said:?}"));
        assert_eq!(reason["kind"], "Node", "another node may do");
        reason["message"].as_str().expect("a text").to_owned()
    }
}

fn plan(binding: PodBinding, ranks: u32, script: &str) -> PodPlan {
    PodPlan {
        job: JobId::from_existing("bound-1"),
        generation: Generation(1),
        body: PlanBody {
            name: "bound".into(),
            user: None,
            world_size: ranks,
            nodes: 1,
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            working_dir: None,
            env: BTreeMap::new(),
            secrets: Vec::new(),
            virtual_env: None,
            ship: None,
            master_addr: [127, 0, 0, 1].into(),
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
        },
        // Rank 0's port is somebody else's to take.
        node_rank: 1,
        first_rank: Rank(0),
        local_ranks: ranks,
        probe_port: None,
        binding,
    }
}

#[test]
fn ranks_of_a_pod_see_its_gpus_in_the_order_of_local_ranks() {
    let node = Node::new(&board(&[]));
    let all = one_each(&[3, 1, 7].map(gpu), DeviceView::Pod);
    assert_eq!(node.seen(all, 3), ["0 PCI_BUS_ID 3,1,7", "1 PCI_BUS_ID 3,1,7", "2 PCI_BUS_ID 3,1,7"]);
}

#[test]
fn isolated_ranks_see_their_own_gpus_alone_and_are_local_rank_zero() {
    let node = Node::new(&board(&[]));
    let mut own = one_each(&[6, 5, 2].map(gpu), DeviceView::Rank);
    own.ranks.pop();
    own.ranks[0].devices = 2;
    assert_eq!(node.seen(own, 2), ["0 PCI_BUS_ID 6,5", "0 PCI_BUS_ID 2"]);
}

#[test]
fn slices_are_seen_by_their_uuids() {
    let node = Node::new(&board(&[(4, SLICES)]));
    let own = one_each(&[slice(4, "MIG-2"), slice(4, "MIG-1")], DeviceView::Rank);
    assert_eq!(node.seen(own, 2), ["0 PCI_BUS_ID MIG-2", "0 PCI_BUS_ID MIG-1"]);
    let gone = one_each(&[slice(4, "MIG-3")], DeviceView::Rank);
    assert_eq!(
        node.refused(gone),
        "slice MIG-3 of GPU 4 of node n1 is not there any more; restart the driver, or see to the machine"
    );
}

#[test]
fn an_outer_mask_is_the_allowed_set_and_numbers_stay_those_of_the_machine() {
    let mut node = Node::new(&board(&[]));
    node.env =
        vec![("CUDA_VISIBLE_DEVICES", format!("7,{},1", uuid(5))), ("HIP_VISIBLE_DEVICES", "0".to_owned())];
    assert_eq!(
        node.seen(one_each(&[5, 7].map(gpu), DeviceView::Pod), 2),
        ["0 PCI_BUS_ID 5,7", "1 PCI_BUS_ID 5,7"]
    );
    assert_eq!(
        node.refused(one_each(&[5, 0].map(gpu), DeviceView::Pod)),
        "GPU 0 (GPU-0a) of node n1 is not the worker's: CUDA_VISIBLE_DEVICES=7,GPU-0f,1 in its environment leaves it \
         out; start the worker without"
    );
    // Nothing is bound: the mask is passed on as it is, as ever.
    let unbound = node.seen(PodBinding::default(), 2);
    assert_eq!(unbound, ["0 7,GPU-0f,1 0", "1 7,GPU-0f,1 0"]);
}

#[test]
fn a_gpu_that_is_not_fit_is_told_with_its_node_and_the_reason_and_nothing_runs() {
    let pid = std::process::id();
    let node = Node::new(&board(&[
        (1, "failure: {mode: lost}"),
        (2, "recovery_action: 1"),
        (3, &format!("processes: [{{pid: {pid}, type: C}}]")),
        (4, SLICES),
    ]));
    let another = BoundDevice { uuid: Some("GPU-77".to_owned()), ..gpu(5) };
    for (device, told) in [
        (gpu(8), "GPU 8 (GPU-0i) of node n1 is not there any more"),
        (gpu(1), "GPU 1 (GPU-0b) of node n1 is not well: device fell off the bus"),
        (gpu(2), "GPU 2 (GPU-0c) of node n1 is not well: needs "),
        (
            gpu(3),
            &format!(
                "GPU 3 (GPU-0d) of node n1 is in use: process {pid}, none of ours, computes on it; end that"
            ),
        ),
        (gpu(4), "GPU 4 (GPU-0e) of node n1 is cut into slices by now"),
        (another, "GPU 5 (GPU-77) of node n1 is GPU-0f by now: devices changed after the job was placed"),
    ] {
        let said = node.refused(one_each(&[gpu(0), device], DeviceView::Pod));
        assert!(said.starts_with(told), "{said}");
    }
}

#[test]
fn a_gpu_that_others_compute_on_is_given_where_the_worker_is_told_to_share() {
    let mut node = Node::new(&board(&[(3, "processes: [{pid: 1, type: C}]")]));
    node.share = true;
    assert_eq!(node.seen(one_each(&[gpu(3)], DeviceView::Pod), 1), ["0 PCI_BUS_ID 3"]);
}

#[test]
fn a_driver_that_does_not_answer_keeps_no_pod_from_its_node_that_wants_no_devices() {
    let mut node = Node::new(&board(&[]));
    node.env = vec![(phalanx_fake_nvml::BROKEN, "1".to_owned())];
    let told = node.refused(one_each(&[gpu(0)], DeviceView::Pod));
    assert!(
        told.starts_with("GPU 0 (GPU-0a) of node n1 cannot be looked at: the NVIDIA management library "),
        "{told}"
    );
    assert_eq!(node.seen(PodBinding::default(), 1), ["0"]);
}

#[test]
fn an_rdma_port_that_is_gone_or_down_is_told() {
    let node = Node::new(&board(&[]));
    for (port, state) in [("mlx5_0/ports/1", "4: ACTIVE"), ("mlx5_1/ports/2", "1: DOWN")] {
        let dir = node.root.join("sys/class/infiniband").join(port);
        fs::create_dir_all(&dir).expect("a folder for the test");
        for (name, text) in [("state", state), ("link_layer", "InfiniBand"), ("rate", "400 Gb/sec (4X NDR)")]
        {
            fs::write(dir.join(name), text).expect("a file for the test");
        }
    }
    let with = |ports: &[&str]| PodBinding {
        hca: ports.iter().map(|&port| port.to_owned()).collect(),
        ..PodBinding::default()
    };
    let said = node.run(with(&["mlx5_0:1"]), 1, "echo $NCCL_IB_HCA > seen");
    let seen = fs::read_to_string(node.sandbox.dir.join("seen")).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!(seen, "=mlx5_0:1\n");
    assert_eq!(
        node.refused(with(&["mlx5_0:1", "mlx5_1:2"])),
        "RDMA port mlx5_1:2 of node n1 is down; see to its cable and its switch"
    );
    assert_eq!(
        node.refused(with(&["mlx5_0:2"])),
        "RDMA port mlx5_0:2 of node n1 is not there any more; see to the adapter and its driver"
    );
}

#[test]
fn nccl_gets_a_topology_file_of_the_node_with_its_rails() {
    let node = Node::new(&board(&[]));
    let places: Vec<String> = (1..=8).map(|at| format!("0000:{}:00.0", at * 10)).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    sys(&node.sandbox, "0x10de", "0x030200", &places);
    let port = sys(&node.sandbox, "0x15b3", "0x020700", &["0000:05:00.0"])
        .join("sys/devices/pci0000:00/0000:05:00.0");
    for (name, text) in [
        ("infiniband/mlx5_0/ports/1/state", "4: ACTIVE"),
        ("infiniband/mlx5_0/ports/1/link_layer", "InfiniBand"),
        ("infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)"),
    ] {
        let path = port.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the test");
        fs::write(path, text).expect("a file for the test");
    }
    let class = node.root.join("sys/class/infiniband");
    fs::create_dir_all(&class).expect("a folder for the test");
    let link = "../../devices/pci0000:00/0000:05:00.0/infiniband/mlx5_0";
    std::os::unix::fs::symlink(link, class.join("mlx5_0")).expect("a link for the test");

    let rails = BTreeMap::from([("mlx5_0/1".to_owned(), 3)]);
    let wants = PodBinding { nccl_topology: Some(rails.clone()), ..PodBinding::default() };
    let said = node.run(wants, 1, "cat $NCCL_TOPO_FILE > seen");
    let seen = fs::read_to_string(node.sandbox.dir.join("seen")).unwrap_or_else(|_| panic!("{said:?}"));
    let read = nccl_xml::read(seen.as_bytes()).expect("what NCCL reads");
    let told = read.machine.accelerators.iter().filter(|gpu| gpu.index.is_some());
    assert_eq!(told.count(), 8, "{seen}");
    assert_eq!(read.rails, rails, "{seen}");
}

#[test]
fn a_topology_file_in_which_a_gpu_has_no_place_is_not_given_to_nccl() {
    let node = Node::new(&board(&[]));
    let wants = PodBinding { nccl_topology: Some(BTreeMap::new()), ..PodBinding::default() };
    assert_eq!(
        node.refused(wants),
        "a topology file for NCCL of node n1 cannot be made: where GPU0 is plugged in is not known; run the job without \
         `ncclTopology`"
    );
}
