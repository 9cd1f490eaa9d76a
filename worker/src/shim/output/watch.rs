//! Patterns that are looked for in the lines of a rank's output.

use phalanx_common::spec::ProbeKind;
use regex::bytes::Regex;

/// Bytes of a line that are looked at.
const LINE: usize = 8 << 10;

/// What is looked for in one stream.
#[derive(Clone, Debug, Default)]
pub(in crate::shim) struct Watch {
    patterns: Vec<(ProbeKind, Regex)>,
    /// The line that has not ended yet.
    line: Vec<u8>,
    seen: Vec<ProbeKind>,
}

impl Watch {
    pub(in crate::shim) fn new(patterns: Vec<(ProbeKind, Regex)>) -> Watch {
        Watch { patterns, ..Watch::default() }
    }

    /// Looks at more output. A line ends with `\n`, or with `\r` as a progress bar does it.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.patterns.is_empty() {
            return;
        }
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, after) = rest.split_at(at);
            if self.line.is_empty() {
                self.look(&line[..line.len().min(LINE)]);
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.line);
                self.look(&line);
            }
            rest = &after[1..];
        }
        self.keep(rest);
    }

    /// What was seen since the last time, each once.
    pub(super) fn take_seen(&mut self) -> Vec<ProbeKind> {
        std::mem::take(&mut self.seen)
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE.saturating_sub(self.line.len()).min(part.len());
        self.line.extend_from_slice(&part[..room]);
    }

    fn look(&mut self, line: &[u8]) {
        for (kind, pattern) in &self.patterns {
            if !self.seen.contains(kind) && pattern.is_match(line) {
                self.seen.push(*kind);
            }
        }
        // It has started and is ready once and for all; that it is alive it says again and again.
        self.patterns.retain(|(kind, _)| *kind == ProbeKind::Liveness || !self.seen.contains(kind));
    }
}

#[cfg(test)]
mod tests {
    use phalanx_common::spec::LogPattern;

    use super::*;

    fn watch(kind: ProbeKind, pattern: &str) -> Watch {
        Watch::new(vec![(kind, LogPattern::new(pattern).unwrap().compile().unwrap())])
    }

    #[test]
    fn a_pattern_is_found_in_a_line_however_it_is_cut_and_once() {
        let text = b"one\nmodel loaded in 3 s\r\ntwo\nmodel loaded in 4 s\n";
        for cut in 0..text.len() {
            let mut watch = watch(ProbeKind::Startup, r"^model loaded in \d s$");
            watch.feed(&text[..cut]);
            let before = watch.take_seen();
            watch.feed(&text[cut..]);
            let all = [before, watch.take_seen()].concat();
            assert_eq!(all, [ProbeKind::Startup], "{cut}");
        }
    }

    #[test]
    fn a_sign_of_life_is_found_each_time() {
        let mut watch = watch(ProbeKind::Liveness, "step");
        for _ in 0..3 {
            watch.feed(b"step 1\rstep 2\r");
            assert_eq!(watch.take_seen(), [ProbeKind::Liveness]);
        }
        watch.feed(b"ste");
        assert_eq!(watch.take_seen(), []);
        watch.feed(b"p 3\n");
        assert_eq!(watch.take_seen(), [ProbeKind::Liveness]);
    }

    #[test]
    fn of_a_long_line_the_beginning_counts() {
        let mut watch = watch(ProbeKind::Startup, "here");
        watch.feed(&[vec![b'x'; LINE].as_slice(), b"here"].concat());
        watch.feed(b"here\n");
        assert_eq!(watch.take_seen(), []);
        watch.feed(b"here\n");
        assert_eq!(watch.take_seen(), [ProbeKind::Startup]);
    }
}
