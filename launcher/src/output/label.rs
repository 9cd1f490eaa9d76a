//! Lines of many ranks on one screen: each whole line with its rank in front, nothing lost.

use std::collections::BTreeMap;

use phalanx_common::wire::v1::Stream;

/// A line longer than this is shown in pieces, bytes.
const LINE_CAP: usize = 64 << 10;

/// Colours of the labels, by rank: those that read well on dark and light.
const COLORS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// Assembles lines per rank and stream.
#[derive(Debug)]
pub(super) struct Labels {
    width: usize,
    lines: BTreeMap<(u32, Stream), Line>,
}

/// The end of a stream's output so far.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// The last byte was a carriage return, which ended a line: a newline after it ends no other.
    returned: bool,
}

impl Labels {
    pub(super) fn new(width: usize) -> Labels {
        Labels { width, lines: BTreeMap::new() }
    }

    /// Some line waits for its end.
    pub(super) fn pending(&self) -> bool {
        self.lines.values().any(|line| !line.bytes.is_empty())
    }

    /// Takes what a rank wrote and returns the lines that are whole, labelled. A carriage return
    /// ends a line too: a progress bar redrawn in place would overwrite its neighbours' lines.
    pub(super) fn push(&mut self, rank: u32, stream: Stream, bytes: &[u8], color: bool) -> Vec<u8> {
        let label = label(rank, self.width, color);
        let line = self.lines.entry((rank, stream)).or_default();
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8 + label.len());
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (end, text) = match piece.split_last() {
                Some((b'\n', text)) => (Some(b'\n'), text),
                Some((b'\r', text)) => (Some(b'\r'), text),
                _ => (None, piece),
            };
            let after_return = std::mem::replace(&mut line.returned, end == Some(b'\r'));
            line.bytes.extend_from_slice(text);
            let empty = line.bytes.is_empty();
            let whole = match end {
                Some(b'\n') => !(empty && after_return),
                Some(_) => !empty,
                None => line.bytes.len() >= LINE_CAP,
            };
            if whole {
                emit(&mut out, &label, &mut line.bytes);
            }
        }
        out
    }

    /// What is pending, each as a line of its own.
    pub(super) fn flush(&mut self, color: impl Fn(Stream) -> bool) -> Vec<(Stream, Vec<u8>)> {
        let mut flushed = Vec::new();
        for ((rank, stream), line) in &mut self.lines {
            if !line.bytes.is_empty() {
                let mut out = Vec::new();
                emit(&mut out, &label(*rank, self.width, color(*stream)), &mut line.bytes);
                flushed.push((*stream, out));
            }
        }
        flushed
    }
}

fn emit(out: &mut Vec<u8>, label: &[u8], line: &mut Vec<u8>) {
    out.extend_from_slice(label);
    out.append(line);
    out.push(b'\n');
}

fn label(rank: u32, width: usize, color: bool) -> Vec<u8> {
    if color {
        let code = COLORS[rank as usize % COLORS.len()];
        format!("\x1b[{code}m[{rank:>width$}]\x1b[0m ").into_bytes()
    } else {
        format!("[{rank:>width$}] ").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut labels = Labels::new(2);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(labels.push(3, Stream::Stdout, piece, false));
        }
        for (_, line) in labels.flush(|_| false) {
            out.extend(line);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_labelled_whole_however_they_arrive() {
        assert_eq!(shown(&[b"a", b"b\nc", b"\n\nd"]), "[ 3] ab\n[ 3] c\n[ 3] \n[ 3] d\n");
    }

    #[test]
    fn a_progress_bar_becomes_lines_and_crlf_is_one_end() {
        assert_eq!(
            shown(&[b"\r10%\r20%\rdone\r", b"\nnext\r\n"]),
            "[ 3] 10%\n[ 3] 20%\n[ 3] done\n[ 3] next\n"
        );
    }

    #[test]
    fn a_line_without_end_is_shown_in_pieces_and_held_in_bounds() {
        let mut labels = Labels::new(1);
        let out = labels.push(0, Stream::Stderr, &vec![b'x'; LINE_CAP], false);
        assert_eq!(out.len(), LINE_CAP + "[0] \n".len());
        assert!(!labels.pending());
    }

    #[test]
    fn ranks_and_streams_do_not_mix() {
        let mut labels = Labels::new(1);
        assert!(labels.push(0, Stream::Stdout, b"zero", false).is_empty());
        assert_eq!(labels.push(1, Stream::Stdout, b"one\n", false), b"[1] one\n");
        assert_eq!(labels.push(0, Stream::Stdout, b"!\n", false), b"[0] zero!\n");
    }
}
