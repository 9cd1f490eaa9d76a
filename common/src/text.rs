//! Strangers' text: in messages, and in order.

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
