//! What is common to decoding one kind of file or another: go on after each problem, and report them all.

use std::collections::BTreeMap;

use super::error::{Error, MOST_PROBLEMS, Place, Problem};
use super::place::{Given, Origin, Source};
use super::problem::{Expected, ProblemKind};
use super::read::{Read, Scalar, Style};
use crate::yaml::{Key, Node, Span, Value};

/// Collects what is wrong with a file.
pub(super) struct Decoder<'a> {
    source: &'a Source,
    problems: Vec<Problem>,
    more: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(source: &'a Source) -> Decoder<'a> {
        Decoder { source, problems: Vec::new(), more: 0 }
    }

    /// `Ok` if nothing was wrong.
    pub(super) fn finish(self) -> Result<(), Error> {
        Error::check(self.problems, self.more)
    }
}

impl Decoder<'_> {
    /// The entries of a mapping, each key once: the first one counts, the others are problems.
    pub(super) fn mapping<'n>(
        &mut self,
        path: &str,
        node: &'n Node,
        of: &'static str,
    ) -> Option<Vec<&'n (Key, Node)>> {
        let Value::Mapping(entries) = &node.value else {
            self.expected(path, node, Expected::Mapping(of));
            return None;
        };
        let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let (key, _) = entry;
            match lines.get(key.text.as_str()) {
                Some(first) => {
                    let kind = ProblemKind::DuplicateKey { key: key.text.clone(), first: *first };
                    self.problem(key.span, None, kind);
                }
                None => {
                    lines.insert(&key.text, key.span.line);
                    kept.push(entry);
                }
            }
        }
        Some(kept)
    }

    pub(super) fn scalar<T>(
        &mut self,
        path: &str,
        node: &Node,
        read: impl Fn(Scalar<'_>) -> Read<T>,
    ) -> Option<Given<T>> {
        // A list or mapping is refused in the words that the reader has for a wrong scalar.
        let read = match Scalar::of(node) {
            Some(scalar) => read(scalar),
            None => match read(Scalar { text: "", style: Style::Plain }) {
                Err(ProblemKind::Expected { expected, .. }) => {
                    Err(ProblemKind::Expected { expected, found: node.found(), nearest: None })
                }
                other => other,
            },
        };
        match read {
            Ok(value) => Some(Given::new(value, Origin::File(node.span))),
            Err(kind) => {
                self.problem(node.span, Some(path.to_string()), kind);
                None
            }
        }
    }

    /// The items of a list that has some.
    pub(super) fn items<'n>(
        &mut self,
        path: &str,
        node: &'n Node,
        most: usize,
        of: &'static str,
    ) -> Option<&'n [Node]> {
        let Value::List(items) = &node.value else {
            self.expected(path, node, Expected::List(of));
            return None;
        };
        if items.is_empty() || items.len() > most {
            let kind = ProblemKind::ListLength { of, length: items.len(), most };
            self.problem(node.span, Some(path.to_owned()), kind);
            return None;
        }
        Some(items)
    }

    /// A list of scalars.
    pub(super) fn list<T>(
        &mut self,
        path: &str,
        node: &Node,
        most: usize,
        of: &'static str,
        read: impl Fn(Scalar<'_>) -> Read<T>,
    ) -> Option<Given<Vec<Given<T>>>> {
        let items = self.items(path, node, most, of)?;
        let mut read_items = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            read_items.extend(self.scalar(&format!("{path}[{i}]"), item, &read));
        }
        Some(Given::new(read_items, Origin::File(node.span)))
    }

    pub(super) fn place(&self, span: Span) -> Place {
        self.source.place(span)
    }

    pub(super) fn expected(&mut self, path: &str, node: &Node, expected: Expected) {
        let key = (!path.is_empty()).then(|| path.to_string());
        let kind = ProblemKind::Expected { expected, found: node.found(), nearest: None };
        self.problem(node.span, key, kind);
    }

    pub(super) fn unknown(
        &mut self,
        key: &Key,
        within: Option<&'static str>,
        nearest: impl Fn(&str) -> Option<&'static str>,
        known: &'static [&'static str],
    ) {
        let nearest = (self.problems.len() < MOST_PROBLEMS).then(|| nearest(&key.text)).flatten();
        let kind = ProblemKind::UnknownKey { key: key.text.clone(), within, nearest, known };
        self.problem(key.span, None, kind);
    }

    pub(super) fn problem(&mut self, span: Span, key: Option<String>, kind: ProblemKind) {
        // The excerpt of a problem is searched for: a hostile file must not ask for thousands.
        match self.problems.len() < MOST_PROBLEMS {
            true => self.problems.push(self.source.problem(span, key, kind)),
            false => self.more += 1,
        }
    }
}
