//! What is told of a look.

use phalanx_common::wire::topology_v1::Neighbour;
use phalanx_formats::dir::Dir;

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

#[tokio::test]
async fn switches_behind_ports_of_devices_are_told_beside_those_that_the_host_hears() {
    let policy =
        Policy { labels: Vec::new(), reserved_cpus: String::new(), reserved_memory_bytes: 0, share: false };
    let (_links, links) = mpsc::channel(1);
    let mut surveyor = Surveyor::new("n1".to_owned(), policy, Looker::new(Dir::live(), None), links);
    surveyor.on_link(Listens::default());
    let mut told = Vec::new();
    let lldpd = Some(vec![neighbour("eth0")]);
    for (of_lldpd, beyond) in [
        (lldpd.clone(), vec![neighbour("npu1"), neighbour("npu0")]),
        (lldpd, vec![]),
        (None, vec![neighbour("npu0")]),
    ] {
        let machine = Machine { host: Some("n1".to_owned()), ..Machine::default() };
        let look = Look { machine, neighbours: of_lldpd, beyond, interfaces: Vec::new() };
        surveyor.on_look(Ok((Looker::new(Dir::live(), None), look)));
        assert!(surveyor.tell_at.is_some(), "there is something new");
        surveyor.tell().await;
        let said = std::mem::take(&mut surveyor.link.as_mut().unwrap().0);
        told.extend(said.into_iter().filter_map(|said| match said {
            FromNode::Neighbours(all) => {
                Some(all.into_iter().map(|neighbour| neighbour.interface).collect::<Vec<_>>())
            }
            _ => None,
        }));
    }
    assert_eq!(told, [vec!["eth0", "npu0", "npu1"], vec!["eth0"], vec!["npu0"]]);
}
