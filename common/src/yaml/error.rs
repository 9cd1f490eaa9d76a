//! Why a text is no YAML of ours.

use std::fmt;

use super::tree::{Found, Span};
use crate::text::shown;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind}", Where(.span))]
pub struct Error {
    /// `None`: the text as a whole.
    pub span: Option<Span>,
    pub kind: Kind,
}

struct Where<'a>(&'a Option<Span>);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => write!(f, "line {}, column {}: ", span.line, span.column),
            None => Ok(()),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    #[error("the file has {bytes} bytes, and at most {cap} are read")]
    TooLarge { bytes: usize, cap: usize },
    #[error("this is not UTF-8 text")]
    NotUtf8,
    #[error("this is UTF-16 text; save it as UTF-8 (`iconv -f {encoding} -t UTF-8` writes it so)")]
    Utf16 { encoding: &'static str },
    #[error("the control character {0:?} cannot stand here")]
    ControlCharacter(char),
    #[error("a tab cannot indent a line in YAML; use spaces")]
    Tab,
    #[error("this is not YAML: {said}")]
    Syntax { said: String },
    #[error("{}", TooManyDocuments(*.limit))]
    TooManyDocuments { limit: usize },
    #[error("lists and mappings are nested more than {limit} deep")]
    TooDeep { limit: usize },
    #[error("{0} cannot be used here; write the value out, or put text that begins so in quotes")]
    Unsupported(Feature),
    #[error("the key {} stands here a second time; the first is in line {first}", shown(key))]
    DuplicateKey { key: String, first: u32 },
    #[error("expected a key, found {found}")]
    KeyNotText { found: Found },
}

struct TooManyDocuments(usize);

impl fmt::Display for TooManyDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("a second document starts here; the file has to be one"),
            limit => write!(f, "one more document starts here; at most {limit} are read"),
        }
    }
}

/// What YAML has and none of our files needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    Anchor,
    Alias,
    Tag,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Feature::Anchor => "an anchor (`&name`)",
            Feature::Alias => "an alias (`*name`)",
            Feature::Tag => "a tag (`!name`)",
        })
    }
}
