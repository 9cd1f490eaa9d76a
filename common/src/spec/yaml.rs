//! The YAML of job files and configuration files: one document, and every problem shown with its line.

use super::error::Error;
use super::place::Source;
use crate::yaml::{self, Bounds, Found, Node};

/// Largest job file, bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
const BOUNDS: Bounds = Bounds { bytes: MAX_FILE_BYTES, depth: 16, documents: 1 };

/// The text of a file named `name`, if `bytes` can be a job file at all.
pub(super) fn text(name: &str, bytes: &[u8]) -> Result<Source, Error> {
    match yaml::text(bytes, BOUNDS.bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error @ yaml::Error { span: None, .. }) => Err(problem(&Source::new(name, ""), error)),
        Err(error) => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            Err(problem(&Source::new(name, &String::from_utf8_lossy(bytes)), error))
        }
    }
}

/// The one document of `source`; `None` if it has no content.
pub(super) fn parse(source: &Source) -> Result<Option<Node>, Error> {
    let documents = yaml::documents(&source.text, &BOUNDS).map_err(|error| problem(source, error))?;
    Ok(documents.into_iter().next().filter(|node| !matches!(node.found(), Found::Nothing | Found::Null(_))))
}

fn problem(source: &Source, error: yaml::Error) -> Error {
    Error::one(match error.span {
        Some(span) => source.problem(span, None, error.kind.into()),
        None => source.whole(error.kind.into()),
    })
}
