//! What is wrong with a job file or a flag, and where.

use std::fmt::{self, Write};

use super::problem::{ProblemKind, did_you_mean};
use crate::text::shown;
use crate::yaml::Span;

/// Everything found wrong, in the order it was written. Never empty.
#[derive(Debug, thiserror::Error)]
#[error("{}", Lines(self))]
pub struct Error {
    problems: Vec<Problem>,
    more: usize,
}

/// Problems of one file that are kept; the others are counted.
pub(super) const MOST_PROBLEMS: usize = 20;

impl Error {
    /// `Ok` if nothing is wrong. `more` problems were only counted.
    pub(super) fn check(mut problems: Vec<Problem>, more: usize) -> Result<(), Error> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| problem.place.order());
        Err(Error { problems, more })
    }

    pub(super) fn one(problem: Problem) -> Error {
        Error { problems: vec![problem], more: 0 }
    }

    /// Of at least one.
    pub(super) fn of(problems: Vec<Problem>) -> Error {
        let mut problems = problems;
        problems.sort_by_key(|problem| problem.place.order());
        let more = problems.len().saturating_sub(MOST_PROBLEMS);
        problems.truncate(MOST_PROBLEMS);
        Error { problems, more }
    }

    /// At least one of these is a problem.
    pub(super) fn all<const N: usize>(problems: [Option<Box<Problem>>; N]) -> Error {
        Error { problems: problems.into_iter().flatten().map(|problem| *problem).collect(), more: 0 }
    }

    /// How many there are beyond [`problems`](Error::problems).
    pub fn more(&self) -> usize {
        self.more
    }

    /// At least one; of a file at most 20, in the order of its lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

struct Lines<'a>(&'a Error);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.problems.iter().enumerate() {
            if i > 0 {
                f.write_char('\n')?;
            }
            problem.fmt(f)?;
        }
        match self.0.more {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

/// One thing that is wrong. Printed as `job.yaml:3:1: what is wrong`, then the line with a caret under it.
#[derive(Debug)]
pub struct Problem {
    pub place: Place,
    /// Path of the value it is about: `ranks`, `env.HOME`, `command[2]`.
    pub key: Option<String>,
    pub kind: ProblemKind,
    pub excerpt: Option<Excerpt>,
}

impl Problem {
    pub(super) fn at(place: Place, kind: ProblemKind) -> Problem {
        Problem { place, key: None, kind, excerpt: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        if let Some(key) = &self.key {
            write!(f, "{}: ", plain(key))?;
        }
        match (&self.place, &self.kind) {
            // What was typed stands before the colon already.
            (Place::Flag { .. }, ProblemKind::Expected { expected, nearest, .. }) => {
                write!(f, "expected {expected}")?;
                did_you_mean(f, *nearest)?;
            }
            (_, kind) => kind.fmt(f)?,
        }
        match &self.excerpt {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line and column count from 1, columns in characters.
    File { file: String, line: u32, column: u32 },
    /// The file as a whole, or something that it lacks.
    WholeFile { file: String },
    /// A flag and what was typed after it.
    Flag { flag: &'static str, typed: String },
    /// The command after the flags.
    Arguments,
    /// Something that was not given at all.
    Missing,
}

impl Place {
    fn order(&self) -> (u8, u32, u32) {
        match self {
            Place::File { line, column, .. } => (0, *line, *column),
            Place::WholeFile { .. } => (1, 0, 0),
            Place::Flag { .. } => (2, 0, 0),
            Place::Arguments => (3, 0, 0),
            Place::Missing => (4, 0, 0),
        }
    }
}

/// As it begins a message.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Missing => Ok(()),
            place => write!(f, "{}: ", At(place)),
        }
    }
}

/// A place as it stands inside of a message.
pub(super) struct At<'a>(pub(super) &'a Place);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::File { file, line, column } => write!(f, "{}:{line}:{column}", plain(file)),
            Place::WholeFile { file } => f.write_str(&plain(file)),
            Place::Flag { flag, typed } if typed.is_empty() || typed.contains(char::is_whitespace) => {
                write!(f, "{flag} {}", shown(typed))
            }
            Place::Flag { flag, typed } => write!(f, "{flag} {}", plain(typed)),
            Place::Arguments => f.write_str("command"),
            Place::Missing => Ok(()),
        }
    }
}

/// Text without characters that would move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Most characters of a source line that are shown.
const EXCERPT_CHARS: usize = 100;

/// A source line, as it is shown under a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line's number, from 1.
    pub line: u32,
    /// The line, or the part of it around the place if it is long.
    pub text: String,
    /// Characters of `text` before the place.
    pub before: usize,
    /// Characters marked, at least 1.
    pub width: usize,
}

impl Excerpt {
    pub(super) fn new(line: &str, span: Span) -> Excerpt {
        let column = (span.column as usize).saturating_sub(1);
        let length = line.chars().count();
        let skip = if length <= EXCERPT_CHARS || column < EXCERPT_CHARS / 2 {
            0
        } else {
            column - EXCERPT_CHARS / 3
        };
        let (lead, tail) =
            (if skip > 0 { "…" } else { "" }, if length > skip + EXCERPT_CHARS { "…" } else { "" });
        let part: String =
            line.chars().skip(skip).take(EXCERPT_CHARS).map(|c| if c == '\t' { ' ' } else { c }).collect();
        let before = column - skip + lead.chars().count();
        let text = format!("{lead}{}{tail}", plain(&part));
        let room = text.chars().count().saturating_sub(before).max(1);
        Excerpt { line: span.line, text, before, width: (span.width as usize).clamp(1, room) }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let (gutter, before, width) = (number.len(), self.before, self.width);
        writeln!(f, "  {number} | {}", self.text.trim_end())?;
        write!(f, "  {:gutter$} | {:before$}{}", "", "", "^".repeat(width))
    }
}
