//! Strangers' text in the model.

/// A name: of one line, and as long as names are.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(96).collect()
}
