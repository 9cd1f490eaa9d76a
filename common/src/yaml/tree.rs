//! The tree of a document.

use std::fmt;

use crate::text::shown;

/// A stretch of one line of a text. Lines and columns count from 1, columns and width in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub line: u32,
    pub column: u32,
    pub width: u32,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Scalar {
        text: String,
        /// In quotes or as a block, so that it is a string whatever it looks like.
        quoted: bool,
    },
    List(Vec<Node>),
    /// As written: keys may stand in it twice.
    Mapping(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub span: Span,
    pub text: String,
}

impl Node {
    /// The value of a mapping's key (its first); `None` for what is no mapping or has it not.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
    }

    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn entries(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The text of a scalar that is neither nothing nor null.
    pub fn text(&self) -> Option<&str> {
        match (&self.value, self.found()) {
            (Value::Scalar { .. }, Found::Nothing | Found::Null(_)) => None,
            (Value::Scalar { text, .. }, _) => Some(text),
            _ => None,
        }
    }

    /// What it is.
    pub fn found(&self) -> Found {
        match &self.value {
            Value::Scalar { text, quoted: true } => Found::Text(text.clone()),
            Value::Scalar { text, quoted: false } => Found::plain(text),
            Value::List(_) => Found::List,
            Value::Mapping(_) => Found::Mapping,
        }
    }
}

/// What a value is, for a message to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// A null, as it was written.
    Null(String),
    /// A number or a boolean, as it was written.
    Literal(String),
    Text(String),
    List,
    Mapping,
}

impl Found {
    /// What text without quotes is by the core schema of YAML 1.2 (section 10.3.2), where `yes` and `on`
    /// are strings.
    pub(crate) fn plain(written: &str) -> Found {
        let text = written.to_string();
        match written {
            "" => Found::Nothing,
            "~" | "null" | "Null" | "NULL" => Found::Null(text),
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Found::Literal(text),
            _ if is_number(written) => Found::Literal(text),
            _ => Found::Text(text),
        }
    }
}

pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix, radix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let decimal =
        digits.starts_with(|c: char| c == '.' || c.is_ascii_digit()) && digits.parse::<f64>().is_ok();
    decimal
        || radix("0x", 16)
        || radix("0o", 8)
        || matches!(digits, ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Nothing => f.write_str("nothing"),
            Found::Null(text) | Found::Literal(text) => f.write_str(text),
            Found::Text(text) => write!(f, "the string {}", shown(text)),
            Found::List => f.write_str("a list"),
            Found::Mapping => f.write_str("a mapping"),
        }
    }
}
