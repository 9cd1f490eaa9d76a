//! The printer's thread.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use phalanx_common::spec::OutputMode;
use phalanx_common::wire::v1::{LogFrame, Stream};
use tokio::sync::watch;

use super::json::{OutputEvents, skipped_event};
use super::label::Labels;
use super::screen::{Screen, Target};
use super::{Item, Shown, Style};

/// A line without an end (a prompt, a progress bar) is shown after this long.
const PARTIAL_LINE: Duration = Duration::from_millis(300);

/// Prints until every sender is gone.
pub(super) fn run(screen: Screen, style: Style, items: &Receiver<Item>, shown: &watch::Sender<Shown>) {
    let mut printer = Thread {
        screen,
        style,
        labels: Labels::new(style.rank_width),
        json: OutputEvents::default(),
        skipped: BTreeMap::new(),
        shown,
    };
    loop {
        // On a terminal a prompt or a progress bar is wanted now; a file or a pipe gets whole lines.
        let item = if printer.screen.live() && printer.labels.pending() {
            match items.recv_timeout(PARTIAL_LINE) {
                Ok(item) => item,
                Err(RecvTimeoutError::Timeout) => {
                    printer.flush_lines();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        } else {
            match items.recv() {
                Ok(item) => item,
                Err(_) => break,
            }
        };
        printer.on_item(item);
    }
    printer.flush_lines();
    printer.screen.set_status(None);
}

struct Thread<'a> {
    screen: Screen,
    style: Style,
    labels: Labels,
    json: OutputEvents,
    /// Bytes not shown, by rank.
    skipped: BTreeMap<u32, u64>,
    shown: &'a watch::Sender<Shown>,
}

impl Thread<'_> {
    fn on_item(&mut self, item: Item) {
        match item {
            Item::Log(frame, permit) => {
                self.on_frame(frame);
                drop(permit);
            }
            Item::Line(line) => self.message(&line),
            Item::Json(line) => self.screen.write(Target::Out, format!("{line}\n").as_bytes()),
            Item::Status(status) => self.screen.set_status(status),
            Item::Flush(done) => {
                self.flush_lines();
                let _ = done.send(());
            }
        }
        self.screen.draw();
    }

    fn message(&mut self, line: &str) {
        self.screen.write(Target::Err, format!("{line}\n").as_bytes());
    }

    fn on_frame(&mut self, frame: LogFrame) {
        match frame {
            LogFrame::Chunk { generation, rank, stream, bytes } => {
                self.on_output(generation, rank, stream, &bytes.0);
                self.shown.send_if_modified(|shown| {
                    shown.pieces += 1;
                    std::mem::replace(&mut shown.begun, generation) != generation
                });
            }
            LogFrame::Skipped { rank, bytes, .. } => {
                let skipped = self.skipped.entry(rank).or_default();
                *skipped = skipped.saturating_add(bytes);
            }
            LogFrame::End { generation } => {
                self.flush_lines();
                let line = self.json.flush(generation);
                self.screen.write(Target::Out, &line);
                self.tell_skipped(generation);
                self.shown.send_modify(|shown| shown.generation = generation);
            }
            LogFrame::Refused { why } => self.message(&format!("phalanx: warning: output is missing: {why}")),
            LogFrame::Open { .. } => {}
        }
    }

    /// Output that was gone from the files before it could be shown.
    fn tell_skipped(&mut self, generation: u32) {
        for (rank, bytes) in std::mem::take(&mut self.skipped) {
            if self.style.json {
                let line = skipped_event(generation, rank, bytes);
                self.screen.write(Target::Out, &line);
            } else if self.style.mode != OutputMode::Files {
                self.message(&format!(
                    "phalanx: warning: {bytes} bytes of rank {rank}'s output are not shown: their log file was rotated away first"
                ));
            }
        }
    }

    fn on_output(&mut self, generation: u32, rank: u32, stream: Stream, bytes: &[u8]) {
        if self.style.mode == OutputMode::Files || (self.style.mode == OutputMode::Rank0 && rank != 0) {
            return;
        }
        if self.style.json {
            let line = self.json.push(generation, rank, stream, bytes);
            self.screen.write(Target::Out, &line);
            return;
        }
        let target = target(stream);
        if self.style.mode == OutputMode::Label {
            let lines = self.labels.push(rank, stream, bytes, self.screen.colored(target));
            self.screen.write(target, &lines);
        } else {
            self.screen.write(target, bytes);
        }
    }

    fn flush_lines(&mut self) {
        let (out, err) = (self.screen.colored(Target::Out), self.screen.colored(Target::Err));
        let color = move |stream| if target(stream) == Target::Out { out } else { err };
        for (stream, line) in self.labels.flush(color) {
            self.screen.write(target(stream), &line);
        }
    }
}

fn target(stream: Stream) -> Target {
    match stream {
        Stream::Stdout => Target::Out,
        Stream::Stderr => Target::Err,
    }
}
