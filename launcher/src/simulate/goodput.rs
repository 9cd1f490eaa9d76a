//! A forecast of goodput: its profile from a file, and how it is shown.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context;
use phalanx_launcher_core::simulate::goodput::{Forecast, MAX_BYTES, Profile, RUNS, forecast};
use serde_json::{Value, json};

use crate::topo::{Line, Paint, Tone, grid, thousands};

/// The name of the profile that no file tells.
const DEFAULT: &str = "default";
/// Gains below this, in points, are noise or nothing.
const LEAST: f64 = 0.05;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// A profile, or `default`.
    pub(crate) faults: &'a Path,
    pub(crate) nodes: u32,
    pub(crate) days: u32,
    pub(crate) seed: u64,
}

/// # Errors
/// A profile that cannot be read.
pub(crate) fn goodput(ask: &Ask<'_>) -> anyhow::Result<Forecast> {
    Ok(forecast(&profile(ask.faults)?, ask.nodes, ask.days, ask.seed))
}

fn profile(path: &Path) -> anyhow::Result<Profile> {
    if path == Path::new(DEFAULT) {
        return Ok(Profile::default());
    }
    let cannot = || format!("cannot read the profile of faults {}", path.display());
    let file = std::fs::File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    // One more than the reader takes, so that it can say that it is too much.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(cannot)?;
    Profile::read(&bytes).with_context(|| path.display().to_string())
}

pub(crate) fn forecast_table(told: &Forecast, paint: Paint) -> String {
    let mut text = String::new();
    let nodes = thousands(usize::try_from(told.nodes).unwrap_or(usize::MAX));
    let line =
        Line::toned(Tone::Strong, format!("{} of all time trains", percent(told.goodput))).and(format!(
            ", on {nodes} nodes over {} days; between {} and {} in nine of ten such times",
            told.days,
            percent(told.low),
            percent(told.high)
        ));
    let _ = writeln!(text, "{}\n", line.paint(paint).trim_end());
    let cells = |row: [String; 2]| row.map(Line::of).to_vec();
    let lost = lost(told).map(|(cause, _, share)| cells([cause.into(), percent(share)]));
    let mut rows = vec![cells(["lost to".into(), "of all time".into()])];
    rows.extend(lost);
    grid(&rows, paint, &mut text);
    text.push('\n');
    let mut rows = vec![cells(["interrupted by".into(), "times".into()])];
    let mut classes: Vec<_> = told.interruptions.iter().collect();
    classes.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    rows.extend(classes.into_iter().map(|(class, times)| cells([(*class).into(), format!("{times:.1}")])));
    let all: f64 = told.interruptions.values().sum();
    rows.push(cells(["all".into(), format!("{all:.1}")]));
    grid(&rows, paint, &mut text);
    text.push('\n');
    let mut rows = vec![cells(["with".into(), "points more".into()])];
    rows.extend(told.what_if.iter().map(|what_if| {
        let points = what_if.gain * 100.0;
        let gain = if points.abs() < LEAST { "0.0".into() } else { format!("{points:+.1}") };
        cells([what_if.change.into(), gain])
    }));
    grid(&rows, paint, &mut text);
    if told.given_up > 0.0 {
        let _ = writeln!(
            text,
            "\nThe job used up its restarts {:.1} times, and waited to be submitted again: raise maxRestarts.",
            told.given_up
        );
    }
    text
}

pub(crate) fn forecast_json(told: &Forecast) -> Value {
    let lost: serde_json::Map<String, Value> =
        lost(told).into_iter().map(|(_, key, share)| (key.into(), share.into())).collect();
    let what_if = told.what_if.iter().map(|it| json!({ "change": it.change, "gain": it.gain }));
    json!({
        "version": 1,
        "nodes": told.nodes,
        "days": told.days,
        "runs": RUNS,
        "goodput": told.goodput,
        "goodputOfNineInTen": [told.low, told.high],
        "lost": lost,
        "interruptions": told.interruptions,
        "givenUp": told.given_up,
        "whatIf": what_if.collect::<Vec<_>>(),
    })
}

/// Causes of lost time: for people, for programs, and their share.
fn lost(told: &Forecast) -> [(&'static str, &'static str, f64); 6] {
    let lost = &told.lost;
    [
        ("work since the last checkpoint", "work", lost.work),
        ("restarts", "restart", lost.restart),
        ("faults that nobody knew of yet", "detect", lost.detect),
        ("checkpoints", "checkpoints", lost.checkpoints),
        ("waiting for nodes", "nodes", lost.nodes),
        ("jobs that were given up", "givenUp", lost.given_up),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
