//! A text to rows and cells.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::text::shown;
use phalanx_common::topology::machine::PathType;

use crate::size::{TooLarge, within};
use crate::text::{printable, visible};

/// One of sixteen GPUs and ten ports has 3 KB.
const MAX_BYTES: usize = 1 << 20;
const MAX_DEVICES: usize = 512;

/// Why a matrix was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("no line names the devices as {example} does; take all that `{command}` writes")]
    NoHeader { example: &'static str, command: &'static str },
    #[error("line {line}: more than {limit} devices are named")]
    TooMany { line: usize, limit: usize },
    #[error(
        "line {line}: the row of {device} has {found} of {expected} cells; take the text unwrapped and whole"
    )]
    ShortRow { line: usize, device: String, found: usize, expected: usize },
}

/// What a matrix looks like.
pub(crate) struct Shape {
    /// How the names of devices begin that the first of a header may have: `GPU`, `NPU`.
    pub(crate) first: &'static [&'static str],
    pub(crate) example: &'static str,
    pub(crate) command: &'static str,
}

pub(crate) struct Grid {
    /// Names of the devices that have columns.
    pub(crate) columns: Vec<String>,
    /// The column of each name; its first.
    pub(crate) places: BTreeMap<String, usize>,
    /// Of the devices that have a row, by their column.
    pub(crate) rows: Vec<Row>,
    /// The lines behind the header that are no rows.
    pub(crate) rest: Vec<String>,
}

pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// As many as there are columns.
    pub(crate) cells: Vec<String>,
    /// What stands behind the cells: affinities. An empty one is there only where tabs part the row.
    pub(crate) behind: Vec<String>,
}

/// Reads a matrix. The cells of a row are parted by tabs or spaces; the header may be underlined.
pub(crate) fn read(bytes: &[u8], shape: &Shape) -> Result<Grid, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    let text = plain(&visible(bytes));
    let mut lines = text.lines().zip(1..);
    let header = lines.find_map(|(line, at)| Some((names(line, shape)?, at)));
    let no_header = Error::NoHeader { example: shape.example, command: shape.command };
    let (columns, at) = header.ok_or(no_header)?;
    if columns.len() > MAX_DEVICES {
        return Err(Error::TooMany { line: at, limit: MAX_DEVICES });
    }
    let mut places = BTreeMap::new();
    for (name, column) in columns.iter().zip(0..) {
        places.entry(name.clone()).or_insert(column);
    }
    let mut grid = Grid { columns, places, rows: Vec::new(), rest: Vec::new() };
    let mut seen = BTreeSet::new();
    for (line, at) in lines {
        match row(line, at, &grid, &seen)? {
            Some(row) => {
                seen.insert(row.column);
                grid.rows.push(row);
            }
            None => grid.rest.push(line.to_string()),
        }
    }
    Ok(grid)
}

/// The devices of a header: all before `CPU Affinity`.
fn names(line: &str, shape: &Shape) -> Option<Vec<String>> {
    let words = line.split_whitespace().take_while(|word| *word != "CPU");
    let words: Vec<String> = words.take(MAX_DEVICES + 1).map(printable).collect();
    let first = words.first()?;
    let begins = shape.first.iter().filter_map(|begin| first.strip_prefix(begin));
    let numbered = begins.into_iter().any(|number| number.parse::<u32>().is_ok());
    // A row begins with a device too, and goes on with a path.
    let is_row = words.get(1).is_some_and(|word| is_cell(word));
    (numbered && !is_row).then_some(words)
}

/// The row of a device, if the line is one: the first of it counts.
fn row(line: &str, at: usize, grid: &Grid, seen: &BTreeSet<usize>) -> Result<Option<Row>, Error> {
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else { return Ok(None) };
    let Some(column) = grid.places.get(name).copied().filter(|column| !seen.contains(column)) else {
        return Ok(None);
    };
    let expected = grid.columns.len();
    let cells: Vec<String> = words.by_ref().take(expected).map(printable).collect();
    // The next tool has words of its own; what stands behind the cells begins with digits.
    let is_word = |cell: &&String| cell.starts_with(|c: char| c.is_ascii_uppercase());
    let found = cells.iter().take_while(is_word).count();
    if found < expected {
        return Err(Error::ShortRow { line: at, device: shown(name), found, expected });
    }
    let behind = if line.contains('\t') {
        line.trim_end().split('\t').map(str::trim).skip(1 + expected).map(printable).collect()
    } else {
        words.map(printable).collect()
    };
    Ok(Some(Row { line: at, column, cells, behind }))
}

/// What cells are known to say.
fn is_cell(word: &str) -> bool {
    let known = ["X", "HCCS", "HCCS_SW", "SIO", "PIB", "C2C"];
    known.contains(&word) || is_none(word) || path(word).is_some() || nvlinks(word).is_some()
}

/// Whether a cell says what one of its place can: `X` where a device meets itself, and nowhere else.
pub(super) fn says(word: &str, of_itself: bool) -> bool {
    is_cell(word) && (word == "X") == of_itself
}

/// What the tools write where they do not know, or there is nothing.
pub(super) fn is_none(word: &str) -> bool {
    matches!(word, "" | "NA" | "N/A")
}

/// The path that a word of either tool stands for.
pub(super) fn path(word: &str) -> Option<PathType> {
    // Older drivers of NVIDIA say SOC for SYS.
    let word = if word == "SOC" { "SYS" } else { word };
    PathType::ALL.into_iter().find(|path| path.word() == word)
}

/// `NV18`
pub(crate) fn nvlinks(word: &str) -> Option<u32> {
    let number: u32 = word.strip_prefix("NV")?.parse().ok()?;
    (number > 0).then_some(number)
}

/// Without the escape sequences of terminals (ECMA-48: ESC [, parameters, a letter).
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.strip_prefix('[').map_or(after, |sequence| {
            let mut last = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').chars();
            last.next();
            last.as_str()
        });
    }
    plain.push_str(rest);
    plain
}
