//! Any needs that a job of a given shape can have.

use phalanx_common::defaults::MAX_RANKS;
use phalanx_common::spec::{
    CpuBinding, DeviceKind, DeviceNeeds, DeviceView, Elastic, Exclusive, GroupSpec, JobSpec,
    MAX_VOLUME_BYTES, MIN_MEMORY_LIMIT, MemoryBinding, Parallelism, Pattern, PlacementSpec, Resources, Shape,
    TierLimits,
};
use phalanx_common::topology::Tier;
use proptest::prelude::*;

/// Random numbers, from which `needing` makes what fits the job.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    resources: Resources,
    /// Kinds in order; for each a number that chooses a divisor of what is left, a pattern and a volume.
    groups: Vec<(&'static str, u32, Option<Pattern>, Option<u64>)>,
    require: (Option<Tier>, Option<Tier>),
    prefer: (Option<Tier>, Option<Tier>),
    placement: PlacementSpec,
    /// Steps below and above the ranks.
    elastic: Option<(u32, u32)>,
}

pub(crate) fn seed() -> impl Strategy<Value = Seed> {
    let limits = |tiers: &'static [Tier]| {
        let tier = || prop::option::of(prop::sample::select(tiers));
        (tier(), tier())
    };
    let elastic = prop::option::of((0..3u32, 0..3u32));
    (
        resources(),
        groups(),
        limits(&[Tier::Leaf, Tier::Block, Tier::Core, Tier::Site]),
        limits(&[Tier::Node, Tier::Nvlink, Tier::Leaf]),
        placement(),
        elastic,
    )
        .prop_map(|(resources, groups, require, prefer, placement, elastic)| Seed {
            resources,
            groups,
            require,
            prefer,
            placement,
            elastic,
        })
}

fn resources() -> impl Strategy<Value = Resources> {
    let bytes = || prop::option::of(1..=i64::MAX as u64);
    let kind = prop::sample::select([DeviceKind::Gpu, DeviceKind::Npu].as_slice());
    let mig = prop::option::of("[1-7]g\\.[0-9]{1,3}gb(\\+me)?");
    let devices = (kind, 1..=256u32, prop::option::of("[A-Za-z0-9 é-]{1,20}"), bytes(), mig).prop_map(
        |(kind, count, model, memory_bytes, mig)| DeviceNeeds {
            kind,
            count,
            model,
            memory_bytes,
            mig: mig.filter(|_| kind == DeviceKind::Gpu),
        },
    );
    let limit = prop::option::of(MIN_MEMORY_LIMIT..=i64::MAX as u64);
    (prop::option::of(devices), prop::option::of(1..=8192u32), bytes(), limit, prop::option::of(1..=64u32))
        .prop_map(|(devices, cpus, memory_bytes, limit, nics)| {
            let memory_limit = limit.map(|limit| limit.max(memory_bytes.unwrap_or(0)));
            Resources { devices, cpus, memory_bytes, memory_limit, nics }
        })
}

fn groups() -> impl Strategy<Value = Vec<(&'static str, u32, Option<Pattern>, Option<u64>)>> {
    const KINDS: &[&str] = &["tp", "cp", "ep", "dp", "pp", "stage", "x-1"];
    let pattern = prop::option::of(prop::sample::select(
        [Pattern::Ring, Pattern::AllToAll, Pattern::Chain, Pattern::Tree].as_slice(),
    ));
    let volume = prop::option::of(1..=MAX_VOLUME_BYTES);
    let kinds = prop::sample::subsequence(KINDS, 0..=KINDS.len()).prop_shuffle();
    (kinds, prop::collection::vec((any::<u32>(), pattern, volume), KINDS.len())).prop_map(|(kinds, more)| {
        kinds.into_iter().zip(more).map(|(kind, (n, pattern, volume))| (kind, n, pattern, volume)).collect()
    })
}

fn placement() -> impl Strategy<Value = PlacementSpec> {
    let words = (
        prop::sample::select([Exclusive::None, Exclusive::Numa, Exclusive::Node].as_slice()),
        prop::sample::select([DeviceView::Pod, DeviceView::Rank].as_slice()),
        prop::sample::select(
            [MemoryBinding::Preferred, MemoryBinding::Strict, MemoryBinding::None].as_slice(),
        ),
        prop::sample::select([CpuBinding::Cores, CpuBinding::None].as_slice()),
    );
    let nodes = prop::collection::btree_set("u[a-z0-9.-]{0,10}", 0..4);
    let avoid = prop::collection::btree_set("a[a-z0-9.-]{0,10}", 0..4);
    let labels = prop::collection::btree_map("[a-z./_]{1,10}", "[a-zA-Z0-9./_-]{0,10}", 0..3);
    let spread = prop::option::of(Just(Tier::Nvlink));
    (words, nodes, avoid, labels, spread, any::<(bool, bool, bool)>(), 0..3u32).prop_map(
        |(words, nodes, avoid, node_selector, spread, (uneven, mixed, nccl_topology), spares)| {
            PlacementSpec {
                require: TierLimits::default(),
                prefer: TierLimits::default(),
                spares,
                spread,
                node_selector,
                nodes: nodes.into_iter().collect(),
                avoid: avoid.into_iter().collect(),
                exclusive: words.0,
                uneven,
                mixed,
                device_view: words.1,
                memory_binding: words.2,
                cpu_binding: words.3,
                nccl_topology,
            }
        },
    )
}

/// The job with needs that fit its shape.
pub(crate) fn needing(job: JobSpec, seed: Seed) -> JobSpec {
    let ranks = job.world_size();
    let mut left = ranks;
    let mut groups: Vec<GroupSpec> = Vec::new();
    for (kind, n, pattern, volume_bytes) in seed.groups {
        let divisors: Vec<u32> = (1..=left.min(1024)).filter(|size| left.is_multiple_of(*size)).collect();
        let size = divisors[n as usize % divisors.len()];
        left /= size;
        groups.push(GroupSpec { kind: kind.to_owned(), size, pattern, volume_bytes });
    }
    if let Some(last) = groups.last_mut() {
        last.size *= left;
    }
    let others = groups.iter().filter(|group| group.kind != "dp");
    let replica: u32 = others.map(|group| group.size).product();
    let elastic = seed.elastic.map(|(below, above)| Elastic {
        min: ranks - (ranks / replica - 1).min(below) * replica,
        max: ranks + ((MAX_RANKS - ranks) / replica).min(above) * replica,
        step: replica,
    });
    let limits = |(all, of_group): (Option<Tier>, Option<Tier>)| TierLimits {
        all,
        groups: groups.iter().take(1).filter_map(|group| Some((group.kind.clone(), of_group?))).collect(),
    };
    let mut placement =
        PlacementSpec { require: limits(seed.require), prefer: limits(seed.prefer), ..seed.placement };
    let needed = match job.shape {
        Shape::Nodes { nodes, .. } => nodes as usize + placement.spares as usize,
        Shape::Ranks(_) => 0,
    };
    if placement.nodes.len() < needed {
        placement.nodes.clear();
    }
    JobSpec { resources: seed.resources, parallelism: Parallelism { groups }, placement, elastic, ..job }
}
