use super::evidence::{gateway, network_of};
use super::*;
use phalanx_common::defaults::BEACONS_TOLD;
use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Fabric, FabricState, Nic, PciDevice, Rdma,
};

fn machine(host: &str, ports: &[(&str, Option<&str>)]) -> Arc<Machine> {
    let mut machine = Machine { host: Some(host.to_owned()), ..Machine::default() };
    for (bus, (port, bond)) in (1u8..).zip(ports) {
        let bdf = format!("{bus:02x}:00.0").parse().unwrap();
        machine.pci.insert(bdf, PciDevice::default());
        machine.nics.push(Nic {
            bdf: Some(bdf),
            up: Some(true),
            bond: bond.map(str::to_owned),
            ..Nic::new(port, LinkLayer::Ethernet)
        });
    }
    Arc::new(machine)
}

fn in_subnet(subnet: u64) -> Arc<Machine> {
    let mut nic = Nic::new("mlx5_0/1", LinkLayer::InfiniBand);
    let (device, subnet) = ("mlx5_0".to_owned(), Some(Guid(subnet)));
    nic.rdma = Some(Rdma { device, port: 1, guid: None, node_guid: None, subnet, lid: None, sm_lid: None });
    Arc::new(Machine { nics: vec![nic], ..Machine::default() })
}

fn heard(interface: &str, node: &NodeId, by: &str) -> Heard {
    Heard { interface: interface.to_owned(), node: node.to_string(), by: by.to_owned() }
}

fn neighbour(interface: &str, switch: &str) -> Neighbour {
    Neighbour {
        interface: interface.to_owned(),
        chassis: format!("local {switch}"),
        name: Some(switch.to_owned()),
        address: None,
        port: "swp1".to_owned(),
    }
}

const NOW: Timestamp = Timestamp(1_000_000);

#[test]
fn nodes_are_known_by_their_hosts_names_and_by_their_ids_where_two_share_one() {
    let mut survey = Survey::default();
    let [a, b, c] = ["a-000001", "x-000001", "x-000002"].map(NodeId::new);
    for (id, host) in [(&a, "a"), (&b, "x"), (&c, "x")] {
        assert_eq!(survey.machine(NOW, id, machine(host, &[("eth0", None)])), News::Facts);
        assert_eq!(survey.machine(NOW, id, machine(host, &[("eth0", None)])), News::Nothing);
    }
    let found = survey.derive(NOW).unwrap();
    assert_eq!(found.ids.keys().collect::<Vec<_>>(), ["a", "x-000001", "x-000002"]);
    assert_eq!(found.network.nodes.len(), 3);
    // Whoever of them has a link: they stay as they are called.
    for linked in [[true, true], [true, false], [false, true], [false, false]] {
        for (node, linked) in [&b, &c].into_iter().zip(linked) {
            survey.linked(node, linked);
        }
        assert_eq!(survey.derive(NOW).unwrap().ids, found.ids);
    }
}

#[test]
fn a_port_that_tells_of_a_part_of_those_it_hears_is_not_said_not_to_hear_another() {
    let mut survey = Survey::default();
    let [listener, speaker] = ["a-000001", "s-000001"].map(NodeId::new);
    survey.machine(NOW, &listener, machine("a", &[("eth0", None)]));
    survey.machine(NOW, &speaker, machine("s", &[("eth0", Some("bond0")), ("eth1", Some("bond0"))]));
    survey.heard(NOW, &listener, vec![heard("eth0", &speaker, "bond0")], true);
    // Of nodes that are not known: a list is as long as it was told.
    let others = |count: usize| -> Vec<Heard> {
        (0..count).map(|at| heard("bond0", &NodeId::new(format!("o{at}-000001")), "eth0")).collect()
    };
    let mut one_way = |told: usize| {
        survey.heard(NOW, &speaker, others(told), true);
        survey.derive(NOW).unwrap().network.one_way.len()
    };
    assert_eq!([BEACONS_TOLD - 1, BEACONS_TOLD, 0].map(&mut one_way), [1, 0, 1]);
}

#[test]
fn a_node_speaks_of_itself_whatever_it_hears() {
    let mut survey = Survey::default();
    let [a, b] = ["a-000001", "b-000001"].map(NodeId::new);
    survey.machine(NOW, &a, machine("a", &[("eth0", Some("bond0")), ("eth1", Some("bond0"))]));
    survey.machine(NOW, &b, machine("b", &[("eth0", None)]));
    survey.neighbours(NOW, &a, vec![neighbour("eth0", "leaf1"), neighbour("eth1", "leaf2")]);
    survey.neighbours(NOW, &b, vec![neighbour("eth0", "leaf1")]);
    survey.heard(
        NOW,
        &a,
        vec![heard("bond0", &b, "eth0"), heard("bond0", &NodeId::new("nobody"), "eth0")],
        true,
    );
    assert_eq!(survey.derive(NOW).unwrap().network.one_way, [], "nobody knows yet what the other hears");
    survey.heard(NOW, &b, Vec::new(), false);
    assert_eq!(survey.derive(NOW).unwrap().network.one_way, [], "the other may hear more in a moment");
    survey.heard(NOW, &b, Vec::new(), true);
    let one_way = survey.derive(NOW).unwrap().network;
    assert_eq!((one_way.layer2.len(), one_way.one_way.len()), (0, 1));
    assert_eq!(survey.heard(NOW, &b, vec![heard("eth0", &a, "bond0")], true), News::Facts);
    assert_eq!(survey.heard(NOW, &b, vec![heard("eth0", &a, "bond0"); 2], true), News::Nothing);
    let network = survey.derive(NOW).unwrap().network;
    assert_eq!((network.layer2.len(), network.layer2[0].len()), (1, 2));
    assert_eq!(network.switches.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["leaf1", "leaf2"]);
}

#[test]
fn nvlink_domains_are_those_that_the_gpus_registered_with() {
    let mut survey = Survey::default();
    let fabric = |uuid: &str| Fabric {
        state: FabricState::Completed,
        succeeded: Some(true),
        cluster: Some(uuid.parse().unwrap()),
        clique: Some(0),
    };
    let (one, zero) = ("00000001-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000000");
    for (host, uuid) in [("a", one), ("b", one), ("c", zero)] {
        let mut machine = machine(host, &[]);
        let fabric = Some(fabric(uuid));
        Arc::make_mut(&mut machine).accelerators =
            vec![Accelerator { fabric, ..Accelerator::new(AcceleratorKind::Nvidia) }];
        survey.machine(NOW, &NodeId::new(format!("{host}-000001")), machine);
    }
    let network = survey.derive(NOW).unwrap().network;
    assert_eq!(network.nvlink, [format!("{one}.0")]);
    let domains: Vec<_> = network.nodes.iter().map(|node| node.nvlink).collect();
    assert_eq!(domains, [Some(0), Some(0), None]);
}

#[test]
fn one_node_at_a_time_tells_a_fabric_and_another_takes_over_when_it_is_gone() {
    let mut survey = Survey::default();
    let [a, b] = ["a-000001", "b-000001"].map(NodeId::new);
    let can = |survey: &mut Survey, node: &NodeId| {
        survey.linked(node, true);
        survey.machine(NOW, node, in_subnet(7));
        survey.can_tell_fabrics(node, [7]);
        survey.ask()
    };
    assert_eq!(can(&mut survey, &b), [(7, b.clone())]);
    assert_eq!(can(&mut survey, &a), [], "one is enough");
    assert_eq!(survey.fabric(&a, 7, Vec::new()), News::Nothing, "nobody asked it");
    assert_eq!(survey.fabric(&b, 7, Vec::new()), News::Facts);
    survey.linked(&b, false);
    assert_eq!(survey.ask(), [(7, a.clone())]);
    assert_eq!(survey.fabric(&a, 7, Vec::new()), News::Nothing, "the same as before");
    assert_eq!(can(&mut survey, &b), [], "whoever tells it already");
    assert_eq!(can(&mut survey, &a), [(7, a.clone())], "a new link knows of no question");
}

#[test]
fn a_node_is_asked_for_the_subnets_that_it_has_ports_in_until_it_hears_it() {
    let mut survey = Survey::default();
    let a = NodeId::new("a-000001");
    survey.linked(&a, true);
    survey.can_tell_fabrics(&a, 0..1000);
    assert_eq!(survey.ask(), [], "nothing is known of its ports");
    survey.machine(NOW, &a, in_subnet(7));
    assert_eq!(survey.ask(), [(7, a.clone())]);
    assert_eq!(survey.ask(), []);
    survey.not_asked(7);
    assert_eq!(survey.ask(), [(7, a.clone())]);
    survey.can_tell_fabrics(&a, [8]);
    assert_eq!((survey.ask(), survey.fabric(&a, 8, Vec::new())), (vec![], News::Nothing));
}

#[test]
fn nobody_gives_another_node_a_port() {
    let mut survey = Survey::default();
    let [a, b] = ["a-000001", "b-000001"].map(NodeId::new);
    survey.machine(NOW, &a, machine("a", &[("eth0", None)]));
    survey.machine(NOW, &b, machine("b", &[("eth0", None)]));
    survey.heard(NOW, &a, vec![heard("eth0", &b, "eth0"), heard("eth0", &b, "made-up")], true);
    survey.heard(NOW, &b, Vec::new(), true);
    let network = survey.derive(NOW).unwrap().network;
    let ports: Vec<_> = network.nodes.iter().map(|node| node.ports.len()).collect();
    assert_eq!((ports, network.one_way.len()), (vec![1, 1], 1));
}

/// With an adapter and a GPU of these numbers.
fn numbered(host: &str, ports: &[u64], serial: &str) -> Arc<Machine> {
    let mut machine = Machine { host: Some(host.to_owned()), ..Machine::default() };
    for guid in ports {
        let mut nic = in_subnet(7).nics[0].clone();
        nic.name = format!("mlx5_{guid}/1");
        nic.rdma.as_mut().unwrap().guid = Some(Guid(*guid));
        machine.nics.push(nic);
    }
    let serial = Some(serial.to_owned());
    machine.accelerators = vec![Accelerator { serial, ..Accelerator::new(AcceleratorKind::Nvidia) }];
    Arc::new(machine)
}

#[test]
fn a_machine_that_was_installed_anew_is_there_once_with_its_name_and_ports() {
    let mut survey = Survey::default();
    let [old, new] = ["gpu-07-000001", "gpu-07-000002"].map(NodeId::new);
    survey.linked(&old, true);
    survey.machine(NOW, &old, numbered("gpu-07", &[1, 2], "1650"));
    survey.linked(&old, false);
    assert_eq!(survey.derive(NOW).unwrap().ids, BTreeMap::from([("gpu-07".to_owned(), old.clone())]));
    survey.linked(&new, true);
    survey.machine(NOW, &new, numbered("gpu-07", &[1, 2], "1650"));
    let found = survey.derive(NOW).unwrap();
    assert_eq!(found.ids, BTreeMap::from([("gpu-07".to_owned(), new.clone())]));
    assert_eq!(found.twins, BTreeSet::from([old.clone(), new.clone()]));
    survey.linked(&old, true);
    assert_eq!(survey.derive(NOW).unwrap().ids.len(), 2, "both are there");
    survey.linked(&new, false);
    assert_eq!(survey.derive(NOW).unwrap().ids, BTreeMap::from([("gpu-07".to_owned(), old)]));
}

#[test]
fn an_adapter_that_was_moved_is_where_it_is_linked() {
    let mut survey = Survey::default();
    let [a, b] = ["a-000001", "b-000001"].map(NodeId::new);
    survey.machine(NOW, &a, numbered("a", &[1, 2], "1650"));
    survey.linked(&b, true);
    survey.machine(NOW, &b, numbered("b", &[2, 3], "1651"));
    let network = survey.derive(NOW).unwrap().network;
    let ports: Vec<Vec<&str>> =
        network.nodes.iter().map(|node| node.ports.iter().map(|port| port.name.as_str()).collect()).collect();
    assert_eq!(ports, [vec!["mlx5_1/1"], vec!["mlx5_2/1", "mlx5_3/1"]]);
}

#[test]
fn more_beacons_than_are_taken_leave_the_rest_derived() {
    let mut survey = Survey::default();
    let [a, b] = ["a-000001", "b-000001"].map(NodeId::new);
    for (id, host, other) in [(&a, "a", &b), (&b, "b", &a)] {
        survey.machine(NOW, id, machine(host, &[("eth0", None)]));
        survey.neighbours(NOW, id, vec![neighbour("eth0", "leaf1")]);
        survey.heard(NOW, id, vec![heard("eth0", other, "eth0")], true);
    }
    for (most, unheard, domains) in [(4, 0, 1), (3, 2, 0)] {
        let found = survey.derive_within(most, NOW).unwrap();
        let network = &found.network;
        assert_eq!((found.unheard, network.layer2.len(), network.switches.len()), (unheard, domains, 1));
    }
}

#[test]
fn devices_without_numbers_make_no_twins() {
    let mut survey = Survey::default();
    for (id, host) in [("a-000001", "a"), ("b-000001", "b")] {
        survey.machine(NOW, &NodeId::new(id), numbered(host, &[0], "0000"));
    }
    survey.linked(&NodeId::new("a-000001"), true);
    let found = survey.derive(NOW).unwrap();
    assert_eq!((found.ids.len(), found.twins.len()), (2, 0));
}

#[test]
fn a_host_that_is_called_like_another_node_takes_no_name_from_it() {
    let mut survey = Survey::default();
    let [a, b, c] = ["a", "b-000001", "c"].map(NodeId::new);
    survey.machine(NOW, &a, machine("x", &[]));
    survey.machine(NOW, &b, machine("a", &[]));
    survey.machine(NOW, &c, machine("c", &[]));
    let ids = survey.derive(NOW).unwrap().ids;
    assert_eq!(ids, BTreeMap::from([("x".to_owned(), a), ("b-000001".to_owned(), b), ("c".to_owned(), c)]));
}

#[test]
fn what_jobs_change_in_a_machine_derives_no_facts() {
    let mut survey = Survey::default();
    let a = NodeId::new("a-000001");
    let mut idle = machine("a", &[("eth0", None)]);
    Arc::make_mut(&mut idle).accelerators = vec![Accelerator::new(AcceleratorKind::Nvidia)];
    survey.machine(NOW, &a, Arc::clone(&idle));
    let mut busy = Machine::clone(&idle);
    busy.accelerators[0].processes = Some(vec![7]);
    busy.pci.values_mut().for_each(|device| device.link.speed = Some(32_000));
    let busy = Arc::new(busy);
    assert_eq!(survey.machine(NOW, &a, Arc::clone(&busy)), News::Machines);
    assert_eq!(survey.machine_of(&a), Some(&busy));
    let mut moved = Machine::clone(&busy);
    moved.nics[0].addresses.push("10.0.0.3/24".to_owned());
    assert_eq!(survey.machine(NOW, &a, Arc::new(moved.clone())), News::Facts, "an address");
    moved.nics[0].up = Some(false);
    assert_eq!(survey.machine(NOW, &a, Arc::new(moved.clone())), News::Facts, "a port");
    moved.host = Some("b".to_owned());
    assert_eq!(survey.machine(NOW, &a, Arc::new(moved)), News::Facts, "a name");
}

#[test]
fn networks_of_addresses_are_their_upper_bits() {
    assert_eq!(network_of("10.1.2.3/24").as_deref(), Some("10.1.2.0/24"));
    assert_eq!(network_of("10.1.2.3/0").as_deref(), Some("0.0.0.0/0"));
    assert_eq!(network_of("fd00::1:2/64").as_deref(), Some("fd00::/64"));
    for wrong in ["10.1.2.3", "10.1.2.3/33", "x/8", "fd00::/129"] {
        assert_eq!(network_of(wrong), None, "{wrong}");
    }
}

#[test]
fn a_gateway_is_told_of_the_network_that_it_is_in() {
    let gateways = vec!["10.1.0.1".to_owned(), "fd00::1".to_owned()];
    let nic = Nic { gateways, ..Nic::new("eth0", LinkLayer::Ethernet) };
    assert_eq!(gateway(&nic, "10.1.0.0/16").as_deref(), Some("10.1.0.1"));
    assert_eq!(gateway(&nic, "fd00::/64").as_deref(), Some("fd00::1"));
    assert_eq!(gateway(&nic, "10.2.0.0/16"), None);
}
