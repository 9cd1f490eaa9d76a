//! Traces of jobs: `job,submitted_at,duration,gpus`, in any order of columns; `job_id,submission_time,duration,num_gpu` of the ElasticFlow
//! traces is the same.

use crate::size::{TooLarge, within};
use crate::text::{NotUtf8, utf8};

pub const MAX_BYTES: usize = 64 << 20;
/// Jobs of one trace.
pub const MAX_JOBS: usize = 1_000_000;
/// Seconds. Three hundred years: a time beyond is in another unit.
const MAX_SECONDS: f64 = 1e10;
/// GPUs of one job.
const MAX_GPUS: u32 = 1 << 20;

const SUBMITTED: [&str; 6] =
    ["submittedat", "submissiontime", "submittime", "submitted", "submit", "arrival"];
const DURATION: [&str; 3] = ["duration", "runtime", "seconds"];
const GPUS: [&str; 6] = ["gpus", "numgpu", "numgpus", "gpunum", "gpucount", "gpu"];

/// A job of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceJob {
    /// Seconds from any moment.
    pub submitted: u64,
    /// Seconds.
    pub duration: u64,
    pub gpus: u32,
}

/// Why a trace was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    NotUtf8(#[from] NotUtf8),
    #[error("the trace is empty; its first line should be job,submitted_at,duration,gpus")]
    Empty,
    #[error(
        "line {line}: no column has {what}; the header should be job,submitted_at,duration,gpus, and is {header}"
    )]
    NoColumn { line: usize, what: &'static str, header: String },
    #[error("line {line}: {found} fields, where the header has {expected}")]
    Fields { line: usize, found: usize, expected: usize },
    #[error("line {line}: {what} is {found}, and should be {expected}")]
    Field { line: usize, what: &'static str, found: String, expected: &'static str },
    #[error("the trace has more than {MAX_JOBS} jobs; give a part of it")]
    TooLong,
    #[error("the trace has a header and no job")]
    NoJob,
}

/// Reads a trace with a header, its jobs in the order of the file. Times may have fractions, which are rounded; a job without
/// a GPU or a second is taken as it is.
///
/// # Errors
/// More than [`MAX_BYTES`] or [`MAX_JOBS`], what is no UTF-8, a header without the three columns, and rows that are not numbers.
pub fn read(bytes: &[u8]) -> Result<Vec<TraceJob>, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    let text = utf8(bytes)?;
    let mut lines =
        text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    let (header, line) = lines.next().ok_or(Error::Empty)?;
    let names: Vec<String> = header.split(',').map(plain).collect();
    let column = |what, known: &[&str]| {
        let at = names.iter().position(|name| known.contains(&name.as_str()));
        at.ok_or_else(|| Error::NoColumn { line, what, header: short(header) })
    };
    let submitted = column("the time of submission", &SUBMITTED)?;
    let duration = column("the duration", &DURATION)?;
    let gpus = column("the number of GPUs", &GPUS)?;
    let mut jobs = Vec::new();
    for (text, line) in lines {
        let row: Vec<&str> = text.split(',').map(|field| field.trim().trim_matches('"')).collect();
        if row.len() != names.len() {
            return Err(Error::Fields { line, found: row.len(), expected: names.len() });
        }
        if jobs.len() == MAX_JOBS {
            return Err(Error::TooLong);
        }
        jobs.push(TraceJob {
            submitted: seconds(row[submitted], line, "the time of submission")?,
            duration: seconds(row[duration], line, "the duration")?,
            gpus: count(row[gpus], line)?,
        });
    }
    if jobs.is_empty() { Err(Error::NoJob) } else { Ok(jobs) }
}

fn seconds(field: &str, line: usize, what: &'static str) -> Result<u64, Error> {
    let expected = "a number of seconds, from 0 to 10000000000";
    let wrong = || Error::Field { line, what, found: short(field), expected };
    let seconds: f64 = field.parse().map_err(|_| wrong())?;
    // A float of this range is a whole number once it is rounded.
    if (0.0..=MAX_SECONDS).contains(&seconds) { Ok(seconds.round() as u64) } else { Err(wrong()) }
}

fn count(field: &str, line: usize) -> Result<u32, Error> {
    let gpus: Option<u32> = field.parse().ok().filter(|gpus| *gpus <= MAX_GPUS);
    gpus.ok_or_else(|| Error::Field {
        line,
        what: "the number of GPUs",
        found: short(field),
        expected: "a whole number, from 0 to 1048576",
    })
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// As much of a stranger's text as belongs in a message.
fn short(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(60).collect();
    if text.is_empty() { "empty".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_known_by_their_names_in_any_order() {
        let job = TraceJob { submitted: 1_932_025, duration: 2_429, gpus: 64 };
        let elasticflow = "job_id,submission_time,duration,num_gpu\n965d744f,1932025,2429,64\n";
        let other = "\u{feff}# of June\nGPUs, Duration ,job,submitted_at\n\n64,2428.6,\"a\",1932025.0\r\n";
        assert_eq!(read(elasticflow.as_bytes()), Ok(vec![job]));
        assert_eq!(read(other.as_bytes()), Ok(vec![job]));
    }

    #[test]
    fn a_wrong_line_is_named_with_what_should_stand_there() {
        let said = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        let header = "job,submitted_at,duration,gpus\n";
        assert_eq!(said(""), "the trace is empty; its first line should be job,submitted_at,duration,gpus");
        assert_eq!(
            said("a,b\n1,2\n"),
            "line 1: no column has the time of submission; the header should be job,submitted_at,duration,gpus, and is a,b"
        );
        assert_eq!(said(header), "the trace has a header and no job");
        assert_eq!(said(&format!("{header}a,1,2\n")), "line 2: 3 fields, where the header has 4");
        assert_eq!(
            said(&format!("{header}a,1,2,8\nb,1,-2,8\n")),
            "line 3: the duration is -2, and should be a number of seconds, from 0 to 10000000000"
        );
        for wrong in ["nan", "inf", "1e300", "", "x"] {
            assert!(said(&format!("{header}a,{wrong},2,8\n")).contains("line 2: the time of submission is"));
        }
        for wrong in ["-1", "1.5", "99999999999", "\u{1}"] {
            assert!(said(&format!("{header}a,1,2,{wrong}\n")).contains("line 2: the number of GPUs is"));
        }
    }

    #[test]
    fn a_trace_of_too_many_jobs_or_bytes_is_refused() {
        let mut text = String::from("job,submitted_at,duration,gpus\n");
        text.extend(std::iter::repeat_n("a,1,1,1\n", MAX_JOBS + 1));
        assert_eq!(read(text.as_bytes()), Err(Error::TooLong));
        assert!(matches!(read(&vec![b'a'; MAX_BYTES + 1]), Err(Error::TooLarge(_))));
    }
}
