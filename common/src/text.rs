//! Strangers' text in messages.

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
