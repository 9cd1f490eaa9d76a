//! Looking for what an operator should know.

use std::collections::{BTreeMap, BTreeSet};

use super::capacity::MIN_PEERS;
use super::findings::{
    Adapter, Finding, InPlane, Lone, Named, OffRail, Ports, Problem, Severity, Stated, Thin,
};
use super::network::{Group, Network, Node, NodePort, PortRef, Row, Said, Subject, Unseen, Value};
use super::owners::Stray;
use super::tier::Tier;
use super::unseen::Known;

/// Names that are told of many. What was meant by a name that nobody knows is looked for among all that are known.
const MOST_NAMED: usize = 16;

/// Everything that an operator should look at, the most severe first, then by subject.
pub fn findings(network: &Network) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |severity, subject: &str, problem| {
        found.push(Finding { severity, subject: subject.to_string(), problem });
    };
    for node in &network.nodes {
        rails(network, node, &mut add);
        divided(network, node, &mut add);
        if is_common(&node.name) {
            add(Severity::Notice, &node.name, Problem::CommonName);
        }
    }
    unlike(network, &mut add);
    missing_leaves(network, &mut add);
    uplinks(network, &mut add);
    unjoined(network, &mut add);
    unseen(network, &mut add);
    strays(network, &mut add);
    splits(network, &mut add);
    names(network, &mut add);
    for one in &network.one_way {
        let (listener, speaker) = (port_name(network, one.listener), port_name(network, one.speaker));
        add(Severity::Warning, &listener.clone(), Problem::OneWay { listener, speaker });
    }
    for conflict in &network.conflicts {
        let (subject, about) = subject(network, &conflict.subject);
        let claims = conflict.claims.iter().map(|said| stated(network, said)).collect();
        add(Severity::Warning, &subject, Problem::Conflict { about, claims, reason: conflict.reason });
    }
    for idle in &network.idle {
        let problem = Problem::Idle { tier: idle.tier, group: idle.group.clone() };
        add(Severity::Warning, &network.switches[idle.switch as usize].name, problem);
    }
    if let Some(first) = network.rings.first() {
        let name = |row: &Row| network.switches[*row as usize].name.clone();
        let switches = network.rings.iter().take(MOST_NAMED).map(name).collect();
        let more = network.rings.len().saturating_sub(MOST_NAMED);
        add(Severity::Warning, &name(first), Problem::Ring { switches, more });
    }
    for cut in &network.cut {
        let problem = Problem::Cut { cables: cut.cables, devices: cut.devices };
        add(Severity::Warning, &cut.origin, problem);
    }
    if network.refused > 0 {
        add(Severity::Notice, "evidence", Problem::Refused { pieces: network.refused });
    }
    found.sort();
    found
}

type Add<'a> = dyn FnMut(Severity, &str, Problem) + 'a;

fn rails(network: &Network, node: &Node, add: &mut Add<'_>) {
    let mut off: BTreeMap<Row, Vec<OffRail>> = BTreeMap::new();
    for port in &node.ports {
        let Some(switch) = port.at.as_ref().map(|at| &network.switches[at.switch as usize]) else { continue };
        if let (Some(rail), Some(on), Some(plane)) = (port.rail, switch.rail, switch.plane)
            && rail != on
        {
            let (port, leaf) = (port.name.clone(), switch.name.clone());
            off.entry(plane).or_default().push(OffRail { port, rail, leaf, on });
        }
    }
    for (plane, ports) in off {
        let own: BTreeSet<u16> = ports.iter().map(|port| port.rail).collect();
        let on: BTreeSet<u16> = ports.iter().map(|port| port.on).collect();
        if own == on && own.len() == ports.len() {
            add(Severity::Warning, &node.name, Problem::SwappedRails { ports });
        } else if ports_in(network, node, plane).count() >= usize::from(network.planes[plane as usize].rails)
        {
            // A node with fewer ports than there are rails (a management host) need not follow them.
            for port in ports {
                add(Severity::Warning, &node.name, Problem::WrongRail { port });
            }
        }
    }
}

fn ports_in<'a>(network: &'a Network, node: &'a Node, plane: Row) -> impl Iterator<Item = &'a NodePort> {
    node.ports.iter().filter(move |port| {
        port.at.as_ref().is_some_and(|at| network.switches[at.switch as usize].plane == Some(plane))
    })
}

fn ports_of(network: &Network, node: &Node, plane: Row) -> Ports {
    let ports: Vec<&NodePort> = ports_in(network, node, plane).collect();
    let mut speeds_mbps: Vec<u32> = ports.iter().filter_map(|port| port.speed_mbps).collect();
    speeds_mbps.sort_unstable();
    Ports { count: ports.len(), speeds_mbps, down: ports.iter().filter(|port| port.down).count() }
}

/// Nodes whose ports are not like those of most nodes of their closest group.
fn unlike(network: &Network, add: &mut Add<'_>) {
    let mut members: BTreeMap<(Row, Row), Vec<&Node>> = BTreeMap::new();
    for node in &network.nodes {
        for place in node.places.iter().filter(|place| !is_cut(network, place.plane)) {
            if let Some(group) = place.groups.first() {
                members.entry((place.plane, *group)).or_default().push(node);
            }
        }
    }
    for ((plane, _), mut nodes) in members {
        // Of one that is there by a node's name alone, the ports are not known.
        nodes.retain(|node| ports_in(network, node, plane).next().is_some());
        if nodes.len() < MIN_PEERS {
            continue;
        }
        let ports: Vec<Ports> = nodes.iter().map(|node| ports_of(network, node, plane)).collect();
        let mut counts: BTreeMap<&Ports, usize> = BTreeMap::new();
        for ports in &ports {
            *counts.entry(ports).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((usual, peers)) = most.filter(|(_, count)| 2 * count > nodes.len()) else { continue };
        for (node, has) in nodes.iter().zip(&ports).filter(|(_, has)| *has != usual) {
            let (has, usual) = (has.clone(), usual.clone());
            let plane = network.planes[plane as usize].name.clone();
            add(Severity::Notice, &node.name, Problem::Unlike { plane, has, usual, peers });
        }
    }
}

/// Whether a plane may have more than its sources show.
fn is_cut(network: &Network, plane: Row) -> bool {
    network.cut.iter().any(|cut| cut.planes.contains(&plane))
}

/// Nodes with ports in several leaf groups of one plane.
fn divided(network: &Network, node: &Node, add: &mut Add<'_>) {
    let mut groups: BTreeMap<Row, BTreeSet<Row>> = BTreeMap::new();
    for port in &node.ports {
        let Some(switch) = port.at.as_ref().map(|at| &network.switches[at.switch as usize]) else { continue };
        if let (Some(plane), Some(group)) = (switch.plane, switch.group) {
            groups.entry(plane).or_default().insert(group);
        }
    }
    for (plane, groups) in groups.into_iter().filter(|(_, groups)| groups.len() > 1) {
        let plane = network.planes[plane as usize].name.clone();
        let groups = groups.into_iter().map(|group| network.groups[group as usize].name.clone()).collect();
        add(Severity::Notice, &node.name, Problem::Divided { plane, groups });
    }
}

/// A leaf group with its row and the rails of its leaves.
type Unit<'a> = (Row, &'a Group, BTreeSet<u16>);

fn missing_leaves(network: &Network, add: &mut Add<'_>) {
    let mut nodes: BTreeMap<Row, usize> = BTreeMap::new();
    for group in network.nodes.iter().flat_map(|node| &node.places).filter_map(|place| place.groups.first()) {
        *nodes.entry(*group).or_default() += 1;
    }
    let rails_of = |group: &Group| -> BTreeSet<u16> {
        group.switches.iter().filter_map(|leaf| network.switches[*leaf as usize].rail).collect()
    };
    let mut units_of: BTreeMap<Row, Vec<Unit<'_>>> = BTreeMap::new();
    for (group, at) in network.groups.iter().zip(0..).filter(|(group, _)| group.tier == Tier::Leaf) {
        let rails = rails_of(group);
        if rails.len() > 1 {
            units_of.entry(group.plane).or_default().push((at, group, rails));
        }
    }
    for (row, units) in units_of.into_iter().filter(|(plane, _)| !is_cut(network, *plane)) {
        let plane = &network.planes[row as usize];
        for rail in 0..plane.rails {
            let with = units.iter().filter(|(.., rails)| rails.contains(&rail)).count();
            if 2 * with <= units.len() {
                continue;
            }
            for (at, group, _) in units.iter().filter(|(.., rails)| !rails.contains(&rail)) {
                let problem = Problem::MissingLeaf {
                    rail,
                    leaves: group
                        .switches
                        .iter()
                        .map(|leaf| network.switches[*leaf as usize].name.clone())
                        .collect(),
                    nodes: nodes.get(at).copied().unwrap_or_default(),
                    units_with: with,
                    units: units.len(),
                };
                add(Severity::Warning, &group.name, problem);
            }
        }
    }
}

/// A switch's plane and level. What is usual is so only among switches that have both in common.
type Role = (Option<Row>, u8);

/// Switches short of uplinks, with the pairs that have fewer cables than pairs of these levels usually have in
/// their plane.
fn uplinks(network: &Network, add: &mut Add<'_>) {
    let level = |row: Row| network.switches[row as usize].level;
    let role = |row: Row| -> Role { (network.switches[row as usize].plane, level(row)) };
    let mut counts: BTreeMap<(Role, u8), BTreeMap<u32, usize>> = BTreeMap::new();
    let mut links_of: BTreeMap<Row, Vec<(Row, u32)>> = BTreeMap::new();
    for link in &network.links {
        let Some(live) = link.live else { continue };
        let levels = (role(link.lower), level(link.upper));
        *counts.entry(levels).or_default().entry(live).or_default() += 1;
        links_of.entry(link.lower).or_default().push((link.upper, live));
    }
    let usual = |lower: Row, upper: Row| {
        let counts = counts.get(&(role(lower), level(upper)))?;
        counts.iter().max_by_key(|(live, count)| (**count, **live)).map(|(live, _)| *live)
    };
    // To which switches most of a plane and level have cables: a pair that lost all of them is no link.
    let mut peers: BTreeMap<Role, usize> = BTreeMap::new();
    let mut with: BTreeMap<Role, BTreeMap<Row, usize>> = BTreeMap::new();
    for (lower, uppers) in &links_of {
        *peers.entry(role(*lower)).or_default() += 1;
        for (upper, _) in uppers {
            *with.entry(role(*lower)).or_default().entry(*upper).or_default() += 1;
        }
    }
    for (switch, row) in network.switches.iter().zip(0..) {
        let Some(uplinks) = switch.uplinks.filter(|uplinks| uplinks.is_short()) else { continue };
        let links = links_of.get(&row).map_or(&[][..], Vec::as_slice);
        let all = peers.get(&role(row)).copied().unwrap_or_default();
        let lost =
            with.get(&role(row)).into_iter().flatten().filter(|(upper, count)| {
                2 * **count > all && links.iter().all(|(linked, _)| linked != *upper)
            });
        let thin = links
            .iter()
            .copied()
            .chain(lost.map(|(upper, _)| (*upper, 0)))
            .filter_map(|(upper, live)| {
                let usual = usual(row, upper).filter(|usual| live < *usual)?;
                Some(Thin { to: network.switches[upper as usize].name.clone(), live, usual })
            })
            .collect();
        add(Severity::Warning, &switch.name, Problem::LostUplinks { uplinks, thin });
    }
}

/// One finding for each unit.
fn unjoined(network: &Network, add: &mut Add<'_>) {
    let mut by_unit: BTreeMap<String, Vec<Adapter>> = BTreeMap::new();
    for unjoined in &network.unjoined {
        let switch = &network.switches[unjoined.switch as usize];
        let unit = switch.group.map_or(&switch.name, |group| &network.groups[group as usize].name);
        by_unit.entry(unit.clone()).or_default().push(Adapter {
            switch: switch.name.clone(),
            switch_port: unjoined.switch_port.clone(),
            guid: unjoined.guid,
            called: unjoined.called.clone(),
        });
    }
    for (unit, adapters) in by_unit {
        add(Severity::Notice, &unit, Problem::Unjoined { adapters });
    }
}

/// One finding for the nodes of each statement, and one for its switches.
fn unseen(network: &Network, add: &mut Add<'_>) {
    let (nodes, switches) =
        (name_table(&network.nodes, |it| &it.name), name_table(&network.switches, |it| &it.name));
    let unseen = |rows: fn(&Unseen) -> &[Row]| -> BTreeSet<Row> {
        network.unseen.iter().flat_map(|unseen| rows(unseen).iter().copied()).collect()
    };
    let of_nodes: fn(&Unseen) -> &[Row] = |unseen| &unseen.nodes;
    let of_switches: fn(&Unseen) -> &[Row] = |unseen| &unseen.switches;
    for (of, names, rows) in [(Named::Nodes, nodes, of_nodes), (Named::Switches, switches, of_switches)] {
        let alone = unseen(rows);
        if alone.is_empty() {
            continue;
        }
        let known =
            Known::of((0..).zip(&names).filter(|(row, _)| !alone.contains(row)).map(|(_, name)| *name));
        for by in network.unseen.iter().filter(|by| !rows(by).is_empty()) {
            let lone = |row: &Row| {
                let name = names[*row as usize];
                Lone { name: name.to_string(), nearest: known.nearest(name).map(str::to_string) }
            };
            let names: Vec<Lone> = rows(by).iter().take(MOST_NAMED).map(lone).collect();
            let more = rows(by).len() - names.len();
            let is_slip = names.iter().any(|lone| lone.nearest.is_some());
            let severity = if is_slip { Severity::Warning } else { Severity::Notice };
            add(severity, &by.origin, Problem::Unseen { of, names, more });
        }
    }
}

/// One finding for the GUIDs of each statement.
fn strays(network: &Network, add: &mut Add<'_>) {
    for of_file in network.strays.chunk_by(|a, b| a.origin == b.origin) {
        let guids: Vec<Stray> = of_file.iter().take(MOST_NAMED).cloned().collect();
        let more = of_file.len() - guids.len();
        let is_slip = guids.iter().any(|stray| stray.nearest.is_some() || !stray.of_adapter.is_empty());
        let severity = if is_slip { Severity::Warning } else { Severity::Notice };
        add(severity, &of_file[0].origin, Problem::StrayGuids { guids, more });
    }
}

fn splits(network: &Network, add: &mut Add<'_>) {
    for split in &network.splits {
        let in_plane = |row: &Row| {
            let switch = &network.switches[*row as usize];
            let plane = switch.plane.map(|plane| network.planes[plane as usize].name.clone());
            InPlane { leaf: switch.name.clone(), plane: plane.unwrap_or_default() }
        };
        // That of which something is written comes first.
        let said: Vec<Stated> = split.said.iter().map(|said| stated(network, said)).collect();
        let first = split.said.iter().find_map(|said| match said.value {
            Value::Switch(row) if split.leaves.contains(&row) => Some(row),
            _ => None,
        });
        let others = split.leaves.iter().copied().filter(|row| Some(*row) != first);
        let leaves = first.into_iter().chain(others);
        let leaves: Vec<InPlane> = leaves.take(MOST_NAMED).map(|row| in_plane(&row)).collect();
        let more = split.leaves.len() - leaves.len();
        let severity = if split.bonded { Severity::Warning } else { Severity::Notice };
        let subject = leaves.first().map(|first| first.leaf.clone()).unwrap_or_default();
        let (nodes, bonded) = (split.nodes, split.bonded);
        add(severity, &subject, Problem::SplitPlane { leaves, more, nodes, bonded, said });
    }
}

fn name_table<T>(rows: &[T], name: fn(&T) -> &String) -> Vec<&str> {
    rows.iter().map(|row| name(row).as_str()).collect()
}

fn names(network: &Network, add: &mut Add<'_>) {
    for duplicate in &network.duplicates {
        let (port, guids) = (duplicate.port.clone(), duplicate.guids.clone());
        add(Severity::Warning, &duplicate.name, Problem::DuplicateName { port, guids });
    }
    let nodes: BTreeSet<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
    let both: BTreeSet<&str> = network.switches.iter().map(|switch| switch.name.as_str()).collect();
    for name in both.intersection(&nodes) {
        add(Severity::Warning, name, Problem::NodeAndSwitch);
    }
    let mut switches: BTreeMap<&str, usize> = BTreeMap::new();
    for switch in &network.switches {
        *switches.entry(&switch.name).or_default() += 1;
    }
    for (name, switches) in switches.into_iter().filter(|(_, count)| *count > 1) {
        add(Severity::Notice, name, Problem::SwitchName { switches });
    }
}

fn is_common(name: &str) -> bool {
    let label = name.split('.').next().unwrap_or(name);
    ["localhost", "ubuntu", "debian", "centos", "rocky", "fedora", "linux"].contains(&label)
}

/// What a conflict is about: whom, and which of its properties.
pub(super) fn subject(network: &Network, subject: &Subject) -> (String, String) {
    let node = |row: Row| network.nodes[row as usize].name.clone();
    let switch = |row: Row| network.switches[row as usize].name.clone();
    match subject {
        Subject::Port(at) => (port_name(network, *at), "the switch it is attached to".to_string()),
        Subject::Leaf { node: row, plane } => {
            (node(*row), format!("its leaf in {}", network.planes[*plane as usize].name))
        }
        Subject::Link { a, b } => (switch(*a), format!("its cables to {}", switch(*b))),
        Subject::Uplinks { switch: row } => (switch(*row), "the uplinks it should have".to_string()),
        Subject::Nvlink { node: row } => (node(*row), "its NVLink domain".to_string()),
        Subject::Member { of, tier } => (of.clone(), format!("its {tier}")),
        Subject::Rail(at) => (port_name(network, *at), "its rail".to_string()),
        Subject::Owner { guid } => (format!("adapter {guid}"), "the port that it is".to_string()),
        Subject::Plane { switch: row } => (switch(*row), "the plane of its fabric".to_string()),
    }
}

fn stated(network: &Network, said: &Said) -> Stated {
    let value = match &said.value {
        Value::Switch(row) => network.switches[*row as usize].name.clone(),
        Value::Number(number) => number.to_string(),
        Value::Name(name) => name.clone(),
    };
    Stated { source: said.source, origin: said.origin.clone(), line: said.line, value }
}

/// `node port`.
fn port_name(network: &Network, at: PortRef) -> String {
    let node = &network.nodes[at.node as usize];
    format!("{} {}", node.name, node.ports[at.port as usize].name)
}
