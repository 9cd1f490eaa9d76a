//! Which node and which port a source speaks of.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::End;
use super::network::{Duplicate, Node, NodePort, PortRef, Row};
use super::owners::Owners;
use super::port::{Guid, LinkLayer, Mac, Port};

/// Ports of one node. The largest have a few dozen, and virtual functions are none.
const MAX_PORTS: usize = 1024;

/// A node that told about its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// Unique among the nodes.
    pub node: String,
    pub ports: Vec<Port>,
}

/// What an end turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Port(PortRef),
    /// The node, by a port that is not named.
    Node(Row),
    Nobody,
}

/// All nodes and ports, and how to find them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) rows: Vec<Node>,
    pub(super) duplicates: Vec<Duplicate>,
    by_name: BTreeMap<String, Row>,
    /// First labels of qualified names that only one joined node has.
    by_label: BTreeMap<String, Row>,
    by_guid: BTreeMap<Guid, PortRef>,
    /// Members of a bond may share a MAC.
    by_mac: BTreeMap<Mac, Vec<PortRef>>,
    by_adapter: BTreeMap<Guid, Vec<PortRef>>,
    /// Joined nodes that told the GUIDs of their ports, and of their adapters.
    with_guids: BTreeSet<Row>,
    with_adapters: BTreeSet<Row>,
    /// Names under which several machines appear in the fabric's own dump.
    ambiguous: BTreeSet<String>,
    /// Ports whose owner is stated.
    owned: BTreeSet<Guid>,
}

impl Nodes {
    /// `ends` and `names`: all that the evidence speaks of, in any order.
    pub(super) fn gather(
        told: &[NodePorts],
        ends: &BTreeSet<&End>,
        names: &BTreeSet<&str>,
        owners: &Owners<'_>,
    ) -> Nodes {
        let mut nodes = Nodes { owned: owners.keys().copied().collect(), ..Nodes::default() };
        nodes.add_told(told);
        nodes.find_duplicates(ends);
        let strangers: BTreeSet<&str> = ends
            .iter()
            .filter(|end| nodes.by_address(end).is_none() && !nodes.is_owned(end))
            .filter_map(|end| end.node.as_deref())
            .chain(names.iter().copied())
            .filter(|name| nodes.row(name).is_none() && !nodes.ambiguous.contains(*name))
            .collect();
        for name in strangers {
            nodes.rows.push(Node { name: name.to_string(), ..Node::default() });
        }
        nodes.sort(told);
        nodes.add_owned(owners);
        nodes.add_ports(ends);
        nodes
    }

    fn is_owned(&self, end: &End) -> bool {
        end.guid.is_some_and(|guid| self.owned.contains(&guid))
    }

    /// A statement stands against what a node says of itself, and may name a port that it does not have.
    fn add_owned(&mut self, owners: &Owners<'_>) {
        for (guid, (node, name)) in owners {
            let Some(row) = self.row(node) else { continue };
            let port = self.port_named(row, name).or_else(|| {
                let ports = &mut self.rows[row as usize].ports;
                (ports.len() < MAX_PORTS).then(|| ports.push(NodePort::named(name)))?;
                Row::try_from(ports.len() - 1).ok()
            });
            if let Some(port) = port {
                self.by_guid.insert(*guid, PortRef { node: row, port });
            }
        }
    }

    fn add_told(&mut self, told: &[NodePorts]) {
        let names: BTreeSet<&str> = told.iter().map(|told| told.node.as_str()).collect();
        self.rows = names
            .into_iter()
            .map(|name| Node { name: name.to_string(), joined: true, ..Node::default() })
            .collect();
        self.sort(told);
    }

    /// Puts rows in the order of names and builds the ways to find them.
    fn sort(&mut self, told: &[NodePorts]) {
        self.rows.sort_by(|a, b| a.name.cmp(&b.name));
        self.by_name = self.rows.iter().zip(0..).map(|(node, row)| (node.name.clone(), row)).collect();
        let mut labels: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for (node, row) in self.rows.iter().zip(0..).filter(|(node, _)| node.joined) {
            labels.entry(label(&node.name).to_string()).or_default().push(row);
        }
        self.by_label = labels
            .into_iter()
            .filter_map(|(label, rows)| if let [row] = rows[..] { Some((label, row)) } else { None })
            .collect();
        (self.by_guid, self.by_mac, self.by_adapter) = Default::default();
        (self.with_guids, self.with_adapters) = Default::default();
        let mut in_order: Vec<&NodePorts> = told.iter().collect();
        in_order.sort_by(|a, b| a.node.cmp(&b.node));
        for node in in_order {
            let Some(row) = self.by_name.get(&node.node).copied() else { continue };
            let ports = ports_in_order(&node.ports);
            self.rows[row as usize].ports = ports.iter().map(told_port).collect();
            for (port, at) in ports.iter().zip(0..) {
                let at = PortRef { node: row, port: at };
                if let Some(guid) = port.guid {
                    self.by_guid.entry(guid).or_insert(at);
                    self.with_guids.insert(row);
                }
                if let Some(mac) = port.mac {
                    self.by_mac.entry(mac).or_default().push(at);
                }
                if let Some(adapter) = port.node_guid {
                    self.by_adapter.entry(adapter).or_default().push(at);
                    self.with_adapters.insert(row);
                }
            }
        }
    }

    /// The same port of the same name with several GUIDs: several machines, and which is which is unknown.
    fn find_duplicates(&mut self, ends: &BTreeSet<&End>) {
        let mut guids: BTreeMap<(&str, &str), BTreeSet<Guid>> = BTreeMap::new();
        for end in ends.iter().filter(|end| self.by_address(end).is_none() && !self.is_owned(end)) {
            if let (Some(node), Some(port), Some(guid)) = (&end.node, &end.port, end.guid) {
                guids.entry((node, port)).or_default().insert(guid);
            }
        }
        for ((name, port), guids) in guids.into_iter().filter(|(_, guids)| guids.len() > 1) {
            self.ambiguous.insert(name.to_string());
            self.duplicates.push(Duplicate {
                name: name.to_string(),
                port: port.to_string(),
                guids: guids.into_iter().collect(),
            });
        }
    }

    /// Ports that only the evidence knows. One port may have several names; its GUID makes them one.
    fn add_ports(&mut self, ends: &BTreeSet<&End>) {
        let mut ports: BTreeMap<Row, BTreeMap<&str, Option<u16>>> = BTreeMap::new();
        let mut names: BTreeMap<(Row, Guid), &str> = BTreeMap::new();
        let mut strange: Vec<(Row, &End, &str)> = Vec::new();
        for end in ends {
            if let (Found::Node(row), Some(port)) = (self.find(end), end.port.as_deref()) {
                strange.push((row, end, port));
                if let Some(guid) = end.guid {
                    names.entry((row, guid)).or_insert(port);
                }
            }
        }
        for (row, end, port) in &strange {
            let name = end.guid.and_then(|guid| names.get(&(*row, guid)).copied()).unwrap_or(port);
            let index = ports.entry(*row).or_default().entry(name).or_default();
            *index = index.or(end.index).min(end.index.or(*index));
        }
        for (row, ports) in ports {
            let node = &mut self.rows[row as usize];
            let mut added: Vec<NodePort> =
                ports.into_iter().map(|(name, index)| NodePort { index, ..NodePort::named(name) }).collect();
            added.sort_by(|a, b| {
                (a.index.is_none(), a.index, &a.name).cmp(&(b.index.is_none(), b.index, &b.name))
            });
            added.truncate(MAX_PORTS.saturating_sub(node.ports.len()));
            node.ports.extend(added);
        }
        for ((row, guid), name) in names {
            if let Some(port) = self.port_named(row, name) {
                self.by_guid.insert(guid, PortRef { node: row, port });
            }
        }
    }

    /// The row of a node by its name, or by the first label of a joined node's name.
    pub(super) fn row(&self, name: &str) -> Option<Row> {
        let exact = self.by_name.get(name).copied();
        exact.or_else(|| {
            self.by_label.get(label(name)).copied().filter(|row| {
                let known = &self.rows[*row as usize].name;
                // `n1.a` and `n1.b` are two nodes; `n1` is either.
                !name.contains('.') || !known.contains('.')
            })
        })
    }

    /// By GUID, then MAC, then adapter, then names.
    pub(super) fn find(&self, end: &End) -> Found {
        if let Some(found) = self.by_address(end) {
            return found;
        }
        let Some(node) = end.node.as_deref().and_then(|name| self.row(name)) else { return Found::Nobody };
        if self.is_stranger(end, node) {
            return Found::Nobody;
        }
        match end.port.as_deref().and_then(|port| self.port_named(node, port)) {
            Some(port) => Found::Port(PortRef { node, port }),
            None => Found::Node(node),
        }
    }

    /// Whether an end that only its name finds is another machine's: a joined node tells its own GUIDs, and
    /// a name in a dump is what somebody once typed. What has no GUID is the node's by its name.
    fn is_stranger(&self, end: &End, node: Row) -> bool {
        let joined = self.rows[node as usize].joined;
        let is_ambiguous = end.node.as_ref().is_some_and(|name| self.ambiguous.contains(name));
        if is_ambiguous && (end.guid.is_some() || !joined) {
            return true;
        }
        let own_adapter = || {
            let ports = end.node_guid.and_then(|adapter| self.by_adapter.get(&adapter));
            ports.is_some_and(|ports| ports.iter().any(|at| at.node == node))
        };
        let told = match (end.guid, end.node_guid) {
            (Some(_), _) => self.with_guids.contains(&node),
            (None, Some(_)) => self.with_adapters.contains(&node),
            (None, None) => false,
        };
        told && !own_adapter()
    }

    fn by_address(&self, end: &End) -> Option<Found> {
        if let Some(at) = end.guid.and_then(|guid| self.by_guid.get(&guid)) {
            return Some(Found::Port(*at));
        }
        let of = |ports: &Vec<PortRef>| match (&ports[..], end.port.as_deref()) {
            ([one], _) => Some(Found::Port(*one)),
            (several, Some(name)) => several
                .iter()
                .copied()
                .find(|at| self.port_named(at.node, name) == Some(at.port))
                .map(Found::Port),
            _ => None,
        };
        end.mac
            .and_then(|mac| self.by_mac.get(&mac))
            .and_then(of)
            .or_else(|| end.node_guid.and_then(|adapter| self.by_adapter.get(&adapter)).and_then(of))
    }

    /// The port of that name, or the only one of the device of that name.
    fn port_named(&self, node: Row, name: &str) -> Option<Row> {
        let ports = &self.rows[node as usize].ports;
        let exact = ports.iter().position(|port| port.name == name);
        let at = exact.or_else(|| {
            let device =
                |port: &NodePort| port.name.split_once('/').is_some_and(|(device, _)| device == name);
            let first = ports.iter().position(device)?;
            ports[first + 1..].iter().all(|port| !device(port)).then_some(first)
        })?;
        Row::try_from(at).ok()
    }
}

impl NodePort {
    fn named(name: &str) -> NodePort {
        NodePort { name: name.to_string(), ..NodePort::default() }
    }
}

/// By their place and name; of several of one name the first.
fn ports_in_order(told: &[Port]) -> Vec<Port> {
    let mut ports = told.to_vec();
    ports.sort_by(|a, b| {
        let rest =
            |it: &Port| (it.guid, it.node_guid, it.mac, it.layer, it.speed_mbps, it.up, it.bond.clone());
        (a.order, &a.name).cmp(&(b.order, &b.name)).then_with(|| rest(a).cmp(&rest(b)))
    });
    let mut names = BTreeSet::new();
    ports.retain(|port| names.insert(port.name.clone()));
    ports.truncate(MAX_PORTS);
    ports
}

fn told_port(port: &Port) -> NodePort {
    NodePort {
        name: port.name.clone(),
        index: Some(port.order),
        layer: Some(port.layer).filter(|layer| *layer != LinkLayer::Unknown),
        speed_mbps: port.speed_mbps,
        down: !port.up,
        bond: port.bond.clone(),
        at: None,
        rail: None,
    }
}

fn label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}
