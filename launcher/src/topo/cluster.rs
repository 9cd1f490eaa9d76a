//! The cluster as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use phalanx_common::text::natural;
use phalanx_common::topology::{
    Capacity, Finding, Group, Network, Plane, PlaneKind, Problem, Row, Severity, Switch, Tier,
};
use phalanx_formats::hostlist::collapse;

use super::paint::{Line, Paint, Tone, counted, thousands};
use super::planes::{Parts, parts};
use super::told::Told;
use super::tree::{Branch, draw};
use super::view::View;

/// Origins of one source that are named; a cluster has one for each worker.
const NAMED: usize = 3;

/// The cluster: a summary, each plane from its top tier down, what is in none, and what to look at next. `again`
/// is what stands behind the command to look at the same cluster: ` --from fabric.out`.
pub(crate) fn cluster(view: &View, again: &str, paint: Paint) -> String {
    let network = view.network();
    let findings = view.findings();
    let mut text = summary(view, &findings, paint);
    let mut planes: Vec<Row> = (0..).take(network.planes.len()).collect();
    planes.sort_by_key(|row| Some(*row) != network.main);
    let drawing = Drawing::of(view);
    for row in planes {
        text.push('\n');
        draw(&drawing.plane(row), paint, &mut text);
    }
    for branch in drawing.beside() {
        text.push('\n');
        draw(&branch, paint, &mut text);
    }
    text.push('\n');
    text.push_str(&next(network, &findings, again));
    text
}

fn summary(view: &View, findings: &[Finding], paint: Paint) -> String {
    let network = view.network();
    let mut parts = vec![counted(network.nodes.len(), "node")];
    parts.push(counted(network.switches.len(), "switch"));
    parts.push(counted(network.planes.len(), "plane"));
    if !network.nvlink.is_empty() {
        parts.push(counted(network.nvlink.len(), "NVLink domain"));
    }
    let inside = network.nodes.iter().filter(|node| view.machine(&node.name).is_some()).count();
    if inside > 0 {
        parts.push(format!("{} known from inside", counted(inside, "machine")));
    }
    let mut text = Line::toned(Tone::Strong, parts.join(paint.dot())).paint(paint) + "\n";
    let mut fact = |name: &str, line: Line| {
        let wrapped = match paint.width {
            Some(width) => line.wrap(width.saturating_sub(12), 4, paint),
            None => vec![line],
        };
        for (line, at) in wrapped.iter().zip(0..) {
            let name = paint.piece(Tone::Faint, &format!("{:<12}", if at == 0 { name } else { "" }));
            let _ = writeln!(text, "{name}{}", line.paint(paint).trim_end());
        }
    };
    for line in sources(&view.told) {
        fact("known by", line);
    }
    if !network.unjoined.is_empty() {
        let adapters = counted(network.unjoined.len(), "adapter");
        fact("unknown", Line::toned(Tone::Worse, format!("{adapters} on the fabric of no known node")));
    }
    if !network.conflicts.is_empty() {
        let conflicts = counted(network.conflicts.len(), "conflict");
        fact("conflicts", Line::toned(Tone::Worse, format!("{conflicts} between sources (--conflicts)")));
    }
    if !view.unreachable.is_empty() {
        let line = Line::toned(Tone::Bad, collapse(view.unreachable.iter().map(String::as_str)));
        fact("unreachable", line.and(", shown as they told last"));
    }
    for (why, nodes) in closed(view) {
        let line = Line::toned(Tone::Bad, collapse(nodes));
        fact("no new pods", line.and(format!(": {why}")));
    }
    for finding in findings {
        if let Problem::NotTaken { why } = &finding.problem {
            let file = Line::toned(Tone::Bad, &finding.subject).and(format!(": {why}"));
            fact("not taken", file.and("; what all files of --topology said before counts"));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (warnings, notices) = (count(Severity::Warning), count(Severity::Notice));
    fact(
        "findings",
        match (warnings, notices) {
            (0, 0) => Line::toned(Tone::Good, "none"),
            (0, notices) => Line::of(counted(notices, "notice")),
            (warnings, notices) => {
                let warnings = Line::toned(Tone::Bad, counted(warnings, "warning"));
                if notices == 0 {
                    warnings
                } else {
                    warnings.and(format!(", {}", counted(notices, "notice")))
                }
            }
        },
    );
    text
}

/// Nodes that get no new pods, by why not.
fn closed(view: &View) -> BTreeMap<&str, Vec<&str>> {
    let mut by_why: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, why) in &view.closed {
        by_why.entry(why).or_default().push(node);
    }
    by_why
}

/// One line for each source, the origins and what they told.
fn sources(told: &[Told]) -> Vec<Line> {
    let mut by_source: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
    for told in told {
        by_source.entry(&told.source).or_default().push(told);
    }
    by_source
        .into_iter()
        .map(|(source, told)| {
            let claims = counted(told.iter().map(|told| told.claims).sum(), "claim");
            let named: Vec<&str> = told.iter().take(NAMED).map(|told| told.origin.as_str()).collect();
            let more = match told.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {} more", thousands(more)),
            };
            let newest = told.iter().map(|told| told.observed_at).max().unwrap_or_default();
            Line::of(format!("{source}: {}{more}", named.join(", ")))
                .with(Tone::Faint, format!(" ({claims}, newest {})", newest.to_rfc3339()))
        })
        .collect()
}

fn next(network: &Network, findings: &[Finding], again: &str) -> String {
    let check = match findings.len() {
        0 => format!("`phalanx topo check{again}` looks for what is wrong (nothing is)"),
        some => format!("`phalanx topo check{again}` says what is wrong ({})", counted(some, "finding")),
    };
    let of_finding = findings.iter().find(|finding| network.node(&finding.subject).is_some());
    let node = of_finding.map(|finding| finding.subject.as_str());
    match node.or(network.nodes.first().map(|node| node.name.as_str())) {
        Some(node) => format!("{check}; `phalanx topo {node}{again}` shows a node\n"),
        None => format!("{check}\n"),
    }
}

/// What is looked up often while a tree is drawn.
struct Drawing<'a> {
    view: &'a View,
    network: &'a Network,
    planes: Vec<Parts>,
    /// Groups below each group.
    children: BTreeMap<Row, Vec<Row>>,
    /// Adapters of no known node, by switch.
    unjoined: BTreeMap<Row, usize>,
    /// Ports that are down, by the leaf that they are on.
    down: BTreeMap<Row, Vec<String>>,
}

impl<'a> Drawing<'a> {
    fn of(view: &'a View) -> Drawing<'a> {
        let network = view.network();
        let mut drawing = Drawing {
            view,
            network,
            planes: parts(network),
            children: BTreeMap::new(),
            unjoined: BTreeMap::new(),
            down: BTreeMap::new(),
        };
        for (group, row) in network.groups.iter().zip(0..) {
            if let Some(parent) = group.parent {
                drawing.children.entry(parent).or_default().push(row);
            }
        }
        for children in drawing.children.values_mut() {
            children.sort_by_cached_key(|row| natural(&network.groups[*row as usize].name));
        }
        for unjoined in &network.unjoined {
            *drawing.unjoined.entry(unjoined.switch).or_default() += 1;
        }
        for node in &network.nodes {
            for port in node.ports.iter().filter(|port| port.down) {
                if let Some(at) = &port.at {
                    let name = format!("{} {}", node.name, port.name);
                    drawing.down.entry(at.switch).or_default().push(name);
                }
            }
        }
        drawing
    }

    fn plane(&self, row: Row) -> Branch {
        let plane = &self.network.planes[row as usize];
        let parts = &self.planes[row as usize];
        let mut about = vec![kind(plane)];
        if plane.rails > 0 {
            about.push(counted(plane.rails.into(), "rail"));
        }
        if plane.fabrics > 1 {
            about.push(format!("{} without a cable between them", counted(plane.fabrics.into(), "fabric")));
        }
        about.push(counted(parts.nodes, "node"));
        about.push(counted(parts.switches.len(), "switch"));
        if self.network.main == Some(row) {
            about.push("jobs' traffic".to_string());
        }
        let line = Line::toned(Tone::Strong, &plane.name).and(format!("  {}", about.join(", ")));
        let mut branch = Branch::new(line);
        let mut shown: BTreeSet<Row> = BTreeSet::new();
        let mut tops: Vec<Row> = Vec::new();
        for at in &parts.groups {
            let group = &self.network.groups[*at as usize];
            shown.extend(&group.switches);
            tops.extend(group.parent.is_none().then_some(*at));
        }
        tops.sort_by_cached_key(|row| natural(&self.network.groups[*row as usize].name));
        branch.below.extend(tops.into_iter().map(|row| self.group(row, plane)));
        let mut above: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
        for at in parts.switches.iter().filter(|at| !shown.contains(at)) {
            let switch = &self.network.switches[*at as usize];
            above.entry(switch.level).or_default().push(&switch.name);
        }
        let of_level = |(level, names): (u8, Vec<&str>)| {
            let what = match level {
                0 => "of no known level".to_string(),
                level => format!("on level {level}"),
            };
            let count = counted(names.len(), "switch");
            Branch::new(Line::of(format!("{count} {what}  ")).with(Tone::Faint, collapse(names)))
        };
        branch.below.splice(0..0, above.into_iter().rev().map(of_level));
        branch
    }

    fn group(&self, row: Row, plane: &Plane) -> Branch {
        let group = &self.network.groups[row as usize];
        let members = self.view.snapshot.members(row);
        let lowest = plane.tiers.first() == Some(&group.tier);
        // Those that are known no closer than here.
        let here: Vec<&str> = members
            .iter()
            .map(|node| &self.network.nodes[*node as usize])
            .filter(|node| {
                let place = node.places.iter().find(|place| place.plane == group.plane);
                place.and_then(|place| place.groups.first()) == Some(&row)
            })
            .map(|node| node.name.as_str())
            .collect();
        if let (Tier::Leaf, [leaf]) = (group.tier, &group.switches[..]) {
            let line = self.leaf(*leaf, plane).and(format!("  {}  ", counted(members.len(), "node")));
            let lost = self.lost(&here);
            let mut branch = Branch::new(line.with(Tone::Faint, collapse(here)));
            branch.below.extend(self.notes(&group.switches).chain(lost).map(Branch::new));
            return branch;
        }
        let mut about = vec![counted(members.len(), "node")];
        let switches = match group.tier {
            Tier::Leaf => counted(group.switches.len(), "leaf"),
            _ => counted(group.switches.len(), "switch"),
        };
        if !group.switches.is_empty() {
            about.push(switches);
        }
        let mut line = Line::of(format!("{} ", tier(group, plane)))
            .with(Tone::Strong, &group.name)
            .and(format!("  {}", about.join(", ")));
        if let Some(uplinks) = group.uplinks {
            line = line.and(", ").join(capacity(uplinks));
        }
        let mut branch = Branch::new(line);
        if group.tier == Tier::Leaf {
            branch.below.extend(group.switches.iter().map(|leaf| Branch::new(self.leaf(*leaf, plane))));
        } else {
            let names: Vec<&str> =
                group.switches.iter().map(|row| self.network.switches[*row as usize].name.as_str()).collect();
            // One that the group is called after says nothing more.
            if !names.is_empty() && names != [group.name.as_str()] {
                branch.below.push(Branch::new(Line::of("switches  ").with(Tone::Faint, collapse(names))));
            }
        }
        let children = self.children.get(&row).map_or(&[][..], Vec::as_slice);
        branch.below.extend(children.iter().map(|child| self.group(*child, plane)));
        if group.tier == Tier::Leaf {
            branch.below.extend(self.notes(&group.switches).map(Branch::new));
        }
        if !here.is_empty() {
            let what = if lowest { "nodes  " } else { "nodes, closer place unknown  " };
            let tone = if lowest { Tone::Faint } else { Tone::Worse };
            let lost = self.lost(&here).map(Branch::new);
            branch.below.push(Branch::new(Line::of(what).with(tone, collapse(here))));
            branch.below.extend(lost);
        }
        branch
    }

    /// A leaf with its rail and its uplinks.
    fn leaf(&self, row: Row, plane: &Plane) -> Line {
        let switch: &Switch = &self.network.switches[row as usize];
        let mut line = Line::toned(Tone::Strong, &switch.name);
        if let Some(rail) = switch.rail.filter(|_| plane.rails > 0) {
            line = line.and("  ").with(Tone::Rail(rail), format!("rail {rail}"));
        }
        match switch.uplinks {
            Some(uplinks) => line.and("  ").join(capacity(uplinks)),
            None => line,
        }
    }

    /// What is odd about leaves.
    fn notes(&self, leaves: &[Row]) -> impl Iterator<Item = Line> {
        let unjoined: usize = leaves.iter().filter_map(|leaf| self.unjoined.get(leaf)).sum();
        let unjoined = (unjoined > 0)
            .then(|| Line::toned(Tone::Worse, format!("{} of no known node", counted(unjoined, "adapter"))));
        let ports: Vec<&str> =
            leaves.iter().filter_map(|leaf| self.down.get(leaf)).flatten().map(String::as_str).collect();
        let down = (!ports.is_empty()).then(|| {
            let count = counted(ports.len(), "port");
            Line::toned(Tone::Bad, format!("{count} down"))
                .with(Tone::Faint, format!("  {}", ports.join(", ")))
        });
        unjoined.into_iter().chain(down)
    }

    /// Which of these nodes have no link.
    fn lost(&self, nodes: &[&str]) -> Option<Line> {
        let lost: Vec<&str> =
            nodes.iter().copied().filter(|node| self.view.unreachable.contains(*node)).collect();
        let count = format!("{} unreachable", counted(lost.len(), "node"));
        (!lost.is_empty())
            .then(|| Line::toned(Tone::Bad, count).with(Tone::Faint, format!("  {}", collapse(lost))))
    }

    /// NVLink domains, broadcast domains, and nodes that are in no plane.
    fn beside(&self) -> Vec<Branch> {
        let mut beside = Vec::new();
        let named = |row: &Row| self.network.nodes[*row as usize].name.as_str();
        if !self.network.nvlink.is_empty() {
            let mut root = Branch::new(Line::toned(Tone::Strong, "NVLink domains"));
            let mut domains: BTreeMap<Row, Vec<&str>> = BTreeMap::new();
            for node in &self.network.nodes {
                if let Some(domain) = node.nvlink {
                    domains.entry(domain).or_default().push(&node.name);
                }
            }
            for (row, names) in domains {
                let domain = &self.network.nvlink[row as usize];
                let line =
                    Line::toned(Tone::Strong, domain).and(format!("  {}  ", counted(names.len(), "node")));
                root = root.leaf(line.with(Tone::Faint, collapse(names)));
            }
            beside.push(root);
        }
        if !self.network.layer2.is_empty() {
            let mut root = Branch::new(Line::toned(Tone::Strong, "layer-2 domains"));
            for ports in &self.network.layer2 {
                let nodes: BTreeSet<Row> = ports.iter().map(|port| port.node).collect();
                let count = format!("{}  ", counted(nodes.len(), "node"));
                root = root.leaf(Line::of(count).with(Tone::Faint, collapse(nodes.iter().map(named))));
            }
            beside.push(root);
        }
        let nowhere = self.network.nodes.iter().filter(|node| node.places.is_empty());
        let names: Vec<&str> = nowhere.map(|node| node.name.as_str()).collect();
        if !names.is_empty() {
            let line = Line::toned(Tone::Worse, "attachment unknown");
            let line = line.and(format!("  {}  ", counted(names.len(), "node")));
            let lost = self.lost(&names).map(Branch::new);
            let mut branch = Branch::new(line.with(Tone::Faint, collapse(names)));
            branch.below.extend(lost);
            beside.push(branch);
        }
        beside
    }
}

fn kind(plane: &Plane) -> String {
    let kind = match plane.kind {
        PlaneKind::InfiniBand => "InfiniBand",
        PlaneKind::Ethernet => "Ethernet",
        PlaneKind::Declared => "written down by somebody",
    };
    kind.to_string()
}

fn tier(group: &Group, plane: &Plane) -> String {
    match group.tier {
        Tier::Leaf if plane.rails > 0 => "unit".to_string(),
        tier => tier.to_string(),
    }
}

/// `14 of 18 uplinks, 0.78`.
pub(super) fn capacity(of: Capacity) -> Line {
    let share = share(of);
    let tone = match of {
        of if !of.is_short() => return Line::of(format!("{of} uplinks")),
        _ if share < 0.5 => Tone::Bad,
        _ => Tone::Worse,
    };
    // What is short is not 1.00.
    Line::toned(tone, format!("{of} uplinks, {:.2}", share.min(0.99)))
}

pub(super) fn share(of: Capacity) -> f64 {
    if of.expected == 0 { 1.0 } else { f64::from(of.live) / f64::from(of.expected) }
}
