//! What is said of needs on the command line.

use phalanx_common::spec::{DeviceKind, Flags, JobSpec, NeedsFlags, Shape};
use phalanx_common::topology::Tier;

use crate::{run, run_in_cluster, some};

fn of(needs: NeedsFlags) -> Flags {
    Flags { needs, command: vec!["a".into()], ..Flags::default() }
}

fn gpus(count: &str) -> NeedsFlags {
    NeedsFlags { gpus: some(count), ..NeedsFlags::default() }
}

fn each(job: &JobSpec) -> (u32, u32) {
    (job.world_size(), job.resources.devices.as_ref().unwrap().count)
}

#[test]
fn devices_of_the_whole_job_say_how_many_ranks_there_are() {
    let job = |text: &str, flags: Flags| run_in_cluster(text, &flags).unwrap();
    let job_of = |flags: Flags| job("name: x", flags);
    assert_eq!(job_of(of(gpus("256"))).shape, Shape::Ranks(256));
    assert_eq!(each(&job_of(of(gpus("256")))), (256, 1));
    let by_four = NeedsFlags { gpus_per_rank: some("4"), ..gpus("64") };
    assert_eq!(each(&job_of(of(by_four.clone()))), (16, 4));
    // With a number of ranks beside it, it says how many each rank has.
    assert_eq!(each(&job_of(Flags { ranks: some("16"), ..of(gpus("64")) })), (16, 4));
    assert_eq!(each(&job_of(Flags { ranks: some("16"), ..of(by_four) })), (16, 4));
    let nodes = Flags { nodes: some("4"), ranks_per_node: some("8"), ..of(gpus("64")) };
    assert_eq!(each(&job_of(nodes)), (32, 2));
    let nodes = Flags { nodes: some("4"), ..of(gpus("32")) };
    assert_eq!(job_of(nodes).shape, Shape::Nodes { nodes: 4, ranks_per_node: 8 });
    let per_node = Flags { ranks_per_node: some("8"), ..of(gpus("32")) };
    assert_eq!(job_of(per_node).shape, Shape::Nodes { nodes: 4, ranks_per_node: 8 });
    // On one machine too.
    assert_eq!(each(&run("name: x", &of(gpus("2"))).unwrap()), (2, 1));
}

#[test]
fn devices_of_the_whole_job_win_over_the_ranks_of_the_file() {
    let job = |text: &str, flags: NeedsFlags| run_in_cluster(text, &of(flags)).unwrap();
    assert_eq!(each(&job("ranks: 8", gpus("64"))), (64, 1));
    assert_eq!(each(&job("ranks: 8\nresources: {devices: {count: 2}}", gpus("64"))), (32, 2));
    assert_eq!(
        job("nodes: 2\nranksPerNode: 4", gpus("64")).shape,
        Shape::Nodes { nodes: 2, ranks_per_node: 32 }
    );
    let npus = NeedsFlags { npus: some("16"), ..NeedsFlags::default() };
    let devices = job("resources: {devices: {model: 910B}}", npus).resources.devices.unwrap();
    assert_eq!((devices.kind, devices.count, devices.model), (DeviceKind::Npu, 1, some("910B")));
    let ranks = Flags { ranks: some("4"), ..of(gpus("8")) };
    assert_eq!(each(&run_in_cluster("resources: {devices: {count: 4}}", &ranks).unwrap()), (4, 2));
}

const FILE: &str = "\
command: [a]
ranks: 16
resources: {devices: {kind: gpu, count: 1, model: A100}, cpus: 4}
parallelism: {groups: {tp: {size: 4, pattern: tree}, pp: 1}}
placement:
  require: {all: block, tp: leaf}
  nodeSelector: {pool: a, disk: big}
  nodes: [n1, n2]
  avoid: [n3]
  uneven: true
  exclusive: node
elastic: {min: 8}
";

#[test]
fn each_flag_wins_over_its_key_and_leaves_the_others() {
    let flags = NeedsFlags {
        device_model: some("H100"),
        device_memory: some("80G"),
        mig: some("1g.10gb"),
        cpus_per_rank: some("8"),
        memory_per_rank: some("32Gi"),
        nics_per_rank: some("1"),
        groups: [some("8"), None, None, None, None],
        require_tier: vec!["leaf".into(), "pp=site".into()],
        prefer_tier: vec!["tp=numa".into(), "all=node".into()],
        spares: some("1"),
        spread: some("nvlink"),
        node_selector: vec!["pool=b".into(), "x=".into()],
        use_nodes: vec!["m1".into(), "n3".into()],
        avoid_nodes: vec!["n2".into()],
        exclusive: some("numa"),
        uneven: some("false"),
        mixed: some("true"),
        device_view: some("rank"),
        memory_binding: some("none"),
        cpu_binding: some("none"),
        nccl_topology: some("true"),
        ..NeedsFlags::default()
    };
    let job = run_in_cluster(FILE, &Flags { needs: flags, ..Flags::default() }).unwrap();
    let devices = job.resources.devices.as_ref().unwrap();
    assert_eq!((devices.model.as_deref(), devices.memory_bytes), (Some("H100"), Some(80_000_000_000)));
    assert_eq!((devices.mig.as_deref(), devices.count), (Some("1g.10gb"), 1));
    assert_eq!(
        (job.resources.cpus, job.resources.memory_bytes, job.resources.nics),
        (Some(8), Some(32 << 30), Some(1))
    );
    let tp = job.parallelism.group("tp").unwrap();
    assert_eq!((tp.size, tp.pattern.is_some(), job.parallelism.groups.len()), (8, true, 3));
    let it = &job.placement;
    assert_eq!((it.require.all, it.prefer.all), (Some(Tier::Leaf), Some(Tier::Node)));
    assert_eq!((it.require.groups["tp"], it.require.groups["pp"]), (Tier::Leaf, Tier::Site));
    assert_eq!((it.prefer.groups["tp"], it.spares, it.spread), (Tier::Numa, 1, Some(Tier::Nvlink)));
    let labels: Vec<String> =
        it.node_selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(labels, ["disk=big", "pool=b", "x="]);
    assert_eq!(
        (it.nodes.clone(), it.avoid.clone()),
        (vec!["m1".to_owned(), "n3".to_owned()], vec!["n2".to_owned()])
    );
    assert_eq!((it.uneven, it.mixed, it.nccl_topology), (false, true, true));
    assert_eq!(
        format!("{:?} {:?} {:?} {:?}", it.exclusive, it.device_view, it.memory_binding, it.cpu_binding),
        "Numa Rank None None"
    );
}

/// What is typed, and what is said of it.
type Row = (fn(&mut NeedsFlags), &'static str);

#[test]
fn a_wrong_flag_is_named_with_what_was_typed() {
    let set = |change: fn(&mut NeedsFlags)| {
        let mut flags = NeedsFlags::default();
        change(&mut flags);
        run_in_cluster(FILE, &Flags { needs: flags, ..Flags::default() }).unwrap_err()
    };
    let table: &[Row] = &[
        (|f| f.gpus = some("0"), "--gpus 0: expected a whole number from 1 to 268435456"),
        (|f| f.gpus_per_rank = some("x"), "--gpus-per-rank x: expected a whole number from 1 to 256"),
        (
            |f| {
                f.gpus = some("8");
                f.npus_per_rank = some("2");
            },
            "--npus-per-rank 2: the devices of a rank are all of one kind, and there is --gpus 8 too",
        ),
        (
            |f| {
                f.gpus = some("10");
                f.gpus_per_rank = some("4");
            },
            "--gpus 10: 10 devices cannot be shared evenly by ranks of 4 each",
        ),
        (
            |f| f.gpus = some("268435456"),
            "--gpus 268435456: 268435456 ranks, one for 1 of these devices; a job has at most 1048576",
        ),
        (|f| f.groups[0] = some("0"), "--tp 0: expected a whole number from 1 to 1048576"),
        (
            |f| f.groups[0] = some("5"),
            "--tp 5: tp 5 x pp 1 = 5 does not divide the 16 ranks of the job; tp 4 or 8, or 15 ranks, or 20 ranks would fit",
        ),
        (
            |f| f.require_tier = vec!["rack".into()],
            "--require-tier rack: expected one of device, island, numa, node, nvlink, leaf, block, core, site; did you mean \"leaf\"?",
        ),
        (
            |f| f.require_tier = vec!["numa".into()],
            "--require-tier numa: numa is closer than a node, and a whole job takes one at least; expected one of node, nvlink, leaf, block, core, site; a kind of group can be limited so: `tp: numa`",
        ),
        (
            |f| f.prefer_tier = vec!["TP=node".into()],
            "--prefer-tier TP=node: expected a kind of groups: tp, cp, ep, dp, pp or a name of at most 16 lower-case letters, digits and `-` that begins with a letter; did you mean \"tp\"?",
        ),
        (
            |f| f.prefer_tier = vec!["tensor=node".into()],
            "--prefer-tier tensor=node: the job has no group tensor: give its size, as `parallelism: {tensor: 8}`; did you mean \"tp\"?",
        ),
        (
            |f| f.spread = some("node"),
            "--spread node: nodes share no node domain anyway; expected one of nvlink, leaf, block, core, site",
        ),
        (
            |f| f.node_selector = vec!["pool".into()],
            "--node-selector pool: \"pool\": a label is a name and a value, pool=a",
        ),
        (
            |f| f.use_nodes = vec!["a".into(), "".into()],
            "--use-nodes \"\": expected a node's id or the beginning of it: letters, digits, `.`, `_` and `-`",
        ),
        (|f| f.uneven = some("yes"), "--uneven yes: expected true or false"),
        (|f| f.exclusive = some("hosts"), "--exclusive hosts: expected one of none, numa, node"),
        (|f| f.spares = some("-1"), "--spares -1: expected a whole number from 0 to 8192"),
    ];
    for (change, expected) in table {
        assert_eq!(set(*change), *expected);
    }
    let ranks = Flags { ranks: some("3"), ..of(gpus("64")) };
    assert_eq!(
        run_in_cluster("name: x", &ranks).unwrap_err(),
        "--gpus 64: 64 devices cannot be shared evenly by 3 ranks"
    );
    let needs = NeedsFlags { gpus_per_rank: some("2"), ..gpus("64") };
    assert_eq!(
        run_in_cluster("name: x", &Flags { ranks: some("16"), ..of(needs) }).unwrap_err(),
        "--gpus-per-rank 2: 64 devices contradict 16 ranks of 2 each = 32"
    );
}
