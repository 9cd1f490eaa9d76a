//! Ranks' output as JSON events.

use std::collections::BTreeMap;

use phalanx_common::wire::v1::Stream;
use serde::Serialize;

/// Version of the JSON events, those of output and those of the job alike.
pub(crate) const JSON_VERSION: u32 = 1;

/// One piece of a rank's output.
#[derive(Serialize)]
struct OutputEvent<'a> {
    v: u32,
    event: &'static str,
    generation: u32,
    rank: u32,
    stream: &'static str,
    /// Bytes that are no UTF-8 become U+FFFD; the log file has them as they are.
    text: &'a str,
}

/// Makes events of output; a character that arrives in two pieces stays whole.
#[derive(Debug, Default)]
pub(super) struct OutputEvents {
    unfinished: BTreeMap<(u32, Stream), Vec<u8>>,
}

impl OutputEvents {
    /// The event for these bytes, as one line; empty if they only begin a character.
    pub(super) fn push(&mut self, generation: u32, rank: u32, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let mut text = self.unfinished.remove(&(rank, stream)).unwrap_or_default();
        text.extend_from_slice(bytes);
        let rest = text.split_off(text.len() - unfinished(&text));
        if !rest.is_empty() {
            self.unfinished.insert((rank, stream), rest);
        }
        if text.is_empty() { Vec::new() } else { line(generation, rank, stream, &text) }
    }

    /// Events for what began a character that never ended.
    pub(super) fn flush(&mut self, generation: u32) -> Vec<u8> {
        std::mem::take(&mut self.unfinished)
            .into_iter()
            .flat_map(|((rank, stream), bytes)| line(generation, rank, stream, &bytes))
            .collect()
    }
}

fn line(generation: u32, rank: u32, stream: Stream, text: &[u8]) -> Vec<u8> {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let text = String::from_utf8_lossy(text);
    let event = OutputEvent { v: JSON_VERSION, event: "output", generation, rank, stream, text: &text };
    // Numbers and text always have a JSON form.
    let mut line = serde_json::to_vec(&event).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The event for output that was gone from the files before it could be shown.
pub(super) fn skipped_event(generation: u32, rank: u32, bytes: u64) -> Vec<u8> {
    format!(
        "{{\"v\":{JSON_VERSION},\"event\":\"output_skipped\",\"generation\":{generation},\"rank\":{rank},\"bytes\":{bytes}}}\n"
    )
    .into_bytes()
}

/// How many bytes at the end begin a UTF-8 character without ending it, 0 to 3.
fn unfinished(text: &[u8]) -> usize {
    for back in 1..=text.len().min(3) {
        let needed = match text[text.len() - back] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if needed > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_two_pieces_stays_whole() {
        let mut events = OutputEvents::default();
        let bytes = "aé€😀b".as_bytes();
        for split in 0..=bytes.len() {
            let mut text = String::new();
            for piece in [&bytes[..split], &bytes[split..]] {
                for line in
                    events.push(1, 0, Stream::Stdout, piece).split(|b| *b == b'\n').filter(|l| !l.is_empty())
                {
                    let event: serde_json::Value = serde_json::from_slice(line).unwrap();
                    text.push_str(event["text"].as_str().unwrap());
                }
            }
            assert_eq!(text, "aé€😀b", "split at {split}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_not_waited_for() {
        let mut events = OutputEvents::default();
        assert!(!events.push(1, 0, Stream::Stdout, b"\xff\xfe").is_empty());
        assert!(events.push(1, 0, Stream::Stdout, b"\xe2\x82").is_empty());
        let flushed: serde_json::Value = serde_json::from_slice(events.flush(1).trim_ascii()).unwrap();
        assert_eq!(flushed["text"], "\u{fffd}");
    }
}
