//! Where a node's ports go.

use std::fmt::Write as _;

use phalanx_common::topology::machine::{Device, Machine, Nic};
use phalanx_common::topology::{Network, Node, NodePort, Row};

use super::super::paint::{Line, Paint, Tone, counted, speed};
use super::super::tree::table;
use super::super::view::View;
use super::nic_name;

/// A row for each port, then the groups that the node is in.
pub(super) fn ports(view: &View, name: &str, paint: Paint, text: &mut String) {
    let network = view.network();
    let Some((row, node)) = network.node(name).map(|row| (row, &network.nodes[row as usize])) else { return };
    if !node.ports.is_empty() {
        let machine = view.machine(name);
        let header = ["PORT", "RDMA", "PCI", "NUMA", "SPEED", "STATE", "SWITCH", "ITS PORT", "RAIL", "SAYS"];
        let mut rows = vec![header.map(Line::of).to_vec()];
        rows.extend(node.ports.iter().map(|port| line(network, machine, port)));
        // Columns of which nothing is known are left out.
        for column in (1..header.len()).rev() {
            if rows.iter().skip(1).all(|row| row[column].is_empty()) {
                rows.iter_mut().for_each(|row| drop(row.remove(column)));
            }
        }
        text.push('\n');
        table(&rows, paint, text);
    }
    let lines = places(network, node, row);
    if !lines.is_empty() {
        text.push('\n');
    }
    for (what, line) in lines {
        let _ = writeln!(text, "{}{}", paint.piece(Tone::Faint, &format!("{what:<14}")), line.paint(paint));
    }
}

fn line(network: &Network, machine: Option<&Machine>, port: &NodePort) -> Vec<Line> {
    let nic = machine.and_then(|machine| {
        let at = machine.nics.iter().position(|nic| nic.name == port.name)?;
        Some((u32::try_from(at).ok()?, &machine.nics[at], machine))
    });
    let of_nic = |what: &dyn Fn(u32, &Nic, &Machine) -> Option<String>| {
        Line::of(nic.and_then(|(row, nic, machine)| what(row, nic, machine)).unwrap_or_default())
    };
    let on = port.at.as_ref().and_then(|at| network.switches.get(at.switch as usize));
    let state = match (port.down, nic.and_then(|(_, nic, _)| nic.up)) {
        (true, _) => Line::toned(Tone::Bad, "down"),
        (false, Some(true)) => Line::toned(Tone::Good, "up"),
        _ => Line::default(),
    };
    let rail = match (port.rail, on.and_then(|switch| switch.rail)) {
        (Some(own), Some(on)) if own != on => Line::toned(Tone::Worse, format!("{own}, on {on}")),
        (Some(rail), _) | (None, Some(rail)) => Line::toned(Tone::Rail(rail), rail.to_string()),
        (None, None) => Line::default(),
    };
    let bond = port.bond.as_ref().map(|bond| format!(" in {bond}")).unwrap_or_default();
    vec![
        Line::toned(Tone::Strong, &port.name).and(bond),
        of_nic(&|_, nic, _| nic.rdma.as_ref().map(|_| nic_name(nic))),
        of_nic(&|_, nic, _| nic.bdf.map(|bdf| bdf.to_string())),
        of_nic(&|row, _, machine| machine.numa_of(Device::Nic(row)).map(|id| id.to_string())),
        Line::of(port.speed_mbps.map(speed).unwrap_or_default()),
        state,
        on.map_or_else(|| Line::toned(Tone::Worse, "unknown"), |switch| Line::of(&switch.name)),
        Line::of(port.at.as_ref().and_then(|at| at.port.clone()).unwrap_or_default()),
        rail,
        Line::toned(Tone::Faint, port.at.as_ref().map(|at| at.source.to_string()).unwrap_or_default()),
    ]
}

fn places(network: &Network, node: &Node, row: Row) -> Vec<(String, Line)> {
    let mut lines = Vec::new();
    for place in &node.places {
        let plane = &network.planes[place.plane as usize];
        let groups: Vec<String> = place
            .groups
            .iter()
            .map(|group| {
                let group = &network.groups[*group as usize];
                format!("{} {}", group.tier, group.name)
            })
            .collect();
        lines.push((plane.name.clone(), Line::of(groups.join(", "))));
    }
    if let Some(domain) = node.nvlink {
        let peers = network.nodes.iter().filter(|peer| peer.nvlink == Some(domain)).count();
        let name = &network.nvlink[domain as usize];
        lines.push(("NVLink".to_string(), Line::of(format!("{name}, {}", counted(peers, "node")))));
    }
    let domains = network.layer2.iter().filter(|ports| ports.iter().any(|port| port.node == row));
    for ports in domains {
        let peers: std::collections::BTreeSet<Row> = ports.iter().map(|port| port.node).collect();
        lines.push((
            "layer 2".to_string(),
            Line::of(format!("hears {}", counted(peers.len().saturating_sub(1), "node"))),
        ));
    }
    lines
}
