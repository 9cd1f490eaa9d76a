//! The outcome as a picture: for each trace and load, what gangs cost, and over time how long the head of the queue
//! waits and how much of the free nodes one domain could give a gang.

use phalanx_launcher_core::placement::fabric::Fabric;

use super::{Case, Run};
use crate::topo::svg::{Canvas, WIDTH, wide};

const MARGIN: u32 = 24;
const GAP: u32 = 30;
const HIGH: u32 = 150;
/// Panels side by side.
const PANELS: u32 = 4;
/// Points of a line: more than a line has pixels for tell nothing.
const POINTS: usize = 150;

type Series<'a> = (&'a str, Vec<f64>);

/// The picture, as SVG 1.1.
pub(crate) fn svg(cases: &[Case], fabric: &Fabric) -> String {
    let mut canvas = Canvas::default();
    canvas.text(MARGIN, MARGIN + 8, "title", "Traces of jobs under each policy");
    let names: Vec<&str> =
        cases.first().map_or(Vec::new(), |case| case.runs.iter().map(|it| it.policy.as_str()).collect());
    let mut x = MARGIN;
    for (name, at) in names.iter().zip(0..) {
        canvas.rect((x, MARGIN + 22, 12, 12), &format!("r{}", at % 8), None);
        canvas.text(x + 17, MARGIN + 32, "small", name);
        x += 17 + wide(name, 11) + 18;
    }
    let mut y = MARGIN + 52;
    for case in cases {
        let title = format!("{} at {} % load", case.trace, case.load_percent);
        canvas.text(MARGIN, y + 14, "plane", &title);
        panels(&mut canvas, case, fabric, y + 24);
        y += HIGH + 76;
    }
    canvas.finish(y + MARGIN)
}

fn panels(canvas: &mut Canvas, case: &Case, fabric: &Fabric, y: u32) {
    let width = (WIDTH - 2 * MARGIN - (PANELS - 1) * GAP) / PANELS;
    let place = |at: u32| (MARGIN + at * (width + GAP), y, width, HIGH);
    let of_runs = |of: fn(&Run) -> f64| -> Vec<(&str, f64)> {
        case.runs.iter().map(|run| (run.policy.as_str(), of(run))).collect()
    };
    bars(canvas, place(0), "modelled cost of a ring", &of_runs(|run| run.summary.ring));
    bars(canvas, place(1), "modelled cost of a grid", &of_runs(|run| run.summary.grid));
    // The highest level that tells domains apart.
    let level = (0..fabric.depth()).rev().find(|level| fabric.level(*level).len() > 1).unwrap_or(0);
    let most = fabric.level(level).map(|row| fabric.domain(row).nodes.len()).max().unwrap_or(0);
    let share = |run: &Run| -> Vec<f64> {
        let of = |sample: &phalanx_launcher_core::simulate::Sample| {
            let possible = f64::from(sample.free_nodes).min(most as f64);
            let largest = sample.largest.get(level).copied().map_or(0.0, f64::from);
            if possible > 0.0 { 1.0 - largest / possible } else { 0.0 }
        };
        run.samples.iter().map(of).collect()
    };
    let days = (case.workload.end - case.workload.warm_up) as f64 / 86_400.0;
    let lines_of = |of: &dyn Fn(&Run) -> Vec<f64>| -> Vec<Series<'_>> {
        case.runs.iter().map(|run| (run.policy.as_str(), thinned(&of(run)))).collect()
    };
    let title = format!("fragmentation by {}, over {days:.0} days", fabric.tier(level));
    lines(canvas, place(2), &title, &lines_of(&share), |value| format!("{:.0} %", value * 100.0));
    let waits = |run: &Run| run.samples.iter().map(|sample| sample.head_waits as f64 / 3_600.0).collect();
    let title = format!("the head of the queue waits, over {days:.0} days");
    lines(canvas, place(3), &title, &lines_of(&waits), |value| format!("{value:.1} h"));
}

/// Means of consecutive values.
fn thinned(values: &[f64]) -> Vec<f64> {
    let together = values.len().div_ceil(POINTS).max(1);
    values.chunks(together).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect()
}

fn frame(canvas: &mut Canvas, (x, y, width, high): (u32, u32, u32, u32), title: &str, top: &str) {
    canvas.text(x, y + 12, "small", title);
    canvas.frame((x, y + 18, width, high), "box");
    canvas.text(x + 4, y + 30, "small", top);
}

fn bars(canvas: &mut Canvas, place: (u32, u32, u32, u32), title: &str, values: &[(&str, f64)]) {
    let (x, y, width, high) = place;
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    frame(canvas, place, title, &format!("{most:.0}"));
    let step = width / u32::try_from(values.len()).unwrap_or(1).max(1);
    for ((name, value), at) in values.iter().zip(0..) {
        let tall = pixels(*value, most, high - 24);
        let corner = (x + at * step + step / 5, y + 18 + high - tall, step * 3 / 5, tall);
        canvas.rect(corner, &format!("r{}", at % 8), Some(&format!("{name}: {value:.1}")));
    }
}

fn lines(
    canvas: &mut Canvas,
    place: (u32, u32, u32, u32),
    title: &str,
    series: &[Series<'_>],
    label: impl Fn(f64) -> String,
) {
    let (x, y, width, high) = place;
    let most = series.iter().flat_map(|(_, values)| values.iter().copied()).fold(0.0, f64::max);
    frame(canvas, place, title, &label(most));
    // The first is ours, and lies above the others.
    for (at, (_, values)) in series.iter().enumerate().rev() {
        let last = values.len().saturating_sub(1).max(1) as f64;
        let points = values.iter().zip(0u32..).map(|(value, at)| {
            let along = pixels(f64::from(at), last, width);
            (x + along, y + 18 + high - pixels(*value, most, high - 24))
        });
        canvas.path(&points.collect::<Vec<_>>(), &format!("s{}", at % 8));
    }
}

/// A part of a length.
fn pixels(value: f64, most: f64, length: u32) -> u32 {
    if most > 0.0 { (value / most * f64::from(length)).round().max(0.0) as u32 } else { 0 }
}
