//! How ranks stand, as their probes and their own words tell.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Rank};
use crate::spec::ProbeKind;
use crate::time::Timestamp;

/// Most bytes of what a probe said, where it is kept or told.
pub const MAX_MESSAGE: usize = 1024;
/// Most bytes of what a rank says of itself, where it is kept or told.
pub const MAX_STATUS: usize = 256;

/// What keeps a rank from being ready, or ends it: a probe, a hook, or what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    Startup,
    Readiness,
    Liveness,
    PostStart,
    PreStop,
    /// An init container, for which the ranks of its pod wait.
    Init,
}

impl Question {
    pub const ALL: [Question; 6] = [
        Question::Startup,
        Question::Readiness,
        Question::Liveness,
        Question::PostStart,
        Question::PreStop,
        Question::Init,
    ];

    /// The probe that asks it, if one does.
    pub fn probe(self) -> Option<ProbeKind> {
        ProbeKind::ALL.into_iter().find(|kind| Question::from(*kind) == self)
    }
}

impl From<ProbeKind> for Question {
    fn from(kind: ProbeKind) -> Question {
        match kind {
            ProbeKind::Startup => Question::Startup,
            ProbeKind::Readiness => Question::Readiness,
            ProbeKind::Liveness => Question::Liveness,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Question::Startup => "startup probe",
            Question::Readiness => "readiness probe",
            Question::Liveness => "liveness probe",
            Question::PostStart => "postStart hook",
            Question::PreStop => "preStop hook",
            Question::Init => "init container",
        })
    }
}

/// How one rank stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankHealth {
    pub rank: Rank,
    pub ready: bool,
    /// What keeps it from being ready, and what that said last.
    pub waits: Option<ProbeWord>,
    /// What it said as STATUS= on its notify socket.
    pub status: Option<String>,
}

/// What a probe or a hook said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeWord {
    pub probe: Question,
    pub message: String,
}

/// Why the shim ended a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFailure {
    pub probe: Question,
    pub message: String,
    /// When it was found to be bad; the rank ended later.
    pub at: Timestamp,
}

/// A rank that was not ready in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    pub rank: Rank,
    pub node: NodeId,
    /// What kept it, if that is known.
    pub waits: Option<ProbeWord>,
}

/// `text` in at most `most` bytes: its end, which says why.
pub fn last_of(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// What a program said, its lines one after another and without what a terminal would obey.
pub fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
