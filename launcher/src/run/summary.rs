//! What is said about a job's end: who was first, why, its last words, where the rest is.

use std::fmt::Write;

use phalanx_common::event::{Cause, Outcome};
use phalanx_common::id::{Generation, JobId};
use phalanx_common::report::RankExit;
use serde::Deserialize;

/// Lines of standard error shown of the culprit.
const LAST_LINES: usize = 12;
/// Lines of a Python traceback shown; the innermost frames are at its end.
const TRACEBACK_LINES: usize = 24;

/// All that the summary needs.
pub(super) struct Ending<'a> {
    pub(super) job: &'a JobId,
    pub(super) generation: Generation,
    pub(super) local: bool,
    /// Where its log files are; `None`: its nodes know.
    pub(super) log_dir: Option<&'a str>,
    /// The exit of the rank named in the outcome, if it is one.
    pub(super) culprit: Option<&'a RankExit>,
    /// How many ranks failed by themselves.
    pub(super) failed: usize,
}

/// Lines for standard error; empty for a success.
pub(super) fn lines(outcome: &Outcome, ending: &Ending<'_>) -> String {
    let (verb, cause) = match outcome {
        Outcome::Succeeded => return String::new(),
        Outcome::Failed { first_cause, .. } => ("failed", first_cause),
        Outcome::Stopped { first_cause, .. } => ("ended", first_cause),
    };
    // In local mode there is one node, and its name says nothing new about a Prepare.
    let says_nothing = ending.local && matches!(cause, Cause::NotPrepared { .. });
    let said = if says_nothing { cause.to_string() } else { cause.with_node() };
    let mut text = format!("phalanx: {} {verb}: {said}", ending.job);
    if ending.failed > 1 {
        let _ = write!(text, " (first of {} failed ranks)", ending.failed);
    }
    if let Outcome::Failed { no_restart: Some(why), .. } = outcome {
        let _ = write!(text, "\nphalanx: {why}");
    }
    let Some(exit) = ending.culprit else { return text };
    match exit.error_file.as_deref().and_then(python_error) {
        Some(error) => {
            let _ = write!(text, "\nphalanx: its Python exception:{}", indented(&error, TRACEBACK_LINES));
        }
        None => {
            let tails = [("stderr", &exit.stderr_tail), ("stdout", &exit.stdout_tail)];
            // What a rank that failed by itself has to say is on the first.
            let told = if exit.probe.is_some() || exit.after_stop { &tails[..] } else { &tails[..1] };
            if let Some((stream, tail)) = told.iter().find(|(_, tail)| !tail.is_empty()) {
                let (whose, tail) = (whose(cause, exit), String::from_utf8_lossy(tail));
                let _ =
                    write!(text, "\nphalanx: last lines of {whose} {stream}:{}", indented(&tail, LAST_LINES));
            }
        }
    }
    let Ending { job, generation, log_dir, .. } = ending;
    let _ = match log_dir {
        Some(dir) => write!(text, "\nphalanx: its output: {dir}/{job}/{generation}/{}/", exit.rank),
        None => write!(text, "\nphalanx: its output: phalanx logs {job} --rank {}", exit.rank),
    };
    text
}

/// `its`, of the one rank that is named.
fn whose(cause: &Cause, exit: &RankExit) -> String {
    match cause {
        Cause::StartTimeout { .. } => format!("rank {}'s", exit.rank),
        _ => "its".to_owned(),
    }
}

fn indented(text: &str, last: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(last)..].iter().fold(String::new(), |mut out, line| {
        let _ = write!(out, "\n    {}", line.trim_end());
        out
    })
}

/// What PyTorch's `record` decorator leaves in TORCHELASTIC_ERROR_FILE.
#[derive(Deserialize)]
struct ErrorFile {
    message: Message,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Detailed {
        message: String,
        #[serde(rename = "extraInfo")]
        extra: Option<Extra>,
    },
}

#[derive(Deserialize)]
struct Extra {
    py_callstack: Option<String>,
}

/// The exception with its traceback, if the file is what `record` writes.
fn python_error(bytes: &[u8]) -> Option<String> {
    match serde_json::from_slice::<ErrorFile>(bytes).ok()?.message {
        Message::Text(text) => Some(text),
        Message::Detailed { message, extra } => {
            Some(extra.and_then(|extra| extra.py_callstack).unwrap_or(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exception_is_read_from_either_form_of_the_error_file() {
        let detailed = br#"{"message": {"message": "ValueError: no", "extraInfo": {"py_callstack": "Traceback\n  x\nValueError: no\n", "timestamp": "1"}}}"#;
        assert_eq!(python_error(detailed).as_deref(), Some("Traceback\n  x\nValueError: no\n"));
        assert_eq!(python_error(br#"{"message": "boom"}"#).as_deref(), Some("boom"));
        assert_eq!(python_error(b"not json"), None);
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        assert_eq!(indented("a\nb\nc\n", 2), "\n    b\n    c");
    }
}
