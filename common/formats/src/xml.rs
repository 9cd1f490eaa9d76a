//! XML that a stranger may have written, to a tree.
//!
//! The parser keeps entities within bounds of depth, but a long one may still stand in a million places; it
//! looks through all attributes of an element for each of them; and it copies the namespaces of an element
//! to those below. No file that is read here declares an entity or a namespace, and none has an element
//! with more than a few attributes, so those are refused before the parser sees them. The line
//! `<!DOCTYPE …>` with which `nvidia-smi` and hwloc begin is fine: what it names is not fetched.

use roxmltree::{Document, Node, ParsingOptions};

use crate::size::{TooLarge, within};

/// Attributes of one element. NCCL's have a dozen.
const MAX_ATTRIBUTES: usize = 64;

/// Elements and texts, at some hundred bytes each.
const MAX_NODES: u32 = 1 << 19;

/// Why a text was not read. Lines and columns count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("byte {offset}: this is not UTF-8 text")]
    NotUtf8 { offset: usize },
    #[error("line {line}: {what} cannot be used here; remove it")]
    Refused { line: usize, what: &'static str },
    #[error("line {line}: an element has more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes { line: usize },
    #[error("line {line}: the file ends before its elements do; it is cut short")]
    Cut { line: usize },
    #[error("the XML cannot be read: {0}")]
    Syntax(#[source] roxmltree::Error),
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// A file that is larger, is no XML, or has what no file of this kind needs.
pub(crate) fn parse(bytes: &[u8], limit: usize) -> Result<Document<'_>, Error> {
    let bytes = within(bytes, limit)?;
    let text = std::str::from_utf8(bytes).map_err(|error| Error::NotUtf8 { offset: error.valid_up_to() })?;
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    if let Some(at) = text.find("xmlns") {
        return Err(Error::Refused { line: line(at), what: "a namespace (`xmlns`)" });
    }
    match trap(bytes) {
        Some((at, Trap::Declarations)) => {
            return Err(Error::Refused {
                line: line(at), what: "a list of declarations (`<!DOCTYPE … [`)"
            });
        }
        Some((at, Trap::Crowd)) => return Err(Error::TooManyAttributes { line: line(at) }),
        None => {}
    }
    let options = ParsingOptions { allow_dtd: true, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::UnclosedRootNode | roxmltree::Error::UnexpectedEndOfStream => {
            Error::Cut { line: line(text.trim_end().len()) }
        }
        error => Error::Syntax(error),
    })
}

enum Trap {
    Declarations,
    Crowd,
}

/// Where an element has more attributes than any should, or a document type brings its own declarations. Text
/// between elements has no tags, so the equals signs between `<` and `>` outside of quotes are those of
/// attributes; comments and the like are passed over.
fn trap(bytes: &[u8]) -> Option<(usize, Trap)> {
    let find = |from: usize, word: &[u8]| {
        let rest = bytes.get(from..)?;
        rest.windows(word.len()).position(|window| window == word).map(|at| from + at + word.len())
    };
    let mut at = 0;
    while let Some(tag) = bytes[at..].iter().position(|byte| *byte == b'<').map(|before| at + before) {
        let rest = &bytes[tag..];
        const PASSED_OVER: [(&[u8], &[u8]); 3] = [(b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")];
        if let Some((begin, end)) = PASSED_OVER.iter().find(|(begin, _)| rest.starts_with(begin)) {
            at = find(tag + begin.len(), end)?;
            continue;
        }
        let (mut quote, mut attributes) = (None, 0);
        let mut end = bytes.len();
        for (offset, byte) in rest.iter().enumerate() {
            match (quote, byte) {
                (Some(open), byte) if open == *byte => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(*byte),
                (None, b'=') => attributes += 1,
                (None, b'[') if rest.starts_with(b"<!DOCTYPE") => return Some((tag, Trap::Declarations)),
                (None, b'>') => {
                    end = tag + offset + 1;
                    break;
                }
                (None, _) => {}
            }
            if attributes > MAX_ATTRIBUTES {
                return Some((tag, Trap::Crowd));
            }
        }
        at = end;
    }
    None
}

/// The line of an element.
pub(crate) fn line(node: Node<'_, '_>) -> u32 {
    node.document().text_pos_at(node.range().start).row
}

/// The element at a path of tags below another, the first of each.
pub(crate) fn at<'a, 'i>(node: Node<'a, 'i>, path: &str) -> Option<Node<'a, 'i>> {
    path.split('/').try_fold(node, |node, tag| children(node, tag).next())
}

/// The elements of a tag directly below another.
pub(crate) fn children<'a, 'i>(node: Node<'a, 'i>, tag: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_long_is_refused_with_its_line() {
        let said = |text: &str| parse(text.as_bytes(), 1 << 20).unwrap_err().to_string();
        let entity = "<!DOCTYPE a [\n<!ENTITY b \"long\">]>\n<a>&b;</a>";
        assert_eq!(
            said(entity),
            "line 1: a list of declarations (`<!DOCTYPE … [`) cannot be used here; remove it"
        );
        assert!(said("<!DOCTYPE a [<!-- ' -->]><a/>").contains("a list of declarations"));
        assert!(said("<a xmlns:b=\"c\"/>").starts_with("line 1: a namespace"));
        let attributes: String = (0..65).map(|n| format!(" a{n}='>' ")).collect();
        assert_eq!(
            said(&format!("<!-- = -->\n<a {attributes}/>")),
            "line 2: an element has more than 64 attributes"
        );
        let hidden = format!("<!--> <x ' --><a {attributes}/>");
        assert_eq!(said(&hidden), "line 1: an element has more than 64 attributes");
        let nodes = format!("<a>{}</a>", "<b/>".repeat(1 << 19));
        assert_eq!(
            parse(nodes.as_bytes(), 1 << 22).unwrap_err().to_string(),
            "the XML cannot be read: nodes limit reached"
        );
        assert_eq!(said("<a>"), "line 1: the file ends before its elements do; it is cut short");
        assert_eq!(
            said("<a>\n<b>\n<c d=\"e"),
            "line 3: the file ends before its elements do; it is cut short"
        );
        assert_eq!(said("<a>\n</b>"), "the XML cannot be read: expected 'a' tag, not 'b' at 2:1");
        let large = parse(&[0; 9], 8).unwrap_err().to_string();
        assert!(large.starts_with("the file has 9 bytes, and at most 8 are read"), "{large}");
        assert_eq!(parse(b"<a>\xff", 8).unwrap_err().to_string(), "byte 3: this is not UTF-8 text");
    }

    #[test]
    fn a_document_type_is_no_matter_and_elements_are_found_by_path() {
        let text = b"<?xml version=\"1.0\" ?>\n<!DOCTYPE log SYSTEM \"log.dtd\">\n<log>\n<a>\n<b>1</b></a><a/></log>";
        let document = parse(text, 1 << 10).unwrap();
        let b = at(document.root_element(), "a/b").unwrap();
        assert_eq!((b.text(), line(b)), (Some("1"), 5));
        assert_eq!(children(document.root_element(), "a").count(), 2);
    }
}
