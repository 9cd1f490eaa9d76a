//! Text for people: strangers', in messages and in order, and errors with their causes.

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
