//! What is told of a look.

use phalanx_common::wire::topology_v1::Neighbour;
use phalanx_formats::dir::Dir;

use super::tell::HEARD_ALL_WITHIN;
use super::*;

/// A coordinator that listens and asks for nothing.
#[derive(Debug, Default)]
struct Listens(Vec<FromNode>);

impl TopologyLink for Listens {
    async fn tell(&mut self, told: FromNode) -> Result<(), link::Error> {
        self.0.push(told);
        Ok(())
    }

    async fn asked(&mut self) -> Result<ToNode, link::Error> {
        std::future::pending().await
    }
}

fn neighbour(interface: &str) -> Neighbour {
    Neighbour {
        interface: interface.to_owned(),
        chassis: format!("local {interface}"),
        name: None,
        address: None,
        port: "1".to_owned(),
    }
}

fn surveyor() -> (mpsc::Sender<Listens>, Surveyor<Listens>) {
    let policy =
        Policy { labels: Vec::new(), reserved_cpus: String::new(), reserved_memory_bytes: 0, share: false };
    let (dialed, links) = mpsc::channel(1);
    let mut surveyor = Surveyor::new("n1".to_owned(), policy, Looker::new(Dir::live(), None), links);
    surveyor.on_link(Listens::default());
    (dialed, surveyor)
}

/// Of a machine with nothing around it.
fn look() -> Look {
    let machine = Machine { host: Some("n1".to_owned()), ..Machine::default() };
    let (beyond, interfaces) = (Vec::new(), Vec::new());
    Look { machine, neighbours: None, beyond, interfaces, gates: BTreeMap::new() }
}

fn saw(surveyor: &mut Surveyor<Listens>, look: Look) {
    surveyor.on_look(Ok((Looker::new(Dir::live(), None), look)));
}

fn told(surveyor: &mut Surveyor<Listens>) -> Vec<FromNode> {
    std::mem::take(&mut surveyor.link.as_mut().unwrap().0)
}

#[tokio::test]
async fn switches_behind_ports_of_devices_are_told_beside_those_that_the_host_hears() {
    let (_dialed, mut surveyor) = surveyor();
    let mut switches = Vec::new();
    let lldpd = Some(vec![neighbour("eth0")]);
    for (neighbours, beyond) in [
        (lldpd.clone(), vec![neighbour("npu1"), neighbour("npu0")]),
        (lldpd, vec![]),
        (None, vec![neighbour("npu0")]),
    ] {
        saw(&mut surveyor, Look { neighbours, beyond, ..look() });
        assert!(surveyor.tell_at.is_some(), "there is something new");
        surveyor.tell().await;
        switches.extend(told(&mut surveyor).into_iter().filter_map(|said| match said {
            FromNode::Neighbours(all) => {
                Some(all.into_iter().map(|neighbour| neighbour.interface).collect::<Vec<_>>())
            }
            _ => None,
        }));
    }
    assert_eq!(switches, [vec!["eth0", "npu0", "npu1"], vec!["eth0"], vec!["npu0"]]);
}

#[tokio::test]
async fn fabrics_of_two_subnets_are_walked_one_after_the_other_and_told_to_another_coordinator_at_once() {
    let (_dialed, mut surveyor) = surveyor();
    let gate = Gate { device: "nope0".to_owned(), port: 1 };
    saw(&mut surveyor, Look { gates: [(1, gate.clone()), (2, gate)].into(), ..look() });
    for subnet in [1, 2] {
        surveyor.on_asked(Ok(ToNode::TellFabric { subnet })).await;
    }
    let fabrics = |surveyor: &mut Surveyor<Listens>| -> Vec<(u64, Vec<u8>)> {
        let of = |said| match said {
            FromNode::Fabric { subnet, part, last: true } => Some((subnet, part.0)),
            _ => None,
        };
        told(surveyor).into_iter().filter_map(of).collect()
    };
    for subnet in [1, 2] {
        let (walked, _) = surveyor.walking.join_next().await.expect("a walk").expect("no panic");
        assert_eq!(walked, subnet);
        let dump = format!("dump {subnet}").into_bytes();
        surveyor.on_walked(Ok((subnet, Ok(dump.clone())))).await;
        assert_eq!(fabrics(&mut surveyor), [(subnet, dump)]);
    }
    assert!(surveyor.walking.is_empty());

    surveyor.on_link(Listens::default());
    surveyor.on_asked(Ok(ToNode::TellFabric { subnet: 2 })).await;
    assert_eq!(fabrics(&mut surveyor), [(2, b"dump 2".to_vec())]);
    assert!(surveyor.walking.is_empty(), "it was walked just before");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_starts_again_says_that_it_hears_nobody_only_after_it_listened_for_a_while() {
    let (_dialed, mut surveyor) = surveyor();
    let lists = |surveyor: &mut Surveyor<Listens>| -> Vec<usize> {
        let length = |said| match said {
            FromNode::Neighbours(all) => Some(all.len()),
            FromNode::Heard { beacons, .. } => Some(beacons.len()),
            _ => None,
        };
        told(surveyor).into_iter().filter_map(length).collect()
    };
    saw(&mut surveyor, look());
    surveyor.tell().await;
    assert!(lists(&mut surveyor).is_empty());
    let beacon = Beacon { node: "n2".to_owned(), interface: "eth0".to_owned(), session: 1, sequence: 1 };
    surveyor.beacons.note(std::time::Instant::now(), "eth0", beacon);
    surveyor.tell().await;
    assert_eq!(lists(&mut surveyor), [1], "what is heard is told");

    surveyor.beacons.forget("eth0");
    tokio::time::advance(HEARD_ALL_WITHIN).await;
    saw(&mut surveyor, look());
    assert!(surveyor.tell_at.is_some());
    surveyor.tell().await;
    assert_eq!(lists(&mut surveyor), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_heard_any_more_expires_while_a_look_hangs_which_is_noticed() {
    let (_dialed, mut surveyor) = surveyor();
    let beacon = Beacon { node: "n2".to_owned(), interface: "eth0".to_owned(), session: 1, sequence: 1 };
    let long_ago = std::time::Instant::now().checked_sub(BEACON_LOST).expect("the host is up for longer");
    surveyor.beacons.note(long_ago, "eth0", beacon);
    surveyor.tell_at = None;
    surveyor.expire();
    assert!(surveyor.tell_at.is_some() && surveyor.beacons.heard("n1").is_empty());
    surveyor.on_slow_look();
    assert!(surveyor.slow && surveyor.slow_at.is_none());
    saw(&mut surveyor, look());
    assert!(surveyor.slow, "it took that long: the next one that does is not news");
    surveyor.slow_at = Some(Instant::now() + SLOW);
    saw(&mut surveyor, look());
    assert!(!surveyor.slow);
}
