//! Labels of nodes: what an operator calls them, and jobs choose them by.

/// Most labels of a node.
pub const MOST: usize = 64;
const LONGEST: usize = 63;

/// What is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}: a label is a name and a value, pool=a")]
    NoPair(String),
    #[error(
        "{0}: labels are made of letters, digits, `-`, `_`, `.` and `/`, {LONGEST} of them at most, and have a name"
    )]
    Characters(String),
}

/// The name and the value of `pool=a`.
///
/// # Errors
/// No `=`, and characters or lengths that labels do not have. The set is that of Kubernetes' names and prefixes.
pub fn parse(text: &str) -> Result<(String, String), Error> {
    let shown = || crate::text::shown(text);
    let (name, value) = text.split_once('=').ok_or_else(|| Error::NoPair(shown()))?;
    if !is_name(name) || !is_word(value) {
        return Err(Error::Characters(shown()));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Whether a label may be called so.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && is_word(name)
}

/// Whether a label may have this value.
pub fn is_word(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    word.len() <= LONGEST && word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_name_and_a_plain_value() {
        assert_eq!(parse("pool=a"), Ok(("pool".to_owned(), "a".to_owned())));
        assert_eq!(parse("example.com/x="), Ok(("example.com/x".to_owned(), String::new())));
        assert!(matches!(parse("pool"), Err(Error::NoPair(_))));
        for wrong in ["=a", "a b=c", "a=\u{1b}[2J", "a=b=c", &format!("a={}", "b".repeat(64))] {
            assert!(matches!(parse(wrong), Err(Error::Characters(_))), "{wrong}");
        }
    }
}
