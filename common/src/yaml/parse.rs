//! Events of the parser to trees.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use super::error::{Error, Feature, Kind};
use super::tree::{Found, Key, Node, Span, Value};
use crate::text::utf16;

/// How much is read at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of the whole text.
    pub bytes: usize,
    /// Lists and mappings inside of each other, and the scalar in the innermost.
    pub depth: usize,
    pub documents: usize,
}

/// The documents of a file, in order, without those that have no content.
///
/// # Errors
/// What [`text`] and [`documents`] say, and keys that stand twice.
pub fn read(bytes: &[u8], bounds: &Bounds) -> Result<Vec<Node>, Error> {
    let mut found = documents(text(bytes, bounds.bytes)?, bounds)?;
    found.retain(|node| !matches!(node.found(), Found::Nothing | Found::Null(_)));
    found.iter().try_for_each(once)?;
    Ok(found)
}

/// That no key of a mapping stands in it twice: one of the two values would silently be none.
fn once(of: &Node) -> Result<(), Error> {
    of.items().unwrap_or_default().iter().try_for_each(once)?;
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    for (key, value) in of.entries().unwrap_or_default() {
        if let Some(first) = lines.insert(&key.text, key.span.line) {
            let key_text = key.text.clone();
            return Err(problem(key.span, Kind::DuplicateKey { key: key_text, first }));
        }
        once(value)?;
    }
    Ok(())
}

/// The text of a file, without a byte order mark, if it can be YAML at all.
///
/// # Errors
/// More than `cap` bytes; what is not UTF-8; a control character, which YAML does not print.
pub fn text(bytes: &[u8], cap: usize) -> Result<&str, Error> {
    if bytes.len() > cap {
        return Err(Error { span: None, kind: Kind::TooLarge { bytes: bytes.len(), cap } });
    }
    if let Some(encoding) = utf16(bytes) {
        return Err(Error { span: None, kind: Kind::Utf16 { encoding } });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        Error { span: Some(after(&before)), kind: Kind::NotUtf8 }
    })?;
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    match text.char_indices().find(|(_, c)| control(*c)) {
        Some((at, c)) => Err(Error { span: Some(after(&text[..at])), kind: Kind::ControlCharacter(c) }),
        None => Ok(text),
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

/// All documents of `text`, those without content too.
///
/// # Errors
/// What is no YAML, more than the bounds allow (but for `bytes`, which [`text`] has checked), anchors,
/// aliases, tags, and keys that are lists or mappings.
pub fn documents(text: &str, bounds: &Bounds) -> Result<Vec<Node>, Error> {
    Reader { text, bounds, parser: Parser::new_from_str(text), depth: 0 }.documents()
}

struct Reader<'a> {
    text: &'a str,
    bounds: &'a Bounds,
    parser: Parser<'a, StrInput<'a>>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn documents(&mut self) -> Result<Vec<Node>, Error> {
        let mut roots = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(roots),
                Event::DocumentStart(_) if roots.len() >= self.bounds.documents => {
                    let limit = self.bounds.documents;
                    return Err(problem(span, Kind::TooManyDocuments { limit }));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => roots.push(self.node(event, span)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Error> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.span(&span.start, &span.end))),
            Some(Err(error)) => Err(self.syntax(&error)),
            // The parser ends with StreamEnd; this is the same for one that does not.
            None => Ok((Event::StreamEnd, Span { line: 1, column: 1, width: 1 })),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Error> {
        let (anchor, tag) = match &event {
            Event::Alias(_) => return Err(problem(span, Kind::Unsupported(Feature::Alias))),
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            return Err(problem(span, Kind::Unsupported(Feature::Anchor)));
        }
        if tag {
            return Err(problem(span, Kind::Unsupported(Feature::Tag)));
        }
        self.depth += 1;
        if self.depth > self.bounds.depth {
            return Err(problem(span, Kind::TooDeep { limit: self.bounds.depth }));
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => {
                Value::Scalar { text: text.into_owned(), quoted: false }
            }
            Event::Scalar(text, ..) => Value::Scalar { text: text.into_owned(), quoted: true },
            Event::SequenceStart(..) => self.list()?,
            _ => self.mapping()?,
        };
        self.depth -= 1;
        Ok(Node { span, value })
    }

    fn list(&mut self) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, Error> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Mapping(entries));
            }
            let key = self.node(event, span)?;
            let Value::Scalar { text, .. } = key.value else {
                let found = key.found();
                return Err(problem(span, Kind::KeyNotText { found }));
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

    fn syntax(&self, error: &ScanError) -> Error {
        let at = self.span(error.marker(), error.marker());
        let Some(line) = self.text.lines().nth(at.line as usize - 1) else {
            // Something is missing at the end of the file: behind its last character.
            let at = after(self.text.trim_end());
            return problem(at, Kind::Syntax { said: error.info().to_string() });
        };
        // An alias of nothing: most often an asterisk that was meant as text.
        if line.chars().nth(at.column as usize - 1) == Some('*') {
            return problem(at, Kind::Unsupported(Feature::Alias));
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        match indent.chars().position(|c| c == '\t') {
            Some(tab) => problem(Span { column: to_u32(tab + 1), ..at }, Kind::Tab),
            None => problem(at, Kind::Syntax { said: error.info().to_string() }),
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

fn problem(span: Span, kind: Kind) -> Error {
    Error { span: Some(span), kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 100, depth: 3, documents: 2 };

    #[test]
    fn documents_come_in_order_and_those_without_content_are_left_out() {
        let found = read(b"---\na: 1\n---\n# nothing\n", &BOUNDS).unwrap();
        assert_eq!(found.len(), 1);
        let found = read(b"\xef\xbb\xbfa: 1\n---\n- b\n", &BOUNDS).unwrap();
        assert_eq!(found[0].get("a").and_then(Node::text), Some("1"));
        assert_eq!(found[1].items().unwrap()[0].span, Span { line: 3, column: 3, width: 1 });
        assert!(read(b"", &BOUNDS).unwrap().is_empty());
    }

    #[test]
    fn each_bound_is_kept_and_named_where_it_is_broken() {
        for (text, says) in [
            (
                &b"a\n---\nb\n---\nc\n"[..],
                "line 4, column 1: one more document starts here; at most 2 are read",
            ),
            (b"[[[a]]]", "line 1, column 4: lists and mappings are nested more than 3 deep"),
            (&[b' '; 101], "the file has 101 bytes, and at most 100 are read"),
            (b"a\n\xff", "line 2, column 1: this is not UTF-8 text"),
            (
                b"\xff\xfea\0",
                "this is UTF-16 text; save it as UTF-8 (`iconv -f UTF-16 -t UTF-8` writes it so)",
            ),
            (
                b"a\0:\0 \x001\0",
                "this is UTF-16 text; save it as UTF-8 (`iconv -f UTF-16LE -t UTF-8` writes it so)",
            ),
            (
                b"a: 1\nb: {c: 2,\n  c: 3}\n",
                "line 3, column 3: the key \"c\" stands here a second time; the first is in line 2",
            ),
        ] {
            assert_eq!(read(text, &BOUNDS).unwrap_err().to_string(), says);
        }
        assert!(read(b"[[a]]", &BOUNDS).is_ok());
    }

    #[test]
    fn null_and_nothing_are_no_text_and_quotes_make_text_of_anything() {
        let found = read(b"a: null\nb:\nc: 'null'\nd: 3\n", &BOUNDS).unwrap();
        let text = |key: &str| found[0].get(key).and_then(Node::text);
        assert_eq!((text("a"), text("b"), text("c"), text("d")), (None, None, Some("null"), Some("3")));
    }
}
