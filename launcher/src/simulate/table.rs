//! The outcome as tables, one for each trace and load.

use std::fmt::Write as _;

use phalanx_launcher_core::placement::fabric::Fabric;
use phalanx_launcher_core::simulate::Summary;

use super::{Case, Run};
use crate::topo::{Line, Paint, Tone, counted, grid, thousands};

/// Mean delays of the halves that differ by so much say that the queue grows: times, and seconds.
const GROWS: (f64, f64) = (2.0, 600.0);

pub(crate) fn table(cases: &[Case], fabric: &Fabric, paint: Paint) -> String {
    let mut text = String::new();
    // A level of one domain holds whatever is free.
    let told: Vec<usize> = (0..fabric.depth()).filter(|level| fabric.level(*level).len() > 1).collect();
    for case in cases {
        if !text.is_empty() {
            text.push('\n');
        }
        heading(case, paint, &mut text);
        let mut rows = vec![header(case, &told)];
        rows.extend(case.runs.iter().map(|run| row(run, case, &told)));
        grid(&rows, paint, &mut text);
        notes(case, &mut text);
    }
    let tiers: Vec<String> = told.iter().map(|level| fabric.tier(*level).to_string()).collect();
    let _ = write!(
        text,
        "\ncost, leaves: of gangs of more than one node, weighted by GPU-hours; a ring over the nodes, a grid of data by pipeline parallel.\n\
         largest {}: of whole free nodes, the most that one could give a gang, of what is possible; mean over time.\n\
         stranded: share of free GPUs on partly used nodes.\n",
        tiers.join(", ")
    );
    text
}

fn heading(case: &Case, paint: Paint, text: &mut String) {
    let workload = &case.workload;
    let days = |seconds: u64| seconds as f64 / 86_400.0;
    let gangs = case.runs.first().map_or(0, |run| run.summary.gangs);
    let wide = case.runs.first().map_or(0, |run| run.summary.wide);
    let line = Line::toned(Tone::Strong, format!("{} at {} %", case.trace, case.load_percent)).and(format!(
        ": {} in {:.0} days, {} of more than one node; the trace laid {} over itself, after {:.1} days of warm-up",
        counted(gangs, "gang"),
        days(workload.end - workload.warm_up),
        thousands(wide),
        match workload.copies {
            1 => "once".to_string(),
            copies => format!("{} times", thousands(usize::try_from(copies).unwrap_or(usize::MAX))),
        },
        days(workload.warm_up)
    ));
    text.push_str(line.paint(paint).trim_end());
    text.push('\n');
}

fn header(case: &Case, told: &[usize]) -> Vec<Line> {
    let mut cells: Vec<String> =
        ["policy", "ring cost", "grid cost", "leaves", "delay", "p99", "in use", "stranded"]
            .map(String::from)
            .into();
    let levels = case.runs.first().map(|run| run.summary.levels.as_slice()).unwrap_or_default();
    let levels = told.iter().filter_map(|level| levels.get(*level));
    cells.extend(levels.map(|level| format!("largest {}", level.tier)));
    cells.push("decisions/s".into());
    cells.into_iter().map(Line::of).collect()
}

fn row(run: &Run, case: &Case, told: &[usize]) -> Vec<Line> {
    let Summary { ring, grid, leaves, delay, utilisation, stranded, levels, .. } = &run.summary;
    let best =
        |of: fn(&Summary) -> f64| case.runs.iter().map(|run| of(&run.summary)).fold(f64::INFINITY, f64::min);
    let lowest = |value: f64, best: f64, text: String| match value <= best {
        true => Line::toned(Tone::Good, text),
        false => Line::of(text),
    };
    let mut cells = vec![
        Line::of(run.policy.clone()),
        lowest(*ring, best(|it| it.ring), format!("{ring:.0}")),
        lowest(*grid, best(|it| it.grid), format!("{grid:.0}")),
        lowest(*leaves, best(|it| it.leaves), format!("{leaves:.2}")),
        lowest(delay.mean, best(|it| it.delay.mean), time(delay.mean)),
        Line::of(time(delay.p99 as f64)),
        Line::of(format!("{:.1} %", utilisation * 100.0)),
        lowest(*stranded, best(|it| it.stranded), format!("{:.1} %", stranded * 100.0)),
    ];
    let levels = told.iter().filter_map(|level| levels.get(*level));
    cells.extend(levels.map(|level| Line::of(format!("{:.1} of {:.1}", level.largest, level.possible))));
    let per_second = run.decisions_per_second();
    cells.push(Line::of(thousands(per_second as usize)));
    cells
}

fn notes(case: &Case, text: &mut String) {
    if case.workload.too_large > 0 {
        let jobs = counted(case.workload.too_large, "job");
        let _ = writeln!(
            text,
            "{jobs} of the trace ask for more than the cluster, or for no GPU, and are left out"
        );
    }
    for run in &case.runs {
        let [first, second] = run.summary.delay.halves;
        if second > first * GROWS.0 && second > first + GROWS.1 {
            let (first, second) = (time(first), time(second));
            let _ = writeln!(
                text,
                "{}: mean delay rises from {first} in the first half to {second} in the second; the load may be more than it serves",
                run.policy
            );
        }
        if run.summary.stuck > 0 {
            let _ = writeln!(text, "{}: {} never started", run.policy, counted(run.summary.stuck, "gang"));
        }
    }
}

/// Two or three digits that tell.
fn time(seconds: f64) -> String {
    match seconds {
        ..0.05 => "0 s".into(),
        ..10.0 => format!("{seconds:.1} s"),
        ..600.0 => format!("{seconds:.0} s"),
        ..36_000.0 => format!("{:.0} min", seconds / 60.0),
        ..864_000.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_tells_most() {
        let times = [0.0, 4.44, 44.4, 1_200.0, 90_000.0, 2e6].map(time);
        assert_eq!(times, ["0 s", "4.4 s", "44 s", "20 min", "25.0 h", "23.1 d"]);
    }
}
