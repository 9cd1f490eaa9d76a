//! The cluster as a picture: planes, blocks and leaves as boxes in each other, nodes as cells, rails and what is
//! degraded in colour. Of a machine that is all there is, what it has inside.

mod canvas;
mod ground;
mod machine;
mod plane;

use std::collections::BTreeMap;

use phalanx_common::topology::Row;

pub(crate) use self::canvas::{Canvas, WIDTH, wide};
use self::ground::Ground;
use self::plane::Drawing;
use super::paint::counted;
use super::view::View;

const MARGIN: u32 = 24;

/// The picture, as SVG 1.1. Pure text: the same view is the same picture.
pub(crate) fn svg(view: &View) -> String {
    let network = view.network();
    let mut canvas = Canvas::default();
    if let Some((name, inside)) = view.only_machine().and_then(|name| Some((name, view.machine(name)?))) {
        let end = machine::draw(&mut canvas, name, inside, (MARGIN, MARGIN, WIDTH - 2 * MARGIN));
        return canvas.finish(end + MARGIN);
    }
    let parts = [
        counted(network.nodes.len(), "node"),
        counted(network.switches.len(), "switch"),
        counted(network.planes.len(), "plane"),
    ];
    canvas.text(MARGIN, MARGIN + 8, "title", &parts.join(" · "));
    let rails = network.planes.iter().map(|plane| plane.rails).max().unwrap_or_default();
    let mut y = legend(&mut canvas, rails, MARGIN + 28);
    let mut planes: Vec<Row> = (0..).take(network.planes.len()).collect();
    planes.sort_by_key(|row| Some(*row) != network.main);
    let ground = Ground::of(view);
    for row in planes {
        y = Drawing::of(&ground, row).draw(&mut canvas, MARGIN, y + MARGIN, WIDTH - 2 * MARGIN);
    }
    let mut nowhere: Vec<Row> = Vec::new();
    let mut domains: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
    for (node, row) in network.nodes.iter().zip(0..) {
        if node.places.is_empty() {
            nowhere.push(row);
        }
        if let Some(domain) = node.nvlink {
            domains.entry(domain).or_default().push(row);
        }
    }
    if !domains.is_empty() {
        canvas.text(MARGIN, y + MARGIN + 12, "plane", "NVLink domains");
        y += MARGIN + 14;
    }
    for (domain, members) in domains {
        canvas.text(MARGIN, y + 18, "label", &network.nvlink[domain as usize]);
        y = plane::cells(view, &members, &mut canvas, (MARGIN, y + 24, WIDTH - 2 * MARGIN)) + 4;
    }
    if !nowhere.is_empty() {
        canvas.text(MARGIN, y + MARGIN + 12, "plane", "attachment unknown");
        y = plane::cells(view, &nowhere, &mut canvas, (MARGIN, y + MARGIN + 22, WIDTH - 2 * MARGIN));
    }
    canvas.finish(y + MARGIN)
}

fn legend(canvas: &mut Canvas, rails: u16, y: u32) -> u32 {
    let (mut x, mut y) = (MARGIN, y);
    let mut entry = |canvas: &mut Canvas, class: &str, what: &str| {
        let wide = 17 + canvas::wide(what, 11);
        if x + wide > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + 20);
        }
        canvas.rect((x, y, 12, 12), class, None);
        canvas.text(x + 17, y + 10, "small", what);
        x += wide + 18;
    };
    entry(canvas, "switch", "switch");
    entry(canvas, "switch short", "short of uplinks");
    entry(canvas, "switch bad", "less than half of them");
    entry(canvas, "node", "node");
    entry(canvas, "node short", "port off its rail, or missing");
    entry(canvas, "node bad", "port down");
    entry(canvas, "node lost", "unreachable");
    for rail in 0..rails.min(canvas::RAILS) {
        entry(canvas, &format!("r{rail}"), &format!("rail {rail}"));
    }
    let y = y + 20;
    canvas.line((MARGIN, y + 6, MARGIN + 24, y + 6), "link");
    canvas.text(MARGIN + 30, y + 10, "small", "cables");
    canvas.line((MARGIN + 90, y + 6, MARGIN + 114, y + 6), "link thin");
    canvas.text(MARGIN + 120, y + 10, "small", "fewer than usual");
    canvas.line((MARGIN + 230, y + 6, MARGIN + 254, y + 6), "link lost");
    canvas.text(MARGIN + 260, y + 10, "small", "none left");
    y + 14
}
