//! Slurm's hostlist expressions: `node[01-10,12]`, several of them with commas between.

use std::collections::BTreeMap;

/// Names that one text may stand for: as many as a cluster may have nodes.
pub const MAX_NAMES: usize = 50_000;
const MAX_NAME: usize = 255;

/// Why a text is no list of names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{expression}: a bracket is not closed, or is inside of another")]
    Bracket { expression: String },
    #[error("{expression}: \"{range}\" is no range of numbers such as 01-10")]
    Range { expression: String, range: String },
    #[error("{expression}: stands for more than {limit} names")]
    TooMany { expression: String, limit: usize },
    #[error("{expression}: a name has more than {MAX_NAME} bytes")]
    TooLong { expression: String },
}

/// The names that an expression stands for, in its order.
///
/// # Errors
/// Brackets and ranges that are none, and more than [`MAX_NAMES`] names.
pub fn expand(expression: &str) -> Result<Vec<String>, Error> {
    let shown = || expression.chars().take(60).collect::<String>();
    let mut names = Vec::new();
    for part in split(expression).ok_or_else(|| Error::Bracket { expression: shown() })? {
        if part.is_empty() {
            continue;
        }
        let mut made = vec![String::new()];
        let mut rest = part;
        while let Some((before, after)) = rest.split_once('[') {
            let (inside, after) =
                after.split_once(']').ok_or_else(|| Error::Bracket { expression: shown() })?;
            let numbers = numbers(inside, &shown)?;
            if made.len().saturating_mul(numbers.len()).saturating_add(names.len()) > MAX_NAMES {
                return Err(Error::TooMany { expression: shown(), limit: MAX_NAMES });
            }
            made = made
                .iter()
                .flat_map(|name| numbers.iter().map(move |number| format!("{name}{before}{number}")))
                .collect();
            if made.first().is_some_and(|name| name.len() > MAX_NAME) {
                return Err(Error::TooLong { expression: shown() });
            }
            rest = after;
        }
        for name in &mut made {
            name.push_str(rest);
        }
        if made.first().is_some_and(|name| name.len() > MAX_NAME) {
            return Err(Error::TooLong { expression: shown() });
        }
        names.extend(made);
        if names.len() > MAX_NAMES {
            return Err(Error::TooMany { expression: shown(), limit: MAX_NAMES });
        }
    }
    Ok(names)
}

/// At commas outside of brackets. `None`: brackets that do not match.
fn split(expression: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut from, mut inside) = (0, false);
    for (at, c) in expression.char_indices() {
        match (c, inside) {
            ('[', false) => inside = true,
            (']', true) => inside = false,
            ('[' | ']', _) => return None,
            (',', false) => {
                parts.push(expression[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(expression[from..].trim());
    (!inside).then_some(parts)
}

/// `01-10,12`, each number as wide as the first of its range is written.
fn numbers(inside: &str, shown: &dyn Fn() -> String) -> Result<Vec<String>, Error> {
    let mut numbers = Vec::new();
    for range in inside.split(',') {
        let wrong = || Error::Range { expression: shown(), range: range.chars().take(20).collect() };
        let digits = |text: &str| {
            let only = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
            only.then(|| text.parse::<u32>().ok()).flatten()
        };
        let (first, last) = range.trim().split_once('-').unwrap_or((range.trim(), range.trim()));
        let (from, to) = digits(first).zip(digits(last)).filter(|(from, to)| from <= to).ok_or_else(wrong)?;
        let count = usize::try_from(to - from).unwrap_or(usize::MAX);
        if count.saturating_add(numbers.len()) >= MAX_NAMES {
            return Err(Error::TooMany { expression: shown(), limit: MAX_NAMES });
        }
        let width = first.len();
        numbers.extend((from..=to).map(|number| format!("{number:0width$}")));
    }
    Ok(numbers)
}

/// The expression for names, as short as their last number allows: names that differ in nothing else are
/// put together. Sorted, so that the same names give the same text.
pub fn collapse<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    // Prefix, width of the number, suffix: the numbers between.
    let mut numbered: BTreeMap<(&str, usize, &str), Vec<u32>> = BTreeMap::new();
    let mut plain: Vec<&str> = Vec::new();
    for name in names {
        let end = name.rfind(|c: char| c.is_ascii_digit()).map_or(0, |at| at + 1);
        let start = name[..end]
            .rfind(|c: char| !c.is_ascii_digit())
            .map_or(0, |at| at + name[at..].chars().next().map_or(1, char::len_utf8));
        let digits = &name[start..end];
        match digits.parse::<u32>() {
            Ok(number) if digits.len() <= 9 => {
                numbered.entry((&name[..start], digits.len(), &name[end..])).or_default().push(number);
            }
            _ => plain.push(name),
        }
    }
    // Numbers without leading zeros are as wide as they are: those of several widths are one group.
    let mut by_width: BTreeMap<(&str, &str, usize), Vec<u32>> = BTreeMap::new();
    for ((prefix, width, suffix), numbers) in numbered {
        let padded = width > 1 && numbers.iter().any(|number| number.to_string().len() < width);
        by_width.entry((prefix, suffix, if padded { width } else { 1 })).or_default().extend(numbers);
    }
    plain.sort_unstable();
    plain.dedup();
    let mut parts: Vec<String> = plain.into_iter().map(str::to_string).collect();
    for ((prefix, suffix, width), mut numbers) in by_width {
        numbers.sort_unstable();
        numbers.dedup();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        let text: Vec<String> = ranges
            .iter()
            .map(|(from, to)| match from == to {
                true => format!("{from:0width$}"),
                false => format!("{from:0width$}-{to:0width$}"),
            })
            .collect();
        let single = ranges.len() == 1 && ranges[0].0 == ranges[0].1;
        parts.push(match single {
            true => format!("{prefix}{}{suffix}", text[0]),
            false => format!("{prefix}[{}]{suffix}", text.join(",")),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_keep_the_width_of_their_numbers() {
        assert_eq!(expand("n[08-10,12],login").unwrap(), ["n08", "n09", "n10", "n12", "login"]);
        assert_eq!(expand("r[1-2]n[1-2]-ib").unwrap(), ["r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib"]);
        assert_eq!(expand("[1101-1102]").unwrap(), ["1101", "1102"]);
    }

    #[test]
    fn nonsense_and_bombs_are_refused() {
        for wrong in ["n[1-2", "n]1[", "n[[1]]", "n[2-1]", "n[a-b]", "n[]", "n[-1]", "n[0-999999999]"] {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
        assert!(expand(&"a[0-99]".repeat(5)).unwrap_err().to_string().contains("more than 50000 names"));
        assert!(expand(&format!("{}[1-3]", "x".repeat(300))).is_err());
    }

    #[test]
    fn names_collapse_to_what_expands_to_them() {
        assert_eq!(
            collapse(["n10", "n08", "n09", "n12", "login", "a1-ib", "a2-ib"]),
            "login,a[1-2]-ib,n[08-10,12]"
        );
        assert_eq!(collapse(["n9", "n10", "n7", "n100"]), "n[7,9-10,100]");
        assert_eq!(collapse(["n9", "n010", "n011"]), "n9,n[010-011]");
        let mixed = ["n1", "n01", "n2", "n10", "n09"];
        let mut back = expand(&collapse(mixed)).unwrap();
        back.sort_unstable();
        assert_eq!(back, ["n01", "n09", "n1", "n10", "n2"]);
        assert_eq!(collapse(["12345678901234567890"]), "12345678901234567890");
    }
}
