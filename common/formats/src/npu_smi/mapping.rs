//! `npu-smi info -m`.

use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Machine};

use crate::size::{TooLarge, within};
use crate::text::{printable, visible};

/// A card has a line for each chip.
const MAX_BYTES: usize = 1 << 20;
const MAX_CHIPS: usize = 4096;

/// Why a list was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("no line has the columns `NPU ID` and `Chip ID`; take all that `npu-smi info -m` writes")]
    NoHeader,
    #[error("line {line}: there is no number under `{column}`; take the text unwrapped and whole")]
    NoNumber { line: usize, column: &'static str },
    #[error("line {line}: the list has more than {limit} chips")]
    TooMany { line: usize, limit: usize },
}

/// A chip that computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Of its card.
    pub npu: u32,
    /// Within its card.
    pub chip: u32,
    /// As programs count.
    pub logic: Option<u32>,
    pub physical: Option<u32>,
    /// `Ascend 910B3`
    pub name: Option<String>,
}

/// The machine that has these chips, as programs count them.
pub fn chips(chips: &[Chip]) -> Machine {
    let accelerator = |chip: &Chip| Accelerator {
        index: chip.logic,
        model: chip.name.clone(),
        ..Accelerator::new(AcceleratorKind::Ascend)
    };
    Machine { accelerators: chips.iter().map(accelerator).collect(), ..Machine::default() }
}

/// Reads the list. The controllers of cards (`Mcu`) are not chips that compute and are left out.
///
/// # Errors
/// More than a megabyte, no header, and lines that were cut.
pub fn mapping(bytes: &[u8]) -> Result<Vec<Chip>, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    let text = visible(bytes);
    let mut lines = text.lines().zip(1..);
    let header = lines.find_map(|(line, _)| columns(line)).ok_or(Error::NoHeader)?;
    let place = |name: &str| header.iter().position(|column| column == name);
    let (npu, chip) = place("NPU ID").zip(place("Chip ID")).ok_or(Error::NoHeader)?;
    let (logic, physical) = (place("Chip Logic ID"), place("Chip Phy-ID"));
    let mut chips = Vec::new();
    for (line, at) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().take(64).collect();
        let number = |place: usize| words.get(place).and_then(|word| word.parse::<u32>().ok());
        let name = words.get(header.len() - 1..).filter(|name| !name.is_empty()).map(|name| name.join(" "));
        if name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("mcu")) {
            continue;
        }
        if chips.len() >= MAX_CHIPS {
            return Err(Error::TooMany { line: at, limit: MAX_CHIPS });
        }
        let npu = number(npu).ok_or(Error::NoNumber { line: at, column: "NPU ID" })?;
        chips.push(Chip {
            npu,
            chip: number(chip).ok_or(Error::NoNumber { line: at, column: "Chip ID" })?,
            // Where the column is missing, a card has one chip and its number.
            logic: logic.map_or(Some(npu), number),
            physical: physical.and_then(number),
            name: name.map(|name| printable(&name)),
        });
    }
    Ok(chips)
}

/// Names of columns have single spaces in them, and more between them.
fn columns(line: &str) -> Option<Vec<String>> {
    let mut columns: Vec<String> = Vec::new();
    let mut gap = true;
    for word in line.trim().split([' ', '\t']) {
        match (word, columns.last_mut()) {
            ("", _) => gap = true,
            (word, Some(column)) if !gap => {
                column.push(' ');
                column.push_str(word);
            }
            (word, _) => {
                columns.push(word.to_string());
                gap = false;
            }
        }
    }
    (columns.first().map(String::as_str) == Some("NPU ID")).then_some(columns)
}
