//! Labels of nodes: what an operator says of them, for people and for jobs that ask for nodes with some.

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
    #[error("{0} labels, and a node has {MOST} at most")]
    TooMany(usize),
}

/// Labels that came from elsewhere.
///
/// # Errors
/// More than a node has, and what [`parse`] does not take.
pub fn check(labels: &[(String, String)]) -> Result<(), Error> {
    if labels.len() > MOST {
        return Err(Error::TooMany(labels.len()));
    }
    match labels.iter().find(|(name, value)| !is_name(name) || !is_word(value)) {
        Some((name, value)) => Err(Error::Characters(crate::text::shown(&format!("{name}={value}")))),
        None => Ok(()),
    }
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
    fn labels_from_elsewhere_are_held_to_the_same() {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(check(&vec![label("pool", "a"); MOST]), Ok(()));
        assert_eq!(check(&vec![label("pool", "a"); MOST + 1]), Err(Error::TooMany(65)));
        for wrong in [label("", "a"), label("a", "\u{1b}[2J"), label("a\nb", "c")] {
            let Err(Error::Characters(shown)) = check(std::slice::from_ref(&wrong)) else {
                panic!("{wrong:?}")
            };
            assert!(!shown.contains(char::is_control), "{shown}");
        }
    }

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
