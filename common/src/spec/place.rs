//! Where a value was written, kept beside it until the last check has passed.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::error::{Excerpt, Place, Problem};
use super::problem::ProblemKind;
use crate::yaml::Span;

/// The place of what a program wrote, where lines mean nothing.
pub(super) const NOWHERE: Span = Span { line: 0, column: 0, width: 0 };

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(Span),
    /// A flag, and what was typed after it.
    Flag {
        flag: &'static str,
        typed: String,
    },
    /// The command after the flags.
    Arguments,
}

impl Origin {
    /// Line and column, to tell what stands first in a file.
    pub(super) fn position(&self) -> (u32, u32) {
        match self {
            Origin::File(span) => (span.line, span.column),
            Origin::Flag { .. } | Origin::Arguments => (0, 0),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Given<T> {
    pub(super) fn new(value: T, origin: Origin) -> Given<T> {
        Given { value, origin }
    }

    pub(super) fn is_from_file(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }
}

/// In the schema a value is itself: where it stands is no part of the document.
impl<T: JsonSchema> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The text of a job file under the name it was asked for, so that late problems still show their line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) text: Arc<str>,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    pub(super) fn place(&self, span: Span) -> Place {
        if span == NOWHERE {
            return Place::WholeFile { file: self.name.to_string() };
        }
        Place::File { file: self.name.to_string(), line: span.line, column: span.column }
    }

    /// A problem at `span`; `key` is the path of the value it is about.
    pub(super) fn problem(&self, span: Span, key: Option<String>, kind: ProblemKind) -> Problem {
        if span == NOWHERE {
            return Problem { key, ..self.whole(kind) };
        }
        let excerpt = self.text.lines().nth(span.line.saturating_sub(1) as usize);
        Problem { place: self.place(span), key, kind, excerpt: excerpt.map(|line| Excerpt::new(line, span)) }
    }

    /// A problem of the file as a whole.
    pub(super) fn whole(&self, kind: ProblemKind) -> Problem {
        Problem { place: Place::WholeFile { file: self.name.to_string() }, key: None, kind, excerpt: None }
    }
}
