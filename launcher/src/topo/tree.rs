//! Trees and tables of text.

use super::paint::{Line, Paint, Tone};

/// Lines that one entry of a tree takes on a terminal; more of a list of nodes tells nobody anything.
const MOST: usize = 4;
const GAP: usize = 2;

/// An entry of a tree and what is below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    pub(super) line: Line,
    pub(super) below: Vec<Branch>,
}

impl Branch {
    pub(super) fn new(line: Line) -> Branch {
        Branch { line, below: Vec::new() }
    }

    pub(super) fn leaf(mut self, line: Line) -> Branch {
        self.below.push(Branch::new(line));
        self
    }
}

/// Writes a tree; its root stands at the left.
pub(super) fn draw(root: &Branch, paint: Paint, text: &mut String) {
    entry(&root.line, "", "", paint, text);
    below(root, "", paint, text);
}

fn below(of: &Branch, indent: &str, paint: Paint, text: &mut String) {
    let (tee, end, bar) = match paint.unicode {
        true => ("├─ ", "└─ ", "│  "),
        false => ("|- ", "`- ", "|  "),
    };
    for (branch, at) in of.below.iter().zip(1..) {
        let last = at == of.below.len();
        let under = if branch.below.is_empty() { "   " } else { bar };
        let next = format!("{indent}{}", if last { "   " } else { bar });
        let first = format!("{indent}{}", if last { end } else { tee });
        entry(&branch.line, &first, &format!("{next}{under}"), paint, text);
        below(branch, &next, paint, text);
    }
}

fn entry(line: &Line, first: &str, rest: &str, paint: Paint, text: &mut String) {
    let Some(width) = paint.width else {
        text.push_str(&paint.piece(Tone::Faint, first));
        text.push_str(line.paint(paint).trim_end());
        text.push('\n');
        return;
    };
    let room = width.saturating_sub(rest.chars().count().max(first.chars().count()));
    for (line, at) in line.wrap(room, MOST, paint).iter().zip(0..) {
        text.push_str(&paint.piece(Tone::Faint, if at == 0 { first } else { rest }));
        text.push_str(line.paint(paint).trim_end());
        text.push('\n');
    }
}

/// A table: the first row is its header, and its first column stands to the left again where the columns do
/// not fit side by side.
pub(crate) fn table(rows: &[Vec<Line>], paint: Paint, text: &mut String) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(Line::len).max().unwrap_or_default())
        .collect();
    let Some(first) = widths.first() else { return };
    let mut from = 1;
    while from < columns || from == 1 {
        let mut to = from;
        let mut used = *first;
        while to < columns && (to == from || paint.width.is_none_or(|most| used + GAP + widths[to] <= most)) {
            used += GAP + widths[to];
            to += 1;
        }
        for (row, at) in rows.iter().zip(0..) {
            let mut line = String::new();
            for column in std::iter::once(0).chain(from..to) {
                let empty = Line::default();
                let cell = row.get(column).unwrap_or(&empty);
                let cell = match at {
                    0 => paint.piece(Tone::Faint, &cell.paint(Paint { color: false, ..paint })),
                    _ => cell.paint(paint),
                };
                let long = row.get(column).map(Line::len).unwrap_or_default();
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', widths[column] - long + GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        from = to.max(2);
        if from < columns {
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_with_and_without_lines_of_unicode() {
        let mut root = Branch::new(Line::of("root"));
        root.below.push(Branch::new(Line::of("a")).leaf(Line::of("b,c,d,e,f,g")));
        root.below.push(Branch::new(Line::of("h")));
        let drawn = |paint| {
            let mut text = String::new();
            draw(&root, paint, &mut text);
            text
        };
        assert_eq!(drawn(Paint::PLAIN), "root\n├─ a\n│  └─ b,c,d,e,f,g\n└─ h\n");
        let narrow = Paint { unicode: false, width: Some(17), ..Paint::PLAIN };
        assert_eq!(drawn(narrow), "root\n|- a\n|  `- b,c,d,e,\n|        f,g\n`- h\n");
    }

    #[test]
    fn a_table_that_is_too_wide_goes_on_below() {
        let row = |cells: &[&str]| cells.iter().map(|cell| Line::of(*cell)).collect::<Vec<_>>();
        let rows = [row(&["", "GPU0", "GPU1", "NIC0"]), row(&["GPU0", "X", "NV18", "PIX"])];
        let mut text = String::new();
        table(&rows, Paint { width: Some(16), ..Paint::PLAIN }, &mut text);
        assert_eq!(text, "      GPU0  GPU1\nGPU0  X     NV18\n\n      NIC0\nGPU0  PIX\n");
        text.clear();
        table(&rows, Paint::PLAIN, &mut text);
        assert_eq!(text, "      GPU0  GPU1  NIC0\nGPU0  X     NV18  PIX\n");
    }
}
