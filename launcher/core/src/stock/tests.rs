use std::net::IpAddr;

use phalanx_common::id::Incarnation;
use phalanx_common::plan::{BoundDevice, RankBinding};
use phalanx_common::spec::{Exclusive, JobSpec};
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Machine};
use phalanx_common::topology::{Bdf, Source as From, derive};
use phalanx_formats::csv;
use proptest::prelude::*;

use super::*;
use crate::ledger::PodShare;
use crate::nodes::{LinkState, NodeFacts};
use crate::placement::gang::place_gang;
use crate::placement::inside::Held;
use crate::placement::order::Effort;
use crate::placement::request::NONE_SHUNNED;
use crate::testing::job;

const DEVICES: u32 = 4;

/// Something that happens to a node.
#[derive(Clone, Debug)]
enum Delta {
    /// Its job number, devices from one on, how many, and what of the node nobody else gets.
    Placed(u8, u32, u32, Exclusive),
    Ended(u8),
    Lost,
    /// It said what it is: the slots, the last byte of its address, and the user whose jobs it runs.
    Heard(u32, u8, bool),
}

fn deltas() -> impl Strategy<Value = Vec<(u8, Delta)>> {
    let exclusive = prop::sample::select(&[Exclusive::None, Exclusive::Numa, Exclusive::Node][..]);
    let delta = prop_oneof![
        (0..4u8, 0..DEVICES, 0..3u32, exclusive)
            .prop_map(|(job, from, count, exclusive)| { Delta::Placed(job, from, count, exclusive) }),
        (0..4u8).prop_map(Delta::Ended),
        Just(Delta::Lost),
        (0..6u32, 0..3u8, any::<bool>()).prop_map(|(slots, byte, own)| Delta::Heard(slots, byte, own)),
    ];
    prop::collection::vec((0..7u8, delta), 1..40)
}

/// Six nodes on three leaves; a seventh may come of which the network says nothing.
fn topology() -> Arc<Topology> {
    let table = "node,leaf\nn0,a\nn1,a\nn2,b\nn3,b\nn4,c\nn5,c\n";
    let evidence = csv::read(table.as_bytes()).unwrap().evidence(From::Csv, "the table", Timestamp(1));
    let network = derive(&[], &evidence, Timestamp(2)).unwrap();
    let mut machine = Machine::default();
    for (numa, cpus) in [(0, "0-7"), (1, "8-15")] {
        machine.numa.entry(numa).or_default().cpus = cpus.parse().unwrap();
    }
    machine.cores = (0..16).map(|cpu| cpu.to_string().parse().unwrap()).collect();
    for bus in 1..=DEVICES {
        let bdf: Bdf = format!("{bus:02x}:00.0").parse().unwrap();
        let uuid = Some(format!("GPU-{bus}"));
        machine.accelerators.push(Accelerator {
            bdf: Some(bdf),
            uuid,
            ..Accelerator::new(AcceleratorKind::Nvidia)
        });
    }
    let machine = Arc::new(machine);
    let ids: BTreeMap<String, NodeId> =
        network.nodes.iter().map(|node| (node.name.clone(), NodeId::new(&node.name))).collect();
    let told = || Told { machine: Some(machine.clone()), ..Told::default() };
    let nodes = ids.values().map(|id| (id.clone(), told())).collect();
    Arc::new(Topology { network, ids, nodes })
}

fn facts(slots: u32, byte: u8, own: bool) -> NodeFacts {
    NodeFacts {
        incarnation: Incarnation(1),
        host_name: "h".into(),
        cores: 16,
        slots,
        user: own.then(|| "ann".to_owned()),
        version: "1".into(),
        ports: (20_000, 20_009),
        address: IpAddr::from([10, 0, 0, byte]),
        interface: None,
        networks: Vec::new(),
    }
}

fn share(from: u32, count: u32, exclusive: Exclusive) -> PodShare {
    let devices: Vec<BoundDevice> = (from..DEVICES.min(from + count))
        .map(|index| BoundDevice {
            kind: AcceleratorKind::Nvidia,
            index,
            uuid: Some(format!("GPU-{}", index + 1)),
            mig: false,
        })
        .collect();
    let cpus: CpuSet = (from * 4).to_string().parse().unwrap();
    let held = Held { cpus: cpus.clone(), memory: vec![(Some(0), 1 << 20)] };
    let rank = RankBinding { devices: 1, cpus, nodes: CpuSet::new() };
    let binding = PodBinding { ranks: vec![rank; devices.len()], devices, ..PodBinding::default() };
    PodShare { ranks: count, binding, held: Some(held), exclusive }
}

fn devices_on_three() -> JobSpec {
    job("name: j, nodes: 3, ranksPerNode: 2, resources: {devices: {count: 1}}")
}

/// All that placement sees of it.
fn seen(stock: &Stock) -> String {
    let node = |node: &NodeStock| {
        let of = node.inside.as_ref().map(|inside| (&inside.whole, &inside.of.address));
        format!("{of:?} {:?} {:?} {} {:?} {:?}", node.free, node.slots, node.reachable, node.user, node.taken)
    };
    let nodes: Vec<String> = stock.nodes.iter().map(|it| node(it)).collect();
    format!("{:?} {:?} {nodes:#?}", stock.fabric, stock.odd)
}

proptest! {
    #[test]
    fn after_every_delta_the_stock_is_as_one_that_is_made_anew(deltas in deltas()) {
        let topology = topology();
        let (mut nodes, mut ledger) = (Nodes::new(), Ledger::default());
        let mut stock = Stock::default();
        stock.set_topology(topology.clone());
        for (at, delta) in deltas {
            let id = NodeId::new(format!("n{at}"));
            let name = |job: u8| JobId::from_existing(format!("j{job}"));
            match delta {
                Delta::Placed(job, from, count, exclusive) => {
                    ledger.add_pod(&id, &name(job), share(from, count, exclusive));
                }
                Delta::Ended(job) => ledger.remove_pod(&id, &name(job)),
                Delta::Lost => {
                    let lost = || Node::unheard(Timestamp(3));
                    nodes.entry(id.clone()).or_insert_with(lost).link =
                        LinkState::Unreachable { since: Timestamp(3) };
                }
                Delta::Heard(slots, byte, own) => {
                    let node = nodes.entry(id.clone()).or_insert_with(|| Node::unheard(Timestamp(3)));
                    node.link = LinkState::Reachable;
                    node.facts = Some(facts(slots, byte, own));
                }
            }
            stock.touch(&id);
            stock.refresh(&nodes, &ledger);
            let mut anew = Stock::default();
            anew.set_topology(topology.clone());
            anew.refresh(&nodes, &ledger);
            prop_assert_eq!(seen(&stock), seen(&anew));
            prop_assert_eq!(&stock.free, &anew.free);
            prop_assert_eq!(seen(stock.emptied_of_jobs()), seen(&anew.idle(true)));
            let (spec, none) = (devices_on_three(), BTreeMap::new());
            let request = GangRequest {
                spec: &spec,
                user: None,
                probes: true,
                last: &[],
                spares: &[],
                shun: NONE_SHUNNED,
                refused: &none,
                now: Timestamp(3),
                port_salt: 0,
            };
            let place = |stock: &Stock| place_gang(stock, &request, &BTreeMap::new(), &Effort::default()).ok();
            prop_assert_eq!(place(&stock), place(&anew));
        }
    }
}
