//! Finding the program as the kernel will, so that 126 and 127 are known before anything starts.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};

use super::refusal::{Refusal, is_missing, shown};

/// Where execvp looks when the environment has no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// The kernel reads this much of a file to find its `#!` line.
const FIRST_LINE: usize = 256;
/// A script's interpreter may be a script; the kernel gives up after this many.
const NESTING: u32 = 4;

/// Where a rank will stand when it executes its program.
pub(super) struct Lookup<'a> {
    /// `.` is the shim's own directory.
    pub(super) working_dir: &'a Path,
    /// The rank's PATH.
    pub(super) path: Option<&'a OsStr>,
    /// The job came from another host: its PATH is this node's.
    pub(super) far: bool,
}

/// What to do where a user's own PATH would have had the command.
const PATH_STAYS: &str =
    "your PATH does not travel: activate the environment that has it, pass --env PATH, or name the full path";

impl Lookup<'_> {
    /// The path to hand to execve after the change of directory.
    pub(super) fn resolve(&self, command: &str) -> Result<PathBuf, Refusal> {
        if command.is_empty() {
            return Err(Refusal::NoCommand);
        }
        if command.contains('/') {
            let found = PathBuf::from(command);
            self.check(&found, command)?;
            return Ok(found);
        }
        let found = self.search(command)?;
        let full = self.working_dir.join(&found);
        self.check_format(&full, command, NESTING)?;
        Ok(found)
    }

    fn path(&self) -> &OsStr {
        self.path.unwrap_or(OsStr::new(DEFAULT_PATH))
    }

    fn search(&self, name: &str) -> Result<PathBuf, Refusal> {
        let mut denied = None;
        for dir in std::env::split_paths(self.path()) {
            // An empty entry is the working directory.
            let candidate =
                if dir.as_os_str().is_empty() { Path::new(".").join(name) } else { dir.join(name) };
            let full = self.working_dir.join(&candidate);
            match fs::metadata(&full) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => match executable(&full) {
                    Ok(()) => return Ok(candidate),
                    Err(error) => denied = denied.or(Some((full, error))),
                },
                Err(_) => {}
            }
        }
        if let Some((path, error)) = denied {
            let hint = self.hint(name, &path);
            return Err(Refusal::NotExecutable { path, error, hint });
        }
        let far = self.far.then(|| PATH_STAYS.to_owned());
        let hint = self.hint(name, &self.working_dir.join(name)).or(far);
        let path = self.path().to_string_lossy().into_owned();
        Err(Refusal::NotInPath { name: name.to_string(), path, hint })
    }

    fn check(&self, found: &Path, typed: &str) -> Result<(), Refusal> {
        let full = self.working_dir.join(found);
        let path = shown(&full);
        let meta = match fs::metadata(&full) {
            Ok(meta) => meta,
            Err(error) => return Err(Refusal::NoSuchCommand { path, error, hint: None }),
        };
        let hint = || self.hint(typed, &full);
        if meta.is_dir() {
            return Err(Refusal::IsDirectory { path, hint: hint() });
        }
        if meta.file_type().is_fifo() || meta.file_type().is_socket() {
            return Err(Refusal::NoFormat { path, hint: hint() });
        }
        if let Err(error) = executable(&full) {
            return Err(Refusal::NotExecutable { path, error, hint: hint() });
        }
        self.check_format(&full, typed, NESTING)
    }

    /// Follows `#!` lines down to a binary.
    fn check_format(&self, file: &Path, typed: &str, depth: u32) -> Result<(), Refusal> {
        // A program that may be executed and not read is fine.
        let Ok(start) = read_start(file) else { return Ok(()) };
        if start.starts_with(b"\x7fELF") {
            return Ok(());
        }
        let Some(line) = start.strip_prefix(b"#!") else {
            if has_other_formats() {
                return Ok(());
            }
            return Err(Refusal::NoFormat { path: shown(file), hint: self.hint(typed, file) });
        };
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let line = line.trim_matches([' ', '\t']);
        let (interpreter, argument) = match line.split_once([' ', '\t']) {
            Some((interpreter, argument)) => (interpreter, argument.trim_matches([' ', '\t'])),
            None => (line, ""),
        };
        if interpreter.is_empty() {
            return Err(Refusal::NoFormat { path: shown(file), hint: self.hint(typed, file) });
        }
        let full = self.working_dir.join(interpreter);
        let refuse = |error: io::Error, interpreter: &str| {
            let (script, interpreter) = (shown(file), interpreter.to_string());
            if !is_missing(&error) {
                Refusal::InterpreterNotExecutable { script, interpreter, error }
            } else if interpreter.ends_with('\r') {
                Refusal::CarriageReturn { script, interpreter }
            } else {
                Refusal::NoInterpreter { script, interpreter }
            }
        };
        match fs::metadata(&full) {
            Ok(meta) if meta.is_dir() => {
                return Err(refuse(io::Error::from_raw_os_error(libc::EISDIR), interpreter));
            }
            Ok(_) => executable(&full).map_err(|error| refuse(error, interpreter))?,
            Err(error) => return Err(refuse(error, interpreter)),
        }
        if full.file_name() == Some(OsStr::new("env"))
            && let Some(program) = env_program(argument)
            && self.search(program).is_err()
        {
            return Err(refuse(io::Error::from_raw_os_error(libc::ENOENT), program));
        }
        if depth == 0 { Ok(()) } else { self.check_format(&full, interpreter, depth - 1) }
    }

    /// What the user most likely meant.
    fn hint(&self, typed: &str, file: &Path) -> Option<String> {
        let meta = fs::metadata(file).ok()?;
        if meta.is_dir() {
            return fs::exists(file.join("__main__.py"))
                .unwrap_or(false)
                .then(|| format!("a Python package runs as `python {typed}`"));
        }
        if file.extension() == Some(OsStr::new("py")) {
            return Some(format!("a Python script runs as `python {typed}`"));
        }
        if executable(file).is_err() {
            return Some(format!("make it executable with `chmod +x {typed}`"));
        }
        if typed.contains('/') || file != self.working_dir.join(typed) {
            return Some("name its interpreter before it, or in a #! line".to_string());
        }
        Some(format!("did you mean `./{typed}`?"))
    }
}

/// The program that `env` will look for, in the plain case.
fn env_program(argument: &str) -> Option<&str> {
    let argument = match argument.strip_prefix("-S") {
        Some(rest) => rest.split_ascii_whitespace().next()?,
        None => argument,
    };
    let plain = !argument.is_empty()
        && !argument.starts_with('-')
        && !argument.contains(['=', '/', ' ', '\'', '"', '$']);
    plain.then_some(argument)
}

fn executable(path: &Path) -> io::Result<()> {
    faccessat(nix::fcntl::AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS).map_err(io::Error::from)
}

fn read_start(file: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(FIRST_LINE);
    File::open(file)?.take(FIRST_LINE as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// The administrator registered formats that only exec can judge.
fn has_other_formats() -> bool {
    fs::read_dir("/proc/sys/fs/binfmt_misc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| !matches!(entry.file_name().as_bytes(), b"register" | b"status"))
}
