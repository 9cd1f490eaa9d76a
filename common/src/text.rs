//! Text for people: strangers', in messages and in order, the word that was meant, times, and errors with their causes.

use std::time::Duration;

/// Text in quotes, escaped, and cut after 60 characters: fit for a message and a terminal, whoever wrote it.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text.chars().take(LONGEST).collect();
    let cut = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{cut}\"", short.chars().flat_map(escaped).collect::<String>())
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let needs = c.is_control() || c == '"' || c == '\\';
    let plain = (!needs).then_some(c);
    plain.into_iter().chain(needs.then(|| c.escape_default()).into_iter().flatten())
}

/// A key that orders names as people do: `s2` before `s10`.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(digits);
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        parts.push((text.to_string(), number.parse().unwrap_or_default()));
        rest = after;
    }
    parts
}

/// Bytes of memory in the largest unit of which there is one: `512.0 MiB`.
pub fn memory(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, bits)| bytes >= 1 << bits) {
        Some((unit, bits)) => format!("{:.1} {unit}", bytes as f64 / (1u64 << bits) as f64),
        None => format!("{bytes} bytes"),
    }
}

/// The word most like `typed`; `None` if none is near. `working_dir` and `workingDir` are the same here.
pub fn nearest<'a>(typed: &str, words: &[&'a str]) -> Option<&'a str> {
    // Longer than any word by far: not a slip, and not worth the time.
    if typed.len() > 64 {
        return None;
    }
    let typed = fold(typed);
    let distance = |word: &str| strsim::damerau_levenshtein(&typed, &fold(word));
    let (word, slips) = words.iter().map(|word| (*word, distance(word))).min_by_key(|(_, slips)| *slips)?;
    (slips <= word.len() / 3).then_some(word)
}

/// Without case and what parts words.
pub(crate) fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// What `iconv` calls the UTF-16 that a text begins as: with a byte order mark, or without one as letters of ASCII, of which
/// every second byte is zero.
pub fn utf16(bytes: &[u8]) -> Option<&'static str> {
    const LOOKED_AT: usize = 64;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Some("UTF-16");
    }
    let (pairs, _) = bytes[..bytes.len().min(LOOKED_AT)].as_chunks::<2>();
    let is_letter = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let all = |is: fn(&[u8; 2]) -> (u8, u8)| {
        let is_ascii = |pair| is(pair).0 == 0 && is_letter(is(pair).1);
        pairs.len() > 1 && pairs.iter().all(is_ascii)
    };
    match () {
        () if all(|[low, high]| (*high, *low)) => Some("UTF-16LE"),
        () if all(|[high, low]| (*high, *low)) => Some("UTF-16BE"),
        () => None,
    }
}

/// A time in its largest whole unit: `90 s`, `2 h`.
pub fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds, time.subsec_millis()) {
        (0, millis) => format!("{millis} ms"),
        (_, 1..) => format!("{:.1} s", time.as_secs_f64()),
        (seconds, _) if seconds.is_multiple_of(86_400) => format!("{} d", seconds / 86_400),
        (seconds, _) if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        (seconds, _) if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        (seconds, _) => format!("{seconds} s"),
    }
}

/// An error with its causes, each once: many say their cause themselves.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !last.ends_with(&own) {
            text = format!("{text}: {own}");
        }
        last = own;
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_largest_whole_unit() {
        let said = [250, 1500, 10_000, 90_000, 120_000, 7_200_000, 172_800_000]
            .map(|millis| lasting(Duration::from_millis(millis)));
        assert_eq!(said, ["250 ms", "1.5 s", "10 s", "90 s", "2 min", "2 h", "2 d"]);
    }

    #[test]
    fn the_word_that_was_meant_is_a_slip_away_whatever_its_case() {
        let words = ["nodes", "switches", "adapters"];
        for (typed, near) in [
            ("node", Some("nodes")),
            ("Nodes", Some("nodes")),
            ("switch", Some("switches")),
            ("adaptors", Some("adapters")),
            ("racks", None),
            (&"nodes".repeat(20), None),
        ] {
            assert_eq!(nearest(typed, &words), near, "{typed}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error("line 3: {0}")]
        Says(#[source] std::num::ParseIntError),
        #[error("the file is wrong")]
        Above(#[source] Box<Error>),
    }

    #[test]
    fn a_cause_that_an_error_says_itself_is_not_said_again() {
        let number = "x".parse::<u8>().unwrap_err();
        let whole = chain(&Error::Above(Box::new(Error::Says(number))));
        assert_eq!(whole, "the file is wrong: line 3: invalid digit found in string");
    }
}
