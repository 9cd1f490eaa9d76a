//! What the ranks of a pod get of its devices, cores and memory: from the plan to the shim's plan.

#![allow(clippy::unwrap_used, reason = "tests, and helpers that run in tests alone")]

use std::collections::BTreeMap;

use phalanx_common::id::{Epoch, Rank};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::plan::{BindingError, BoundDevice, PlanBody, PodBinding, PodPlan, RankBinding};
use phalanx_common::report::{Notice, PrepareFailureKind, Report};
use phalanx_common::spec::{DeviceView, MemoryBinding};
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::AcceleratorKind::{self, Amd, Ascend, Nvidia};
use phalanx_worker_core::shim::ShimPlan;
use phalanx_worker_core::{Command, Config, Facts, Input, Unfit, Worker, shim_plan};

use crate::bench;

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn config(inherited: &[(&str, &str)]) -> Config {
    Config { inherited: vars(inherited), ..bench::config() }
}

fn facts(cores: u32) -> Facts {
    Facts { cores, ..bench::facts() }
}

/// The second pod of the job.
fn plan(binding: PodBinding, env: &[(&str, &str)]) -> PodPlan {
    let of_job = bench::plan(1, None);
    let body = PlanBody { env: vars(env), interface: Some("eth1".into()), log_dir: None, ..of_job.body };
    PodPlan { body, node_rank: 1, first_rank: Rank(2), binding, ..of_job }
}

fn rank(devices: u32, cpus: &str, nodes: &str) -> RankBinding {
    RankBinding { devices, cpus: cpus.parse().unwrap(), nodes: nodes.parse().unwrap() }
}

/// Devices of one kind by their indices, two for the first rank and one for the second.
fn bound(kind: AcceleratorKind, view: DeviceView) -> PodBinding {
    let device = |index: u32| BoundDevice { kind, index, uuid: Some(format!("GPU-{index:02}")), mig: false };
    PodBinding {
        devices: [5, 4, 0].map(device).to_vec(),
        view,
        ranks: vec![rank(2, "0-3,96", "0"), rank(1, "", "")],
        ..PodBinding::default()
    }
}

fn made(plan: &PodPlan, inherited: &[(&str, &str)]) -> ShimPlan {
    shim_plan(&config(inherited), &facts(64), plan, None).unwrap()
}

/// What a rank sees of a variable: its own, that of all, or what it inherits and is not removed.
fn value(plan: &ShimPlan, local_rank: usize, inherited: &[(&str, &str)], name: &str) -> Option<String> {
    let all = plan.env.iter().chain(&plan.ranks[local_rank].env);
    let own = all.filter(|(key, _)| key == name).map(|(_, value)| value.clone()).next_back();
    let kept = || {
        let removed = plan.remove_env.iter().any(|gone| gone == name);
        let found = inherited.iter().find(|(key, _)| *key == name);
        found.filter(|_| !removed).map(|(_, value)| (*value).to_owned())
    };
    own.or_else(kept)
}

const NAMES: [&str; 8] = [
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "LOCAL_RANK",
    "PHALANX_LOCAL_RANK",
    "ROCR_VISIBLE_DEVICES",
];

/// What both ranks see of devices, in the order of `NAMES`.
fn seen(binding: PodBinding, job: &[(&str, &str)], inherited: &[(&str, &str)]) -> [Vec<String>; 2] {
    let plan = made(&plan(binding, job), inherited);
    [0, 1].map(|local| {
        let pair = |name: &&str| Some(format!("{name}={}", value(&plan, local, inherited, name)?));
        NAMES.iter().filter_map(pair).collect()
    })
}

/// All that an outer launcher may have left in the environment.
const OUTER: [(&str, &str); 5] = [
    ("ASCEND_RT_VISIBLE_DEVICES", "7"),
    ("CUDA_VISIBLE_DEVICES", "0,4,5"),
    ("GPU_DEVICE_ORDINAL", "1"),
    ("HIP_VISIBLE_DEVICES", "1"),
    ("ROCR_VISIBLE_DEVICES", "3"),
];

#[test]
fn all_ranks_see_the_devices_of_their_pod_in_the_order_of_local_ranks_and_no_other_mask() {
    for (kind, variables) in [
        (Nvidia, &["CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=5,4,0"][..]),
        (Amd, &["ROCR_VISIBLE_DEVICES=5,4,0"]),
        (Ascend, &["ASCEND_RT_VISIBLE_DEVICES=5,4,0"]),
    ] {
        let [first, second] = seen(bound(kind, DeviceView::Pod), &[], &OUTER);
        for (local, seen) in [(0, first), (1, second)] {
            let mut expected: Vec<String> = variables.iter().map(|&variable| variable.to_owned()).collect();
            expected.push(format!("LOCAL_RANK={local}"));
            expected.push(format!("PHALANX_LOCAL_RANK={local}"));
            expected.sort();
            assert_eq!(seen, expected, "{kind:?}");
        }
    }
}

#[test]
fn an_isolated_rank_sees_its_own_devices_from_zero_on_and_its_local_rank_is_zero() {
    for (kind, name) in [
        (Nvidia, "CUDA_VISIBLE_DEVICES"),
        (Amd, "ROCR_VISIBLE_DEVICES"),
        (Ascend, "ASCEND_RT_VISIBLE_DEVICES"),
    ] {
        let [first, second] = seen(bound(kind, DeviceView::Rank), &[], &OUTER);
        for (local, devices, seen) in [(0, "5,4", first), (1, "0", second)] {
            let order = (kind == Nvidia).then(|| "CUDA_DEVICE_ORDER=PCI_BUS_ID".to_owned());
            let mut expected = vec![
                format!("{name}={devices}"),
                "LOCAL_RANK=0".to_owned(),
                format!("PHALANX_LOCAL_RANK={local}"),
            ];
            expected.extend(order);
            expected.sort();
            assert_eq!(seen, expected, "{kind:?}");
        }
    }
}

#[test]
fn a_pod_without_devices_leaves_every_mask_as_it_is_inherited() {
    let binding = PodBinding { view: DeviceView::Rank, ..PodBinding::default() };
    let [_, second] = seen(binding, &[], &OUTER);
    let mut expected: Vec<String> = OUTER.iter().map(|(name, value)| format!("{name}={value}")).collect();
    expected.extend(["LOCAL_RANK=1".to_owned(), "PHALANX_LOCAL_RANK=1".to_owned()]);
    expected.sort();
    assert_eq!(second, expected);
}

#[test]
fn slices_are_named_by_their_uuids() {
    let mut binding = bound(Nvidia, DeviceView::Rank);
    for device in &mut binding.devices[..2] {
        (device.mig, device.uuid) = (true, Some(format!("MIG-{}", device.index)));
    }
    let [first, second] = seen(binding, &[], &[]);
    assert!(first.contains(&"CUDA_VISIBLE_DEVICES=MIG-5,MIG-4".to_owned()), "{first:?}");
    assert!(second.contains(&"CUDA_VISIBLE_DEVICES=0".to_owned()), "{second:?}");
}

#[test]
fn a_mask_of_the_job_is_the_only_one_under_whatever_name_and_the_override_is_told() {
    let mine = [("HIP_VISIBLE_DEVICES", "2")];
    let [first, _] = seen(bound(Amd, DeviceView::Pod), &mine, &OUTER);
    assert_eq!(first, ["HIP_VISIBLE_DEVICES=2", "LOCAL_RANK=0", "PHALANX_LOCAL_RANK=0"]);
    // Numbers of the user's mask are those of the order that the user knows.
    let mine = [("CUDA_VISIBLE_DEVICES", "2")];
    let [first, _] = seen(bound(Nvidia, DeviceView::Pod), &mine, &OUTER);
    assert_eq!(first, ["CUDA_VISIBLE_DEVICES=2", "LOCAL_RANK=0", "PHALANX_LOCAL_RANK=0"]);
    for (kind, name) in [
        (Amd, "HIP_VISIBLE_DEVICES"),
        (Nvidia, "CUDA_VISIBLE_DEVICES"),
        (Ascend, "ASCEND_RT_VISIBLE_DEVICES"),
    ] {
        assert_eq!(told(plan(bound(kind, DeviceView::Pod), &[(name, "2")])), [name]);
    }
    assert_eq!(told(plan(bound(Amd, DeviceView::Pod), &[("ASCEND_RT_VISIBLE_DEVICES", "2")])), [""; 0]);
}

/// The variables of the job that win, as the worker tells them.
fn told(plan: PodPlan) -> Vec<String> {
    let reports = prepare(plan);
    let names = reports.into_iter().find_map(|report| match report {
        Report::Notice { notice: Notice::EnvironmentOverridden { job, .. }, .. } => Some(job),
        _ => None,
    });
    names.unwrap_or_default()
}

/// What a worker reports whose shim is there when it is told to prepare this.
fn prepare(plan: PodPlan) -> Vec<Report> {
    let mut worker = Worker::new(config(&[]), facts(64));
    let job = plan.job.clone();
    let order = Order { epoch: Epoch(1), kind: OrderKind::Prepare(Box::new(plan)) };
    for input in [Input::LinkUp, Input::Order(order), Input::ShimUp { job }] {
        worker.handle(Timestamp(1), input);
    }
    let report = |command| match command {
        Command::ToCoordinator(report) => Some(report),
        _ => None,
    };
    std::iter::from_fn(|| worker.poll_command()).filter_map(report).collect()
}

#[test]
fn gpus_are_named_by_their_uuids_where_the_job_counts_them_in_another_order() {
    let mine = [("CUDA_DEVICE_ORDER", "FASTEST_FIRST")];
    let [first, _] = seen(bound(Nvidia, DeviceView::Pod), &mine, &[]);
    assert!(first.contains(&"CUDA_VISIBLE_DEVICES=GPU-05,GPU-04,GPU-00".to_owned()), "{first:?}");
    assert!(first.contains(&"CUDA_DEVICE_ORDER=FASTEST_FIRST".to_owned()), "{first:?}");
}

#[test]
fn a_bound_rank_has_a_thread_for_each_of_its_cpus_and_the_others_share_what_there_is() {
    let plan = plan(bound(Nvidia, DeviceView::Pod), &[]);
    let threads = |cores: u32| {
        let made = shim_plan(&config(&[]), &facts(cores), &plan, None).unwrap();
        [0, 1].map(|local| value(&made, local, &[], "OMP_NUM_THREADS").unwrap())
    };
    assert_eq!(threads(64), ["5", "32"]);
    assert_eq!(threads(3), ["3", "1"], "a quota leaves fewer than there are CPUs");
}

#[test]
fn names_of_interfaces_and_of_rdma_ports_are_exact() {
    let hca = vec!["mlx5_0:1".to_owned(), "mlx5_11:2".to_owned()];
    let bound = PodBinding { hca, ..PodBinding::default() };
    let made_with = |job: &[(&str, &str)], inherited: &[(&str, &str)]| {
        let made = made(&plan(bound.clone(), job), inherited);
        ["NCCL_IB_HCA", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"]
            .map(|name| value(&made, 1, inherited, name).unwrap())
    };
    assert_eq!(made_with(&[], &[]), ["=mlx5_0:1,mlx5_11:2", "=eth1", "eth1"]);
    assert_eq!(made_with(&[], &[("NCCL_IB_HCA", "mlx5")])[0], "mlx5");
    assert_eq!(made_with(&[("NCCL_IB_HCA", "=mlx5_3")], &[("NCCL_IB_HCA", "mlx5")])[0], "=mlx5_3");
    let unbound = made(&plan(PodBinding::default(), &[]), &[]);
    assert_eq!(value(&unbound, 0, &[], "NCCL_IB_HCA"), None);
}

#[test]
fn a_topology_file_for_nccl_is_in_the_pods_directory_unless_the_user_names_another() {
    let bound = PodBinding { nccl_topology: Some(BTreeMap::new()), ..PodBinding::default() };
    let named = |bound: &PodBinding, job: &[(&str, &str)], inherited: &[(&str, &str)]| {
        let made = made(&plan(bound.clone(), job), inherited);
        (value(&made, 0, inherited, "NCCL_TOPO_FILE"), made.job_dir)
    };
    let (own, job_dir) = named(&bound, &[], &[]);
    assert_eq!(own, Some(format!("{job_dir}/nccl-topology.xml")));
    assert_eq!(named(&bound, &[("NCCL_TOPO_FILE", "/job.xml")], &[]).0.as_deref(), Some("/job.xml"));
    assert_eq!(named(&bound, &[], &[("NCCL_TOPO_FILE", "/site.xml")]).0.as_deref(), Some("/site.xml"));
    assert_eq!(named(&PodBinding::default(), &[], &[]).0, None);
}

#[test]
fn the_shim_gets_the_cores_and_the_memory_of_each_rank() {
    let binding = PodBinding { memory: MemoryBinding::Strict, ..bound(Nvidia, DeviceView::Pod) };
    let made_bound = made(&plan(binding, &[]), &[]);
    let lists = |plan: &ShimPlan| {
        plan.ranks.iter().map(|rank| format!("{} {}", rank.cpus, rank.nodes)).collect::<Vec<_>>()
    };
    assert_eq!(made_bound.memory, MemoryBinding::Strict);
    assert_eq!(lists(&made_bound), ["0-3,96 0", " "]);
    let unbound = made(&plan(PodBinding::default(), &[]), &[]);
    assert_eq!(
        (unbound.memory, lists(&unbound)),
        (MemoryBinding::None, vec![" ".to_owned(), " ".to_owned()])
    );
}

#[test]
fn a_plan_that_contradicts_itself_is_not_prepared_and_says_why() {
    let mut binding = bound(Nvidia, DeviceView::Pod);
    binding.ranks.pop();
    let wrong = plan(binding, &[]);
    let error = shim_plan(&config(&[]), &facts(64), &wrong, None).unwrap_err();
    assert_eq!(error, Unfit::Binding(BindingError::Ranks { bound: 1, ranks: 2 }));
    let reason = prepare(wrong).into_iter().find_map(|report| match report {
        Report::NotPrepared { reason, .. } => Some(reason),
        _ => None,
    });
    let reason = reason.unwrap();
    assert_eq!(reason.kind, PrepareFailureKind::Job);
    assert_eq!(
        reason.message,
        "the plan of this pod contradicts itself, a mistake of the coordinator: it binds 1 ranks, and the pod has 2"
    );
}
