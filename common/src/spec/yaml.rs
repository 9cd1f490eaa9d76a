//! YAML text to a small tree in which every node knows its place. The only place that knows the parser.
//!
//! The parser gives events with positions and keeps what was written apart from what it means, so that
//! `3`, `"3"` and `yes` are told apart here and nowhere else. Anchors, aliases and tags are refused:
//! a job file needs none, and without them a small file cannot become a large tree.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use super::error::{Error, Problem};
use super::place::{Source, Span};
use super::problem::{Found, ProblemKind, YamlFeature};
use super::read::{Scalar, Style};

/// Largest job file, bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 16;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) span: Span,
    pub(super) text: String,
}

impl Node {
    pub(super) fn found(&self) -> Found {
        match &self.value {
            Value::Scalar { text, style } => Scalar { text, style: *style }.found(),
            Value::List(_) => Found::List,
            Value::Mapping(_) => Found::Mapping,
        }
    }

    pub(super) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.value {
            Value::Scalar { text, style } => Some(Scalar { text, style: *style }),
            _ => None,
        }
    }
}

/// The text of a file named `name`, if `bytes` can be a job file at all.
pub(super) fn text(name: &str, bytes: &[u8]) -> Result<Source, Error> {
    let empty = Source::new(name, "");
    if bytes.len() > MAX_FILE_BYTES {
        let kind = ProblemKind::TooLarge { bytes: bytes.len(), cap: MAX_FILE_BYTES };
        return Err(Error::one(empty.whole(kind)));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let source = match std::str::from_utf8(bytes) {
        Ok(text) => Source::new(name, text),
        Err(error) => {
            let lossy = Source::new(name, &String::from_utf8_lossy(bytes));
            let before = &bytes[..error.valid_up_to()];
            return Err(Error::one(lossy.problem(
                after(&String::from_utf8_lossy(before)),
                None,
                ProblemKind::NotUtf8,
            )));
        }
    };
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    match source.text.char_indices().find(|(_, c)| control(*c)) {
        Some((at, c)) => {
            let span = after(&source.text[..at]);
            Err(Error::one(source.problem(span, None, ProblemKind::ControlCharacter(c))))
        }
        None => Ok(source),
    }
}

/// The place of the character that follows `before`.
fn after(before: &str) -> Span {
    let line = before.rsplit('\n').next().unwrap_or_default();
    Span {
        line: to_u32(before.matches('\n').count() + 1),
        column: to_u32(line.chars().count() + 1),
        width: 1,
    }
}

/// The one document of `source`; `None` if it has no content.
pub(super) fn parse(source: &Source) -> Result<Option<Node>, Error> {
    let mut reader = Reader { source, parser: Parser::new_from_str(&source.text), depth: 0 };
    let node = reader.document().map_err(|problem| Error::one(*problem))?;
    Ok(node.filter(|node| !matches!(node.found(), Found::Nothing | Found::Null(_))))
}

struct Reader<'a> {
    source: &'a Source,
    parser: Parser<'a, StrInput<'a>>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Option<Node>, Box<Problem>> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self.problem(span, ProblemKind::SeveralDocuments));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => root = Some(self.node(event, span)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Box<Problem>> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.span(&span.start, &span.end))),
            Some(Err(error)) => Err(self.syntax(&error)),
            // The parser ends with StreamEnd; this is the same for one that does not.
            None => Ok((Event::StreamEnd, Span { line: 1, column: 1, width: 1 })),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Box<Problem>> {
        let (anchor, tag) = match &event {
            Event::Alias(_) => return Err(self.problem(span, ProblemKind::Unsupported(YamlFeature::Alias))),
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            return Err(self.problem(span, ProblemKind::Unsupported(YamlFeature::Anchor)));
        }
        if tag {
            return Err(self.problem(span, ProblemKind::Unsupported(YamlFeature::Tag)));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.problem(span, ProblemKind::TooDeep { limit: MAX_DEPTH }));
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => {
                Value::Scalar { text: text.into_owned(), style: Style::Plain }
            }
            Event::Scalar(text, ..) => Value::Scalar { text: text.into_owned(), style: Style::Quoted },
            Event::SequenceStart(..) => self.list()?,
            _ => self.mapping()?,
        };
        self.depth -= 1;
        Ok(Node { span, value })
    }

    fn list(&mut self) -> Result<Value, Box<Problem>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, Box<Problem>> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Mapping(entries));
            }
            let key = self.node(event, span)?;
            let Value::Scalar { text, .. } = key.value else {
                let found = key.found();
                return Err(self.problem(span, ProblemKind::KeyNotText { found }));
            };
            let (event, at) = self.next()?;
            let mut value = self.node(event, at)?;
            if value.found() == Found::Nothing {
                // Nothing has no place of its own.
                value.span = span;
            }
            entries.push((Key { span, text }, value));
        }
    }

    fn problem(&self, span: Span, kind: ProblemKind) -> Box<Problem> {
        Box::new(self.source.problem(span, None, kind))
    }

    fn syntax(&self, error: &ScanError) -> Box<Problem> {
        let at = self.span(error.marker(), error.marker());
        let Some(line) = self.source.text.lines().nth(at.line as usize - 1) else {
            // Something is missing at the end of the file: behind its last character.
            let at = after(self.source.text.trim_end());
            return self.problem(at, ProblemKind::Syntax { said: error.info().to_string() });
        };
        // An alias of nothing: most often an asterisk that was meant as text.
        if line.chars().nth(at.column as usize - 1) == Some('*') {
            return self.problem(at, ProblemKind::Unsupported(YamlFeature::Alias));
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        match indent.chars().position(|c| c == '\t') {
            Some(tab) => self.problem(Span { column: to_u32(tab + 1), ..at }, ProblemKind::Tab),
            None => self.problem(at, ProblemKind::Syntax { said: error.info().to_string() }),
        }
    }

    fn span(&self, start: &Marker, end: &Marker) -> Span {
        let width = match end.line() == start.line() {
            true => end.col().saturating_sub(start.col()),
            false => usize::from(u16::MAX), // To the end of the line; the excerpt cuts it.
        };
        Span {
            line: to_u32(start.line().max(1)),
            column: to_u32(start.col() + 1),
            width: to_u32(width.max(1)),
        }
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
