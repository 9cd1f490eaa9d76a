//! What the keys mean.

use std::collections::BTreeMap;

use phalanx_common::spec::{
    CpuBinding, DeviceKind, DeviceNeeds, DeviceView, Elastic, Exclusive, GroupSpec, MemoryBinding,
    Parallelism, Pattern, PlacementSpec, Resources, Shape, TierLimits,
};
use phalanx_common::topology::Tier;

use super::job;

fn groups(text: &str) -> String {
    let groups = job(text).parallelism.groups;
    groups.iter().map(|group| format!("{} {}", group.kind, group.size)).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_job_that_says_nothing_needs_nothing_and_is_printed_without() {
    let job = job("ranks: 4");
    assert_eq!((job.resources.clone(), job.parallelism.clone()), Default::default());
    assert_eq!((job.placement.clone(), job.elastic), Default::default());
    let document = job.to_document();
    for key in ["resources", "parallelism", "placement", "elastic"] {
        assert!(!document.contains(key), "{document}");
    }
}

#[test]
fn every_key_reaches_the_job() {
    let job = job("\
ranks: 16
resources:
  devices: {kind: npu, count: 2, model: 910B, memory: 64G}
  cpus: 8
  memory: 32Gi
  memoryLimit: 40Gi
  nics: 1
parallelism: {order: [pp, tp, dp], groups: {tp: {size: 4, pattern: allToAll, volume: 2Gi}, pp: 2}}
placement:
  require: {all: block, tp: leaf}
  prefer: {tp: numa, all: leaf}
  spares: 1
  spread: nvlink
  nodeSelector: {pool: a, tier: 1}
  nodes: [a, b-1, c.d]
  avoid: [d]
  exclusive: node
  uneven: true
  mixed: true
  deviceView: rank
  memoryBinding: strict
  cpuBinding: none
  ncclTopology: true
elastic: {min: 8, max: 32, step: 8}");
    assert_eq!(job.shape, Shape::Ranks(16));
    let devices = DeviceNeeds {
        kind: DeviceKind::Npu,
        count: 2,
        model: Some("910B".into()),
        memory_bytes: Some(64_000_000_000),
        mig: None,
    };
    assert_eq!(
        job.resources,
        Resources {
            devices: Some(devices),
            cpus: Some(8),
            memory_bytes: Some(32 << 30),
            memory_limit: Some(40 << 30),
            nics: Some(1),
        }
    );
    let group = |kind: &str, size, pattern, volume_bytes| GroupSpec {
        kind: kind.to_owned(),
        size,
        pattern,
        volume_bytes,
    };
    let groups = [
        group("pp", 2, None, None),
        group("tp", 4, Some(Pattern::AllToAll), Some(2 << 30)),
        group("dp", 2, None, None),
    ];
    assert_eq!(job.parallelism, Parallelism { groups: groups.to_vec() });
    let limits = |all, tp| TierLimits { all: Some(all), groups: BTreeMap::from([("tp".to_owned(), tp)]) };
    assert_eq!(
        job.placement,
        PlacementSpec {
            require: limits(Tier::Block, Tier::Leaf),
            prefer: limits(Tier::Leaf, Tier::Numa),
            spares: 1,
            spread: Some(Tier::Nvlink),
            node_selector: [("pool", "a"), ("tier", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            nodes: ["a", "b-1", "c.d"].map(str::to_owned).into(),
            avoid: vec!["d".to_owned()],
            exclusive: Exclusive::Node,
            uneven: true,
            mixed: true,
            device_view: DeviceView::Rank,
            memory_binding: MemoryBinding::Strict,
            cpu_binding: CpuBinding::None,
            nccl_topology: true,
        }
    );
    assert_eq!(job.elastic, Some(Elastic { min: 8, max: 32, step: 8 }));
}

#[test]
fn groups_are_in_megatrons_order_unless_the_file_says_another() {
    assert_eq!(groups("ranks: 64\nparallelism: {pp: 2, dp: 4, tp: 8}"), "tp 8, dp 4, pp 2");
    assert_eq!(
        groups("ranks: 64\nparallelism: {dp: 2, ep: 4, pp: 1, cp: 2, tp: 4}"),
        "tp 4, cp 2, ep 4, dp 2, pp 1"
    );
    assert_eq!(groups("ranks: 16\nparallelism: {order: [dp, tp], dp: 2, tp: 8}"), "dp 2, tp 8");
    assert_eq!(
        groups("ranks: 16\nparallelism: {order: [tp, stage, dp], groups: {stage: 2, dp: {size: 2}}, tp: 4}"),
        "tp 4, stage 2, dp 2"
    );
}

#[test]
fn dp_is_what_the_other_groups_leave() {
    assert_eq!(groups("ranks: 64\nparallelism: {tp: 8}"), "tp 8, dp 8");
    assert_eq!(groups("ranks: 64\nparallelism: {tp: 8, pp: 8}"), "tp 8, dp 1, pp 8");
    assert_eq!(groups("ranks: 64\nparallelism: {order: [tp, pp], tp: 8, pp: 8}"), "tp 8, pp 8");
    assert_eq!(
        groups("ranks: 64\nparallelism: {order: [tp, cp, ep, dp, pp], groups: {pp: {size: 4}}}"),
        "dp 16, pp 4"
    );
    assert_eq!(groups("ranks: 6\nparallelism: {groups: {dp: {pattern: tree}}}"), "dp 6");
    assert_eq!(groups("nodes: 2\nranksPerNode: 8\nparallelism: {tp: 8}"), "tp 8, dp 2");
    assert_eq!(groups("ranks: 6\nparallelism: {}"), "");
}

#[test]
fn steps_of_an_elastic_job_are_whole_replicas() {
    let elastic =
        |text: &str| job(&format!("ranks: 16\nparallelism: {{tp: 4, pp: 2}}\nelastic: {text}")).elastic;
    assert_eq!(elastic("{min: 8}"), Some(Elastic { min: 8, max: 16, step: 8 }));
    assert_eq!(elastic("{min: 8, max: 64}"), Some(Elastic { min: 8, max: 64, step: 8 }));
    assert_eq!(
        job("ranks: 16\nelastic: {min: 10, step: 3}").elastic,
        Some(Elastic { min: 10, max: 16, step: 3 })
    );
}

#[test]
fn a_group_that_fits_a_node_may_be_required_to_stay_in_one() {
    for (per_node, parallelism, require) in [
        (8, "{tp: 8}", "{tp: island}"),
        (8, "{tp: 4, dp: 4}", "{tp: node}"),
        (8, "{tp: 2, cp: 4, dp: 2}", "{cp: numa}"),
        (6, "{tp: 3, dp: 4}", "{tp: node}"),
        (1, "{tp: 1, dp: 2}", "{tp: node}"),
    ] {
        job(&format!(
            "nodes: 2\nranksPerNode: {per_node}\nparallelism: {parallelism}\nplacement: {{require: {require}}}"
        ));
    }
}
