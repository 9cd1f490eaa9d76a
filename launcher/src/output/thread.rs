//! The printer's thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use phalanx_common::spec::OutputMode;
use phalanx_common::wire::v1::{LogFrame, Stream};
use tokio::sync::watch;

use super::json::OutputEvents;
use super::label::Labels;
use super::screen::{Screen, Target};
use super::{Item, Shown, Style};

/// A line without an end (a prompt, a progress bar) is shown after this long.
const PARTIAL_LINE: Duration = Duration::from_millis(300);

/// Prints until every sender is gone.
pub(super) fn run(screen: Screen, style: Style, items: &Receiver<Item>, shown: &watch::Sender<Shown>) {
    let mut printer =
        Thread { screen, style, labels: Labels::new(style.rank_width), json: OutputEvents::default(), shown };
    loop {
        let item = if printer.labels.pending() {
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

    /// A line of ours ends what ranks left unfinished, so that it stands alone.
    fn message(&mut self, line: &str) {
        self.flush_lines();
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
                self.message(&format!("phalanx: {bytes} bytes of rank {rank}'s output are not shown: their log file was rotated away first"));
            }
            LogFrame::End { generation } => {
                self.flush_lines();
                let line = self.json.flush(generation);
                self.screen.write(Target::Out, &line);
                self.shown.send_modify(|shown| shown.generation = generation);
            }
            LogFrame::Open { .. } => {}
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
