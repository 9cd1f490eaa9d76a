//! What a matrix says and nobody knows.

use std::fmt;

use phalanx_common::text::shown;

/// The most that are named; of the others there is a count.
const MOST_NAMED: usize = 4;

/// A cell, or an affinity behind the cells, that says nothing known. It is taken for one that says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// In the text, from 1.
    pub line: usize,
    /// The devices, or for an affinity what it is.
    pub row: String,
    pub column: String,
    pub text: String,
}

/// What a matrix lacks, and the cells that say nothing known: the first of them, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strange {
    pub first: Vec<Cell>,
    pub more: usize,
    /// Devices that the header names and that have no row: the text was cut.
    pub rowless: Vec<String>,
}

impl Strange {
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rowless.is_empty()
    }

    pub(super) fn add(&mut self, cell: impl FnOnce() -> Cell) {
        if self.first.len() < MOST_NAMED {
            self.first.push(cell());
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for Strange {
    /// One sentence without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rowless.is_empty() {
            let named = self.rowless.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = self.rowless.len().saturating_sub(MOST_NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            write!(f, "the text was cut: it has no row of {named}{more}")?;
            match self.first.is_empty() {
                true => return Ok(()),
                false => f.write_str("; ")?,
            }
        }
        match self.first.len() + self.more {
            1 => f.write_str("1 cell says nothing that is known, and is taken for unknown: ")?,
            count => write!(f, "{count} cells say nothing that is known, and are taken for unknown: ")?,
        }
        for (cell, at) in self.first.iter().zip(0..) {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{cell}")?;
        }
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in line {}, row {}, column {}", shown(&self.text), self.line, self.row, self.column)
    }
}
