//! From paths to a view.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, bail};
use phalanx_common::text::chain;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::Machine;
use phalanx_common::topology::{Evidence, Finding, Problem, Severity, Snapshot};
use phalanx_formats::csv;
use phalanx_formats::dir::Dir;
use phalanx_formats::kind::Kind;
use phalanx_formats::sysfs;

use super::copies;
use super::files::{self, Below};
use super::plain;
use super::read::{self, File, Read};
use super::told::Told;
use super::view::{View, Witnesses};

/// Files that are wrong, of which people are told.
const MOST_NOT_TAKEN: usize = 20;
/// Characters of a file's name, and of what is wrong with it: an error may have a text of the file in it.
const LONGEST_WHY: usize = 1_000;

/// A view, and what is to be said about the files.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) view: View,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
    /// Files of folders that are of no kind that is read.
    pub(crate) skipped: Vec<PathBuf>,
}

/// Reads files and folders, `-` for standard input, and makes one cluster of them.
///
/// A file that is named has to be readable; one in a folder that is not is left out and named.
pub(crate) fn load(paths: &[PathBuf], now: Timestamp) -> anyhow::Result<Loaded> {
    Pile::of(paths, now)?.finish(paths)
}

/// Files that are not taken, each with what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(file, why)| format!("{file}: {why}")).collect::<Vec<_>>().join("; "))]
pub(crate) struct NotTaken(Vec<(String, String)>);

impl NotTaken {
    /// For whoever looks at the topology: bounded, without what a terminal would obey.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let bounded = |text: &str| plain::text(text).chars().take(LONGEST_WHY).collect::<String>();
        let finding = |file: &str, why: &str| Finding {
            severity: Severity::Warning,
            subject: bounded(file),
            problem: Problem::NotTaken { why: bounded(why) },
        };
        let mut found: Vec<Finding> =
            self.0.iter().take(MOST_NOT_TAKEN).map(|(file, why)| finding(file, why)).collect();
        if let Some(more) = self.0.len().checked_sub(MOST_NOT_TAKEN).filter(|more| *more > 0) {
            found.push(finding("--topology", &format!("so it is with {more} files more")));
        }
        found
    }
}

/// What files and folders tell of networks alone, and what is to be said about them. A node tells of its own machine.
///
/// # Errors
/// Every file that is wrong. One of a folder is enough: without it the others would say something else.
pub(crate) fn evidence(paths: &[PathBuf], now: Timestamp) -> Result<(Vec<Evidence>, Vec<String>), NotTaken> {
    let mut pile = Pile { now, ..Pile::default() };
    let mut wrong = Vec::new();
    for path in paths {
        if let Err(error) = pile.add_path(path) {
            let (file, why) = (path.display().to_string(), chain(error.as_ref()));
            let why = why.strip_prefix(&format!("{file}: ")).unwrap_or(&why).to_owned();
            wrong.push((file, why));
        }
    }
    wrong.extend(pile.left_out);
    let other = |origin: String, kind: &str| {
        let why = format!(
            "it is {kind}; a coordinator takes files about networks, and nodes tell of their machines"
        );
        (origin, why)
    };
    wrong.extend(pile.told.into_iter().map(|told| other(told.origin, &told.source)));
    wrong.extend(pile.snapshots.into_iter().map(|it| other(it.origin, &Kind::Snapshot.to_string())));
    if wrong.is_empty() { Ok((pile.evidence, pile.warnings)) } else { Err(NotTaken(wrong)) }
}

/// A whole topology of a file.
struct Saved {
    origin: String,
    snapshot: Snapshot<Machine>,
    witnesses: Option<Witnesses>,
}

/// What was read so far.
#[derive(Default)]
struct Pile {
    now: Timestamp,
    evidence: Vec<Evidence>,
    /// By name, then in the order of kinds, in which they are merged whatever the order of files.
    machines: BTreeMap<String, BTreeMap<Kind, Machine>>,
    snapshots: Vec<Saved>,
    told: Vec<Told>,
    seen: BTreeSet<PathBuf>,
    warnings: Vec<String>,
    /// Files that describe a machine that another of the same kind describes, by the machine's name and that kind.
    copies: BTreeMap<(String, Kind), Vec<String>>,
    /// Files of folders that are of a known kind, and what is wrong with them.
    left_out: Vec<(String, String)>,
    skipped: Vec<PathBuf>,
    files: usize,
}

impl Pile {
    fn of(paths: &[PathBuf], now: Timestamp) -> anyhow::Result<Pile> {
        let mut pile = Pile { now, ..Pile::default() };
        for path in paths {
            let (files, left_out) = (pile.files, pile.left_out.len());
            pile.add_path(path)?;
            let wrong = &pile.left_out[left_out..];
            if pile.files == files && !wrong.is_empty() {
                let told = wrong.iter().take(MOST_NOT_TAKEN).map(|(file, why)| format!("{file}: {why}"));
                let more = wrong.len().saturating_sub(MOST_NOT_TAKEN);
                let more = (more > 0).then(|| format!("so it is with {more} files more"));
                let told: Vec<String> = told.chain(more).collect();
                bail!("{}: none of its files can be read: {}", path.display(), told.join("; "));
            }
        }
        Ok(pile)
    }

    fn add_path(&mut self, path: &Path) -> anyhow::Result<()> {
        if path == Path::new("-") {
            let bytes = files::standard_input().context("cannot read standard input")?;
            let added = self.add(Path::new("standard-input"), &bytes, self.now);
            added.map_err(anyhow::Error::from).context("standard input")
        } else if fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.is_dir() {
            self.add_folder(path)
        } else {
            let added = self.add_file(path).map_err(anyhow::Error::from);
            added.with_context(|| path.display().to_string())
        }
    }

    fn add_folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let (before, left_out) = (self.files, self.left_out.len());
        let Below { files: found, machines } = files::below(folder)?;
        if found.is_empty() && machines.is_empty() {
            bail!("{}: the folder has no files", folder.display());
        }
        for (path, tree) in &machines {
            self.add_tree(path, tree);
        }
        for path in &found {
            match self.add_file(path) {
                Ok(()) => {}
                Err(wrong) if wrong.is_of_no_kind() => self.skipped.push(path.clone()),
                Err(wrong) => {
                    self.left_out.push((path.display().to_string(), chain(wrong.error.as_ref())));
                }
            }
        }
        if self.files == before && self.left_out.len() == left_out {
            bail!(
                "{}: none of its files, {} in all, is of a kind that is read; known are {}",
                folder.display(),
                found.len(),
                read::known()
            );
        }
        Ok(())
    }

    fn add_tree(&mut self, path: &Path, tree: &Dir) {
        let reading = sysfs::read_all(tree);
        let origin = path.display().to_string();
        self.warnings.extend(reading.problems.iter().map(|problem| format!("{origin}: {problem}")));
        let stem = path.file_name().map_or_else(|| "this-machine".into(), |name| name.to_string_lossy());
        let file = File { bytes: &[], origin: &origin, stem: &stem, at: self.now };
        self.files += 1;
        self.add_machine(Kind::Sysfs, reading.machine, &file);
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Wrong> {
        let same = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if !self.seen.insert(same) {
            return Ok(());
        }
        let about = fs::metadata(path).map_err(|error| Wrong { kind: None, error: error.into() })?;
        if !about.is_file() {
            return Err(Wrong { kind: None, error: anyhow::anyhow!("it is neither a file nor a folder") });
        }
        let since = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let at = since.and_then(|since| u64::try_from(since.as_micros()).ok()).map_or(self.now, Timestamp);
        let bytes = files::content(path).map_err(|error| Wrong { kind: None, error: error.into() })?;
        self.add(path, &bytes, at.min(self.now))
    }

    fn add(&mut self, path: &Path, bytes: &[u8], at: Timestamp) -> Result<(), Wrong> {
        let kind = read::kind(bytes).map_err(|error| Wrong { kind: None, error })?;
        let origin = path.display().to_string();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default();
        let file = File { bytes, origin: &origin, stem, at };
        let read = read::read(kind, &file)
            .with_context(|| format!("it looks like {kind}"))
            .map_err(|error| Wrong { kind: Some(kind), error })?;
        self.files += 1;
        match read {
            Read::Evidence(evidence, note) => {
                let note = note
                    .or_else(|| evidence.is_empty().then(|| "nothing in it says where anything is".into()));
                self.warnings.extend(note.map(|note| format!("{origin}: {note}")));
                // What was recorded is looked at as of when it was recorded.
                self.evidence.extend(evidence.into_iter().map(|by| Evidence { expires: None, ..by }));
            }
            Read::Machine(machine, note) => {
                self.warnings.extend(note.map(|note| format!("{origin}: {note}")));
                self.add_machine(kind, *machine, &file);
            }
            Read::Snapshot(snapshot, witnesses) => {
                if witnesses.is_none() {
                    self.warnings.push(format!(
                        "{origin}: it was written without what was found in machines and who told of what: `check` looks at networks and at kinds of machines alone"
                    ));
                }
                self.snapshots.push(Saved { origin, snapshot: *snapshot, witnesses });
            }
        }
        Ok(())
    }

    /// Several files about one machine are one; two of one kind are two machines, unless they are copies.
    fn add_machine(&mut self, kind: Kind, machine: Machine, file: &File<'_>) {
        let host = machine.host.clone().filter(|host| !host.is_empty());
        let mut name = host.unwrap_or_else(|| plain::text(file.stem));
        let is_free = |name: &String| !self.machines.get(name).is_some_and(|kinds| kinds.contains_key(&kind));
        let same = self.machines.get(&name).and_then(|kinds| kinds.get(&kind));
        if same.is_some_and(|known| copies::is_copy(known, &machine)) {
            self.copies.entry((name, kind)).or_default().push(file.origin.to_string());
            return;
        }
        if !is_free(&name) {
            // Folders are often named after the machines that their files are of.
            let folder = Path::new(file.origin).parent().and_then(Path::file_name);
            let folder = folder.map(|folder| plain::text(&folder.to_string_lossy()));
            let others = [plain::text(file.stem)].into_iter().chain(folder);
            let numbered = (2..).map(|number| format!("{name}.{number}"));
            let other = others.chain(numbered).find(is_free).unwrap_or_default();
            self.warnings.push(format!(
                "{}: another machine is called {name}; this one is shown as {other}",
                file.origin
            ));
            name = other;
        }
        self.told.push(Told {
            source: kind.to_string(),
            origin: file.origin.to_string(),
            observed_at: file.at,
            claims: 1,
            about: BTreeSet::from([name.clone()]),
        });
        self.machines.entry(name).or_default().insert(kind, machine);
    }

    fn finish(mut self, paths: &[PathBuf]) -> anyhow::Result<Loaded> {
        let skipped = self.skipped;
        let left_out = self.left_out.into_iter().map(|(file, why)| format!("{file} is left out: {why}"));
        let first = |name: &str, kind: &Kind| {
            let source = kind.to_string();
            self.told.iter().find(|told| told.about.contains(name) && told.source == source)
        };
        let copies = self.copies.iter().filter_map(|((name, kind), others)| {
            Some(copies::told(name, &first(name, kind)?.origin, others))
        });
        let warnings = left_out.chain(self.warnings).chain(copies).collect();
        let others = !self.evidence.is_empty() || !self.machines.is_empty();
        let view = match self.snapshots.len() {
            0 => {
                let whole =
                    |of: BTreeMap<Kind, Machine>| of.into_values().reduce(Machine::merge).unwrap_or_default();
                let machines = self.machines.into_iter().map(|(name, of)| (name, whole(of))).collect();
                View::derive(&self.evidence, machines, self.told, self.now)?
            }
            1 if !others => {
                let Saved { snapshot, witnesses, .. } = self.snapshots.remove(0);
                View::of_snapshot(snapshot, witnesses)
            }
            _ => bail!(
                "{}: a snapshot has what was derived already, and who said it is gone: it stands alone. Name it alone, or the files that it was made of together with the others",
                self.snapshots[0].origin
            ),
        };
        if view.network().nodes.is_empty() && view.network().switches.is_empty() {
            let named: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            bail!("{}: nothing in it tells of a node or a switch", named.join(", "));
        }
        Ok(Loaded { view, warnings, skipped })
    }
}

/// Why a file was not taken.
struct Wrong {
    /// What it looked like; `None` for nothing that is known.
    kind: Option<Kind>,
    error: anyhow::Error,
}

impl From<Wrong> for anyhow::Error {
    fn from(wrong: Wrong) -> anyhow::Error {
        wrong.error
    }
}

impl Wrong {
    fn is_of_no_kind(&self) -> bool {
        match self.kind {
            None => self.error.downcast_ref::<std::io::Error>().is_none(),
            // A text with a comma in its first line may be anything, until the columns tell.
            Some(Kind::Csv) => matches!(
                self.error.downcast_ref::<csv::Error>(),
                Some(csv::Error::NoNode | csv::Error::NoSwitch)
            ),
            Some(_) => false,
        }
    }
}
