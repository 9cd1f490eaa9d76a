//! What holds on every machine.

use phalanx_common::spec::{DeviceView, MemoryBinding};
use proptest::prelude::*;

use super::super::bandwidth::mb_per_s;
use super::super::model::rows_of;
use super::super::{DeviceNeed, Force, RankNeeds, capacity, choose};
use super::*;

/// GPUs and ports with their sockets and switches, links, slices, what is up.
fn machines() -> impl Strategy<Value = Machine> {
    let place = || (prop::option::of(0..3u32), prop::option::of(0..4u8));
    (
        (1..4u32, 1..7u32, 1..3u32, 1..5u32),
        prop::collection::vec((place(), 0..3u8, any::<bool>()), 0..8),
        prop::collection::vec((place(), any::<bool>()), 0..5),
        prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..3u32), 0..12),
        0..64u64,
    )
        .prop_map(|((sockets, cores, threads, per_cache), gpus, nics, links, memory)| {
            let mut machine = board(sockets, cores, threads, per_cache);
            for (at, ((socket, switch), slices, old)) in gpus.iter().enumerate() {
                let socket = socket.filter(|socket| *socket < sockets);
                gpu(&mut machine, 0x10 + at as u8, socket, switch.map(|switch| 0x80 + switch));
                if *slices > 0 && *old {
                    cut(&mut machine, at, &vec![10; usize::from(*slices)]);
                } else if *old {
                    machine.accelerators[at].memory_bytes = Some(16 * GIB);
                }
            }
            for (at, ((socket, switch), up)) in nics.iter().enumerate() {
                let socket = socket.filter(|socket| *socket < sockets);
                nic(&mut machine, 0x40 + at as u8, socket, switch.map(|switch| 0x80 + switch));
                machine.nics[at].up = Some(*up);
            }
            for (a, b, lanes) in links {
                let count = gpus.len();
                if count > 1 {
                    let (a, b) = (a.index(count), b.index(count));
                    if a != b {
                        link(&mut machine, a, b, lanes);
                    }
                }
            }
            machine.numa.get_mut(&0).unwrap().memory_bytes = Some(memory * GIB);
            machine
        })
}

fn needs() -> impl Strategy<Value = RankNeeds> {
    let device = (prop::option::of(10..40u64), any::<bool>()).prop_map(|(memory, sliced)| DeviceNeed {
        memory: memory.map(|gib| gib * GIB),
        mig: sliced.then(|| "1g.10gb".parse().unwrap()),
        ..DeviceNeed::default()
    });
    (0..6u32, 0..4u32, device, prop::option::of(0..9u32), prop::option::of(1..40u64), 0..3u32, any::<bool>())
        .prop_map(|(ranks, devices, device, cpus, memory, ports, alone)| {
            let memory = memory.map_or(0, |gib| gib * GIB);
            RankNeeds { ranks, devices, device, cpus, memory, ports, alone }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_chosen_was_free_and_is_given_once(
        machine in machines(), needs in needs(), taken in any::<u64>(), cores in any::<u64>(),
    ) {
        let (model, mut free) = whole(&machine);
        free.devices &= taken | taken >> 3;
        for core in (0..model.cores()).filter(|core| cores >> core & 1 == 1 && core % 3 == 0) {
            let mut one = super::super::Cores::none(model.cores());
            one.insert(core);
            free.cores.remove(&one);
        }
        let fits = capacity(&model, &free, &needs);
        let chosen = choose(&model, &free, &needs);
        prop_assert_eq!(chosen.is_ok(), needs.ranks <= fits || needs.ranks == 0, "{} fit: {:?}", fits, chosen);
        prop_assert_eq!(&chosen, &choose(&model, &free, &needs));
        let Ok(inside) = chosen else {
            let lack = chosen.unwrap_err();
            prop_assert!(lack.fits == fits && !lack.missing.is_empty());
            return Ok(());
        };
        prop_assert_eq!(inside.ranks.len(), needs.ranks as usize);
        let (mut devices, mut given) = (0u64, super::super::Cores::none(model.cores()));
        for rank in &inside.ranks {
            prop_assert_eq!(rank.devices.len(), needs.devices as usize);
            for device in &rank.devices {
                prop_assert_eq!(devices >> device & 1, 0);
                devices |= 1 << device;
            }
            prop_assert!(rank.cores.is_disjoint(&given) && rank.cores.is_subset(&free.cores));
            given.add(&rank.cores);
            // All are bound or none, and none is where there are cores for all, unless nothing is theirs.
            prop_assert_eq!(rank.cores.is_empty(), inside.ranks[0].cores.is_empty());
            let has_share = needs.cpus.is_some() || needs.devices > 0 || needs.alone;
            prop_assert_eq!(!rank.cores.is_empty(), has_share && free.cores.len() >= needs.ranks);
            prop_assert!(needs.cpus.is_none_or(|cpus| rank.cpus.len() >= cpus as usize));
            prop_assert_eq!(rank.memory.iter().map(|(_, bytes)| bytes).sum::<u64>(), needs.memory);
            prop_assert!(rank.ports.iter().all(|port| free.ports >> port.port & 1 == 1));
            prop_assert!(needs.ports == 0 || rank.ports.len() == needs.ports as usize);
        }
        prop_assert_eq!(devices, inside.devices);
        prop_assert_eq!(devices & !free.devices, 0);
        for (group, free) in free.memory.iter().enumerate() {
            let taken = inside.ranks.iter().flat_map(|rank| &rank.memory).filter(|part| usize::from(part.0) == group);
            prop_assert!(taken.map(|(_, bytes)| bytes).sum::<u64>() <= *free);
        }
        // Taking and giving back is no change, and what is left is what the capacity says.
        let mut after = free.clone();
        after.take(&inside);
        prop_assert!(after.devices & devices == 0 && after.cores.is_disjoint(&given));
        // What is read back from a plan is taken as it was chosen, bound or not.
        for (cores, memory) in [(true, MemoryBinding::Strict), (false, MemoryBinding::None)] {
            let identity = NodeIdentity::new(&machine, &model);
            let force = Force { view: DeviceView::Pod, memory, cores, ports: true };
            let mut planned = free.clone();
            let binding = inside.bind(&model, &identity, &free, force);
            planned.take_held(&model, &identity, &binding, &inside.held(&model));
            prop_assert_eq!(&planned, &after);
        }
        after.give(&inside);
        prop_assert_eq!(after, free);
    }

    #[test]
    fn no_other_set_of_devices_is_better(machine in machines(), count in 1..5u32, ports in 0..3u32, taken in any::<u64>()) {
        let (model, mut free) = whole(&machine);
        free.devices &= taken | taken >> 2;
        let needs = RankNeeds { ports, ..RankNeeds::new(count, 1) };
        let Ok(inside) = choose(&model, &free, &needs) else { return Ok(()) };
        let model = &model;
        // By the definition, set by set, the first of the best.
        let least = |set: u64| model.classes().iter().find(|class| set & !class.devices == 0).map(|class| class.memory);
        let sets = (0..1u64 << model.devices().len()).filter(|set| {
            set & !free.devices == 0 && set.count_ones() == count && least(*set).is_some()
                && model.classes().iter().any(|class| class.slice.is_none() && set & !class.devices == 0)
        });
        let pairs = |set: u64| -> Vec<u64> {
            let rows: Vec<usize> = rows_of(set).collect();
            rows.iter().flat_map(|a| rows.iter().filter(move |b| a < *b).map(move |b| model.worth(*a, *b))).collect()
        };
        let score = |set: u64| {
            let near = |row: usize| {
                let levels = model.devices()[row].near.iter().map(|level| level & free.ports);
                levels.enumerate().find(|(_, ports)| *ports != 0).unwrap_or((6, 0))
            };
            // As many as can be used at once, where devices are near to the same ports or to none in common.
            let masks: std::collections::BTreeSet<u64> = rows_of(set).map(|row| near(row).1).collect();
            let users = |mask: u64| rows_of(set).filter(|row| near(*row).1 == mask).count() as u32 * ports;
            let used: u32 = masks.iter().map(|mask| mask.count_ones().min(users(*mask))).sum();
            let all = masks.iter().fold(0, |all, mask| all | mask);
            // Each rank has a core of its own where there are enough for all: devices that find none near go without.
            let mut cores: std::collections::BTreeMap<u64, u32> = std::collections::BTreeMap::new();
            rows_of(set).for_each(|row| *cores.entry(model.devices()[row].groups).or_default() += 1);
            let has = |groups: u64| -> u32 {
                let near = rows_of(groups).filter_map(|group| model.groups().get(group));
                near.map(|group| free.cores.count(group.cores)).sum()
            };
            let without: u32 = match free.cores.len() >= count {
                false => 0,
                true => cores.iter().filter(|(groups, _)| **groups != 0).map(|(groups, need)| need.saturating_sub(has(*groups))).sum(),
            };
            let (far, reached) = match ports {
                0 => (0, 0),
                _ => (rows_of(set).map(|row| near(row).0).sum(), used.min(all.count_ones()).min(count * ports)),
            };
            (
                std::cmp::Reverse(least(set)),
                pairs(set).into_iter().map(mb_per_s).min(),
                std::cmp::Reverse(far),
                reached,
                std::cmp::Reverse(without),
                pairs(set).iter().sum::<u64>(),
                pairs(free.devices & !set).iter().sum::<u64>(),
                // Of equals that which has the first devices.
                std::cmp::Reverse(rows_of(set).collect::<Vec<_>>()),
            )
        };
        let best = sets.max_by_key(|set| score(*set)).unwrap();
        prop_assert_eq!(inside.devices, best, "{:?} against {:?}", score(inside.devices), score(best));
    }

    #[test]
    fn taking_one_by_one_takes_all(machine in machines(), devices in 1..3u32, cpus in prop::option::of(1..5u32)) {
        let (model, mut free) = whole(&machine);
        let needs = RankNeeds { cpus, ..RankNeeds::new(1, devices) };
        let mut left = capacity(&model, &free, &needs);
        while left > 0 {
            let before = (free.devices, free.cores.len());
            free.take(&choose(&model, &free, &needs).unwrap());
            let now = capacity(&model, &free, &needs);
            prop_assert!(now <= left && (free.devices, free.cores.len()) < before);
            // A second class of devices or a share of the cores makes room for others than those that were counted.
            prop_assert!(now == left - 1 || cpus.is_none() || model.classes().len() > 1);
            left = now;
        }
        prop_assert!(choose(&model, &free, &needs).is_err());
    }
}
