//! Findings, each with what shows it and what to do.

use std::fmt::Write as _;

use phalanx_common::topology::{Adapter, Finding, Problem, Severity};
use serde::Serialize;

use super::paint::{Line, Paint, Tone, counted, thousands};
use super::told::Told;
use super::view::View;
use super::witness::Witnesses;

/// Columns before the text of a finding.
const INDENT: usize = 9;
/// Columns of what a line of a finding is about.
const LABEL: usize = 9;
/// Origins and adapters that are named without `-v`.
const NAMED: usize = 4;

/// All findings, the most severe first; `all` names every origin and adapter.
pub(crate) fn report(view: &View, findings: &[Finding], all: bool, paint: Paint) -> String {
    let network = view.network();
    let nodes = counted(network.nodes.len(), "node");
    let switches = counted(network.switches.len(), "switch");
    if findings.is_empty() {
        return format!(
            "{}: {nodes} and {switches} are as they should be\n",
            paint.piece(Tone::Good, "no findings")
        );
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let mut parts = Vec::new();
    for (severity, what, tone) in
        [(Severity::Warning, "warning", Tone::Bad), (Severity::Notice, "notice", Tone::Worse)]
    {
        if count(severity) > 0 {
            parts.push(paint.piece(tone, &counted(count(severity), what)));
        }
    }
    let mut text = format!("{} in {nodes} and {switches}\n", parts.join(", "));
    let witnesses = Witnesses::of(view);
    for finding in findings {
        text.push('\n');
        one(&witnesses, finding, all, paint, &mut text);
    }
    text
}

/// What sources disagree about, each with all sides, the decision and its reason.
pub(crate) fn conflicts(view: &View, all: bool, paint: Paint) -> String {
    let conflicts: Vec<Finding> = view
        .findings()
        .into_iter()
        .filter(|finding| matches!(finding.problem, Problem::Conflict { .. }))
        .collect();
    if conflicts.is_empty() {
        return "no conflicts: no two sources disagree\n".to_string();
    }
    let mut text = format!("{} between sources\n", counted(conflicts.len(), "conflict"));
    let witnesses = Witnesses::of(view);
    for conflict in &conflicts {
        text.push('\n');
        one(&witnesses, conflict, all, paint, &mut text);
    }
    text
}

fn one(witnesses: &Witnesses<'_>, finding: &Finding, all: bool, paint: Paint, text: &mut String) {
    let (word, tone) = match finding.severity {
        Severity::Warning => ("WARNING", Tone::Bad),
        Severity::Notice => ("NOTICE", Tone::Worse),
    };
    let what = match &finding.problem {
        Problem::Conflict { about, .. } => format!("{}: sources disagree about {about}", finding.subject),
        _ => finding.to_string(),
    };
    block(&Line::toned(tone, format!("{word:<INDENT$}")), INDENT, &Line::of(what), paint, text);
    let told: Vec<&Told> = witnesses.to(finding).into_iter().map(|row| &witnesses.view.told[row]).collect();
    match &finding.problem {
        Problem::Conflict { claims, reason, .. } => {
            for (claim, at) in claims.iter().zip(0..) {
                let (word, tone) = if at == 0 { ("counts", Tone::Good) } else { ("against", Tone::Worse) };
                let when = told
                    .iter()
                    .find(|told| told.origin == claim.origin && told.source == claim.source.to_string())
                    .map(|told| format!(", {}", told.observed_at.to_rfc3339()));
                let said = Line::toned(tone, &claim.value).and(format!(
                    ", says {}: {}{}",
                    claim.source,
                    claim.place(),
                    when.unwrap_or_default()
                ));
                line(word, &said, paint, text);
            }
            line("because", &Line::of(format!("the first counts {reason}")), paint, text);
        }
        Problem::Unjoined { adapters } => {
            let most = if all { adapters.len() } else { NAMED };
            for adapter in adapters.iter().take(most) {
                line("adapter", &Line::of(place(adapter)), paint, text);
            }
            if adapters.len() > most {
                let more = format!("{} more (-v names them)", thousands(adapters.len() - most));
                line("", &Line::toned(Tone::Faint, more), paint, text);
            }
        }
        _ => {}
    }
    if !matches!(finding.problem, Problem::Conflict { .. }) {
        let most = if all { told.len() } else { NAMED };
        for told in told.iter().take(most) {
            line("known by", &Line::toned(Tone::Faint, witness(told)), paint, text);
        }
        if told.len() > most {
            let more = format!("and {} more (-v names them)", thousands(told.len() - most));
            line("", &Line::toned(Tone::Faint, more), paint, text);
        }
    }
    line("to do", &Line::of(finding.advice()), paint, text);
}

fn line(label: &str, line: &Line, paint: Paint, text: &mut String) {
    let first = Line::of(" ".repeat(INDENT)).with(Tone::Faint, format!("{label:<LABEL$} "));
    block(&first, INDENT + LABEL + 1, line, paint, text);
}

fn block(first: &Line, indent: usize, line: &Line, paint: Paint, text: &mut String) {
    let lines = match paint.width {
        Some(width) => line.wrap(width.saturating_sub(indent), usize::MAX, paint),
        None => vec![line.clone()],
    };
    for (line, at) in lines.iter().zip(0..) {
        let before = if at == 0 { first.paint(paint) } else { " ".repeat(indent) };
        let _ = writeln!(text, "{before}{}", line.paint(paint).trim_end());
    }
}

fn place(adapter: &Adapter) -> String {
    let guid = adapter.guid.map_or("without a GUID".to_string(), |guid| guid.to_string());
    let port = adapter.switch_port.as_ref().map(|port| format!(" port {port}")).unwrap_or_default();
    let called = adapter.called.as_ref().map(|called| format!(", called {called}")).unwrap_or_default();
    format!("{guid} on {}{port}{called}", adapter.switch)
}

fn witness(told: &Told) -> String {
    format!("{}: {}, {}", told.source, told.origin, told.observed_at.to_rfc3339())
}

/// A finding for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    /// The finding as a sentence.
    text: String,
    advice: &'static str,
    /// Who told it, by rows of `sources`.
    evidence: Vec<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Origin<'a> {
    source: &'a str,
    origin: &'a str,
    observed_at: String,
}

impl Origin<'_> {
    fn of(told: &Told) -> Origin<'_> {
        let Told { source, origin, observed_at, .. } = told;
        Origin { source, origin, observed_at: observed_at.to_rfc3339() }
    }
}

/// The findings as JSON: `{"findings": […], "sources": […]}`.
pub(crate) fn report_json(view: &View, findings: &[Finding]) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        findings: Vec<Written<'a>>,
        sources: Vec<Origin<'a>>,
    }
    let witnesses = Witnesses::of(view);
    let written = |finding| Written {
        finding,
        text: finding.to_string(),
        advice: finding.advice(),
        evidence: witnesses.to(finding),
    };
    let findings = findings.iter().map(written).collect();
    let sources = view.told.iter().map(Origin::of).collect();
    let report = Report { findings, sources };
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}
