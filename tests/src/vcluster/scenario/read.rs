//! The text of a scenario file.

use std::time::Duration;

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::{Flags, JobFile, JobSpec, Surroundings};

use super::deeds::{self, Cast};
use super::{Happens, Scenario, Unreadable, happen};
use crate::vcluster::script::{RankScript, Scripts};

/// The one job of a scenario.
pub(super) fn job_id() -> JobId {
    JobId::from_existing("job-1")
}

/// How long everybody runs of whom nothing is said.
pub(super) const RUNS: Duration = Duration::from_secs(30);

/// What is wrong with a line.
pub(super) type Wrong = String;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Sentence,
    None,
    Job,
    Ranks,
    Happens,
}

impl Scenario {
    /// Reads a file. `name` begins every message.
    ///
    /// # Errors
    /// The first line that makes no sense.
    pub fn read(name: &str, text: &str) -> Result<Scenario, Unreadable> {
        let at = |line: usize, what: String| Unreadable { file: name.to_owned(), line, what };
        let (setting, told) = match text.split_once("\n---\n") {
            Some((setting, told)) => (format!("{setting}\n"), told.to_owned()),
            None => (text.trim_end().trim_end_matches("---").trim_end().to_owned() + "\n", String::new()),
        };
        let (mut part, mut nodes, mut leaves, mut gpus) = (Part::Sentence, Vec::new(), Vec::new(), 0);
        // Of the job's lines only, so that what is wrong there is told with its line.
        let mut job = String::new();
        let (mut cast, mut happens) = (Vec::new(), Vec::new());
        for (index, line) in setting.lines().enumerate() {
            let number = index + 1;
            let indented = line.strip_prefix("  ");
            job.push_str(indented.filter(|_| part == Part::Job).unwrap_or_default());
            job.push('\n');
            part = match (line, indented, part) {
                ("", _, Part::Sentence) if index > 0 => Part::None,
                ("", ..) | (_, Some(_), Part::Job) | (_, None, Part::Sentence) => part,
                ("job:", None, _) => Part::Job,
                ("ranks:", None, _) => Part::Ranks,
                ("happens:", None, _) => Part::Happens,
                (_, Some(deed), Part::Ranks) => {
                    cast.push((number, Cast::read(deed).map_err(|what| at(number, what))?));
                    part
                }
                (_, Some(event), Part::Happens) => {
                    happens.push(happens_line(event).map_err(|what| at(number, what))?);
                    part
                }
                _ => {
                    if let Some(words) = line.strip_prefix("nodes: ") {
                        (nodes, gpus) = nodes_line(words).map_err(|what| at(number, what))?;
                    } else if let Some(words) = line.strip_prefix("leaves: ") {
                        leaves = leaves_line(words, &nodes).map_err(|what| at(number, what))?;
                    } else {
                        return Err(at(number, format!("this belongs to no part: {line:?}")));
                    }
                    Part::None
                }
            };
        }
        if nodes.is_empty() {
            return Err(at(1, "a line `nodes: a b c` is missing".to_owned()));
        }
        let job = read_job(name, &job).map_err(|what| at(1, what))?;
        let mut scripts = Scripts::default();
        scripts.set_job(&job_id(), RankScript::succeeds_after(RUNS));
        // Whoever is named alone is else like all the others.
        cast.sort_by_key(|(_, cast)| !cast.is_everybody());
        for (number, cast) in cast {
            deeds::assign(&cast, &nodes, &job, &mut scripts).map_err(|what| at(number, what))?;
        }
        happens.sort_by_key(|happens| happens.after);
        Ok(Scenario { setting, told, job, nodes, leaves, gpus, scripts, happens })
    }
}

/// `a b c`, or `a b c with 4 GPUs each`.
fn nodes_line(words: &str) -> Result<(Vec<NodeId>, u32), Wrong> {
    let (names, gpus) = match words.split_once(" with ") {
        None => (words, 0),
        Some((names, rest)) => {
            let number = rest.strip_suffix(" GPUs each").and_then(|number| number.parse().ok());
            (names, number.ok_or("say `nodes: a b with 2 GPUs each`")?)
        }
    };
    Ok((names.split_whitespace().map(NodeId::new).collect(), gpus))
}

/// `a b | c d`: the nodes under each access switch.
fn leaves_line(words: &str, nodes: &[NodeId]) -> Result<Vec<Vec<NodeId>>, Wrong> {
    let leaf = |names: &str| -> Vec<NodeId> { names.split_whitespace().map(NodeId::new).collect() };
    let leaves: Vec<Vec<NodeId>> = words.split('|').map(leaf).collect();
    match leaves.iter().flatten().find(|node| !nodes.contains(node)) {
        Some(stranger) => Err(format!("{stranger} is none of the nodes in the line before")),
        None => Ok(leaves),
    }
}

/// `at 5 s: …`
fn happens_line(line: &str) -> Result<Happens, Wrong> {
    let (after, text) = line
        .strip_prefix("at ")
        .and_then(|rest| rest.split_once(": "))
        .ok_or("say `at 5 s: …`, what happens and when")?;
    let after = time(after)?;
    Ok(Happens { after, text: text.to_owned(), what: happen::read(text)? })
}

fn read_job(name: &str, text: &str) -> Result<JobSpec, Wrong> {
    let around = Surroundings {
        cwd: "/home/ada",
        file_dir: None,
        log_dir: None,
        cluster: true,
        cpus: 8,
        gpus: &|| Ok(0),
        env: &|_| None,
    };
    let file = JobFile::parse(name, text.as_bytes()).map_err(|error| error.to_string())?;
    let file = file.overlay(&Flags::default(), &around).map_err(|error| error.to_string())?;
    file.resolve(&around).map_err(|error| error.to_string())
}

/// Words, a number and its unit of time being one.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut().filter(|last| last.parse::<f64>().is_ok()) {
            Some(number) if matches!(word, "ms" | "s" | "min" | "h") => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// `5 s`, with one of four units.
pub(super) fn time(text: &str) -> Result<Duration, Wrong> {
    let wrong = || format!("{text:?} is no time; say `500 ms`, `5 s`, `2 min` or `1 h`");
    let (number, unit) = text.split_once(' ').ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs_f64(number * unit))
}

pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, Wrong> {
    text.parse().map_err(|_| format!("{text:?} is no number that fits here"))
}
