//! One plane of the picture.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::text::natural;
use phalanx_common::topology::{Network, Node, Row, Tier};

use super::super::cluster::share;
use super::super::paint::counted;
use super::super::planes::Parts;
use super::super::view::View;
use super::canvas::{Canvas, RAILS, fitted, wide};
use super::ground::Ground;

/// Nodes of a plane that have their names in it; more are cells that tell theirs under the pointer.
const NAMED: usize = 64;
/// Cables that are drawn; of more only those that are degraded.
const LINKS: usize = 4_000;
const PAD: u32 = 10;
const CHIP: u32 = 22;
const GAP: u32 = 6;

/// A plane, and where its switches came to stand.
pub(super) struct Drawing<'a> {
    ground: &'a Ground<'a>,
    view: &'a View,
    network: &'a Network,
    plane: Row,
    parts: &'a Parts,
    named: bool,
    /// Middle, and where cables from above and from below end: in a box, at its edge.
    stands: BTreeMap<Row, (u32, u32, u32)>,
}

/// Corner and size of what was drawn.
type Place = (u32, u32, u32, u32);

impl<'a> Drawing<'a> {
    pub(super) fn of(ground: &'a Ground<'a>, plane: Row) -> Drawing<'a> {
        let (view, network, parts) = (ground.view, ground.network, &ground.planes[plane as usize]);
        let named = parts.nodes <= NAMED;
        Drawing { ground, view, network, plane, parts, named, stands: BTreeMap::new() }
    }

    /// Draws the plane from `y` on and returns where it ends.
    pub(super) fn draw(mut self, canvas: &mut Canvas, x: u32, y: u32, width: u32) -> u32 {
        let plane = &self.network.planes[self.plane as usize];
        let rails = if plane.rails > 0 {
            format!(", {}", counted(plane.rails.into(), "rail"))
        } else {
            String::new()
        };
        canvas.text(x, y + 14, "plane", &format!("{}{rails}", plane.name));
        let mut y = y + 26;
        let groups = || self.parts.groups.iter().map(|row| &self.network.groups[*row as usize]);
        let grouped: BTreeSet<Row> = groups().flat_map(|group| group.switches.iter().copied()).collect();
        let mut above: BTreeMap<u8, Vec<Row>> = BTreeMap::new();
        for row in self.parts.switches.iter().filter(|row| !grouped.contains(row)) {
            above.entry(self.network.switches[*row as usize].level).or_default().push(*row);
        }
        for rows in above.into_values().rev() {
            y = self.chips(canvas, &rows, x, y, width) + 34;
        }
        let tops = self.parts.groups.iter().copied();
        let mut tops: Vec<Row> =
            tops.filter(|row| self.network.groups[*row as usize].parent.is_none()).collect();
        tops.sort_by_cached_key(|row| natural(&self.network.groups[*row as usize].name));
        let end = self.flow(canvas, &tops, x, y, width);
        self.cables(canvas);
        end
    }

    /// Groups side by side as they fit; those that have groups in them take the whole width.
    fn flow(&mut self, canvas: &mut Canvas, groups: &[Row], x: u32, y: u32, width: u32) -> u32 {
        let (mut at, mut top, mut end) = (x, y, y);
        for group in groups {
            if self.ground.children.contains_key(group) {
                if at > x {
                    (at, top) = (x, end + PAD);
                }
                end = self.block(canvas, *group, x, top, width);
                top = end + PAD;
                continue;
            }
            let wide = self.unit_width(*group).min(width);
            if at > x && at + wide > x + width {
                (at, top) = (x, end + PAD);
            }
            let (_, _, wide, high) = self.unit(canvas, *group, at, top, wide);
            end = end.max(top + high);
            at += wide + PAD;
        }
        end
    }

    /// A group of groups: its switches, then what is below.
    fn block(&mut self, canvas: &mut Canvas, row: Row, x: u32, y: u32, width: u32) -> u32 {
        let group = &self.network.groups[row as usize];
        let members = counted(self.view.snapshot.members(row).len(), "node");
        canvas.text(x + PAD, y + 16, "label", &format!("{} {}", group.tier, group.name));
        canvas.text(
            x + PAD + wide(&format!("{} {}", group.tier, group.name), 13) + 10,
            y + 16,
            "small",
            &members,
        );
        let mut end = y + 24;
        if !group.switches.is_empty() {
            end = self.chips(canvas, &group.switches, x + PAD, end, width - 2 * PAD);
            let below = self.ground.children.get(&row).map_or(0, Vec::len);
            // Room for the cables.
            end += if below > 1 && (self.named || group.switches.len() > 1) { 60 } else { 18 };
        }
        let children = self.ground.children.get(&row).cloned().unwrap_or_default();
        end = self.flow(canvas, &children, x + PAD, end, width - 2 * PAD);
        let here = self.here(row);
        if !here.is_empty() {
            canvas.text(x + PAD, end + 18, "small", "closer place unknown");
            end = self.cells(canvas, &here, x + PAD, end + 24, width - 2 * PAD);
        }
        canvas.frame((x, y, width, end + PAD - y), "block");
        end + PAD
    }

    /// The nodes that are known no closer than in this group.
    fn here(&self, row: Row) -> Vec<Row> {
        let closest = |node: &Node| {
            let place = node.places.iter().find(|place| place.plane == self.plane);
            place.and_then(|place| place.groups.first().copied())
        };
        let members = self.view.snapshot.members(row).iter().copied();
        members.filter(|node| closest(&self.network.nodes[*node as usize]) == Some(row)).collect()
    }

    fn unit_width(&self, row: Row) -> u32 {
        let group = &self.network.groups[row as usize];
        let chips: u32 = group.switches.iter().map(|switch| self.chip_width(*switch) + GAP).sum();
        let nodes = u32::try_from(self.view.snapshot.members(row).len()).unwrap_or(u32::MAX);
        let (cell, _) = self.cell();
        let cells = nodes.min(if self.named { 2 } else { 16 }) * (cell + 4);
        chips.max(cells).clamp(60, 900) + 2 * PAD
    }

    /// A leaf, or leaves that serve the same nodes, and these.
    fn unit(&mut self, canvas: &mut Canvas, row: Row, x: u32, y: u32, width: u32) -> Place {
        let group = &self.network.groups[row as usize];
        let mut end = y + PAD;
        if group.switches.is_empty() {
            canvas.text(x + PAD, end + 10, "label", &fitted(&group.name, 12, width - 2 * PAD));
            end += 16;
        } else {
            end = self.chips(canvas, &group.switches, x + PAD, end, width - 2 * PAD);
        }
        let mut members = self.view.snapshot.members(row).to_vec();
        members.sort_by_cached_key(|node| natural(&self.network.nodes[*node as usize].name));
        end = self.cells(canvas, &members, x + PAD, end + 8, width - 2 * PAD);
        let unjoined: usize =
            group.switches.iter().filter_map(|switch| self.ground.unjoined.get(switch)).sum();
        if unjoined > 0 && group.tier == Tier::Leaf {
            let text = format!("{} of no known node", counted(unjoined, "adapter"));
            canvas.text(x + PAD, end + 14, "small", &fitted(&text, 11, width - 2 * PAD));
            end += 18;
        }
        let place = (x, y, width, end + PAD - y);
        canvas.panel(place, "box");
        for switch in &group.switches {
            if let Some((_, top, _)) = self.stands.get_mut(switch) {
                *top = y;
            }
        }
        place
    }

    fn chip_width(&self, row: Row) -> u32 {
        wide(&self.network.switches[row as usize].name, 12).clamp(28, 190) + 16
    }

    /// Switches in rows.
    fn chips(&mut self, canvas: &mut Canvas, rows: &[Row], x: u32, y: u32, width: u32) -> u32 {
        let (mut at, mut top) = (x, y);
        for row in rows {
            let switch = &self.network.switches[*row as usize];
            let wide = self.chip_width(*row).min(width);
            if at > x && at + wide > x + width {
                (at, top) = (x, top + CHIP + GAP);
            }
            let (class, uplinks) = match switch.uplinks {
                Some(of) if of.is_short() && share(of) < 0.5 => ("switch bad", format!(", {of} uplinks")),
                Some(of) if of.is_short() => ("switch short", format!(", {of} uplinks")),
                Some(of) => ("switch", format!(", {of} uplinks")),
                None => ("switch", String::new()),
            };
            let rail = switch.rail.map(|rail| format!(", rail {rail}")).unwrap_or_default();
            canvas.rect((at, top, wide, CHIP), class, Some(&format!("{}{rail}{uplinks}", switch.name)));
            if let Some(rail) = switch.rail {
                canvas.rect((at, top, 5, CHIP), &format!("r{}", rail % RAILS), None);
            }
            canvas.text(at + 9, top + 15, "label", &fitted(&switch.name, 12, wide - 12));
            self.stands.entry(*row).or_insert((at + wide / 2, top, top + CHIP));
            at += wide + GAP;
        }
        top + if rows.is_empty() { 0 } else { CHIP }
    }

    /// Width and height of a node's cell.
    fn cell(&self) -> (u32, u32) {
        let rails = u32::from(self.network.planes[self.plane as usize].rails.min(RAILS));
        match (self.named, rails) {
            (true, 0) => (150, 18),
            // The marks are below the name.
            (true, _) => (150, 22),
            (false, rails) => ((rails * 5).max(11), 11),
        }
    }

    fn cells(&self, canvas: &mut Canvas, rows: &[Row], x: u32, y: u32, width: u32) -> u32 {
        let (wide, high) = self.cell();
        let wide = wide.min(width);
        let (mut at, mut top) = (x, y);
        for row in rows {
            if at > x && at + wide > x + width {
                (at, top) = (x, top + high + 4);
            }
            let node = &self.network.nodes[*row as usize];
            let class = format!("{}{}", self.class(node), lost(self.view, &node.name));
            canvas.rect((at, top, wide, high), &class, Some(&title(self.view, &node.name)));
            self.rails(canvas, node, (at, top, wide, high));
            if self.named {
                canvas.text(at + 6, top + 13, "label", &fitted(&node.name, 12, wide - 10));
            }
            at += wide + 4;
        }
        top + if rows.is_empty() { 0 } else { high }
    }

    fn class(&self, node: &Node) -> &'static str {
        let mut ports = node.ports.iter().filter(|port| self.is_here(port.at.as_ref().map(|at| at.switch)));
        if ports.any(|port| port.down) { "node bad" } else { "node" }
    }

    fn is_here(&self, switch: Option<Row>) -> bool {
        switch.is_some_and(|row| self.network.switches[row as usize].plane == Some(self.plane))
    }

    /// A mark for each rail: of its colour, or degraded. Of a node on fewer than half of them, those that it is on.
    fn rails(&self, canvas: &mut Canvas, node: &Node, (x, y, wide, high): Place) {
        let rails = self.network.planes[self.plane as usize].rails.min(RAILS);
        if rails == 0 {
            return;
        }
        let mark = (wide / u32::from(rails)).max(1);
        let off = self.ground.off_rail.contains(&node.name);
        // The rail that a port is for, the rail that it is on, whether it is down.
        let ports: Vec<(u16, u16, bool)> = node
            .ports
            .iter()
            .filter_map(|port| {
                let on = port.at.as_ref().map(|at| at.switch).filter(|row| self.is_here(Some(*row)))?;
                let on = self.network.switches[on as usize].rail?;
                Some((port.rail.filter(|_| off).unwrap_or(on), on, port.down))
            })
            .collect();
        // A node with few ports (a management host) need not be on every rail.
        let follows = 2 * ports.len() >= usize::from(rails);
        for rail in 0..rails {
            let class = match ports.iter().find(|(own, ..)| *own == rail) {
                Some((.., true)) => "bad".to_string(),
                Some((_, on, _)) if *on == rail => format!("r{rail}"),
                None if !follows => continue,
                _ => "short".to_string(),
            };
            let (top, tall) = if self.named { (y + high - 4, 4) } else { (y, high) };
            canvas.rect(
                (x + mark * u32::from(rail), top, mark.saturating_sub(1).max(1), tall),
                &class,
                Some(&node.name),
            );
        }
    }

    /// Cables between switches that stand somewhere. The degraded ones over the others.
    fn cables(&self, canvas: &mut Canvas) {
        let between = |a: Row, b: Row| {
            let (a, b) = (self.stands.get(&a)?, self.stands.get(&b)?);
            let ((x1, top1, bottom1), (x2, top2, bottom2)) = (*a, *b);
            // From the upper edge of the lower to the lower edge of the upper.
            Some(if top1 >= top2 { (x1, top1, x2, bottom2) } else { (x1, bottom1, x2, top2) })
        };
        // Boxes in each other say it where there is one switch above, and many cables to it hide the rest.
        let is_told = |upper: &Row| self.named || !self.ground.alone.contains(upper);
        let links = self.parts.links.iter().map(|at| &self.network.links[*at]);
        let told = links.filter(|link| is_told(&link.upper));
        let links: Vec<_> = told.filter_map(|link| between(link.lower, link.upper)).collect();
        if links.len() <= LINKS {
            links.into_iter().for_each(|at| canvas.line(at, "link"));
        }
        let name = |row: &Row| self.network.switches[*row as usize].name.as_str();
        let switches: BTreeMap<&str, Row> = self.stands.keys().map(|row| (name(row), *row)).collect();
        for (lower, row) in &switches {
            for pair in self.ground.thin.get(*lower).into_iter().flatten() {
                let upper = switches.get(pair.to.as_str());
                if let Some(at) = upper.and_then(|upper| between(*row, *upper)) {
                    canvas.line(at, if pair.live == 0 { "link lost" } else { "link thin" });
                }
            }
        }
    }
}

/// What the class of a node without a link has besides.
fn lost(view: &View, node: &str) -> &'static str {
    if view.unreachable.contains(node) { " lost" } else { "" }
}

fn title(view: &View, node: &str) -> String {
    let state = if view.unreachable.contains(node) { ", unreachable" } else { "" };
    format!("{node}{state}")
}

/// Nodes without a place: those that are in no plane, or in an NVLink domain.
pub(super) fn cells(view: &View, rows: &[Row], canvas: &mut Canvas, (x, y, width): (u32, u32, u32)) -> u32 {
    let named = view.network().nodes.len() <= NAMED;
    let (wide, high) = if named { (150, 18) } else { (11, 11) };
    let (mut at, mut top) = (x, y);
    for row in rows {
        if at > x && at + wide > x + width {
            (at, top) = (x, top + high + 4);
        }
        let name = &view.network().nodes[*row as usize].name;
        let class = format!("node{}", lost(view, name));
        canvas.rect((at, top, wide, high), &class, Some(&title(view, name)));
        if named {
            canvas.text(at + 6, top + 13, "label", &fitted(name, 12, wide - 10));
        }
        at += wide + 4;
    }
    top + high
}
