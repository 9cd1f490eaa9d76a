//! Strangers' text in the model.

use std::borrow::Cow;
use std::fmt::Write;

use phalanx_common::text::utf16;

/// A text that is not in UTF-8. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUtf8 {
    #[error(
        "line {line}, column {column}: the byte {byte:#04x} is no UTF-8; save the file as UTF-8 (of one in Latin-1, \
         `iconv -f LATIN1 -t UTF-8` writes it so)"
    )]
    At { line: usize, column: usize, byte: u8 },
    #[error("this is UTF-16 text; save it as UTF-8 (`iconv -f {encoding} -t UTF-8` writes it so)")]
    Utf16 { encoding: &'static str },
}

/// The text of a file that somebody wrote, without a byte order mark. A name with another letter in it would be another name.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, NotUtf8> {
    if let Some(encoding) = utf16(bytes) {
        return Err(NotUtf8::Utf16 { encoding });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let (before, after) = bytes.split_at(error.valid_up_to());
        let before = String::from_utf8_lossy(before);
        let line = before.rsplit('\n').next().unwrap_or_default();
        NotUtf8::At {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            byte: after.first().copied().unwrap_or_default(),
        }
    })
}

/// What a tool wrote, whose names are bytes of others: those that are no UTF-8 are shown as `\xe9`, so that names that differ
/// in them stay different.
pub(crate) fn visible(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    Cow::Owned(text)
}

/// A name: of one line, and as long as names are.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(96).collect()
}
