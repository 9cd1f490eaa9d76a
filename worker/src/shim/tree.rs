//! Finding processes: the shim's descendants, and whatever carries a pod's mark.

use std::fs;
use std::io::Read;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::sys;

/// Variable whose value marks every process of a pod.
pub(crate) const MARK: &str = "PHALANX_POD";
/// More of an environment than this is not searched; the kernel's own limit for one exec is 6 MiB.
const ENVIRON_CAP: u64 = 8 << 20;
/// How often a child whose environment is empty is looked at, and the time between two looks.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// One line of `/proc/<pid>/stat`, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// One letter as ps shows it: Z is a zombie.
    pub(crate) state: char,
    pub(crate) name: String,
    /// Clock ticks after boot; with the pid it names a process for good.
    pub(crate) started: u64,
}

impl Process {
    /// Still able to do anything: not a zombie.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Signals a process that this one will reap, so that its id cannot have gone to another.
pub(super) fn signal(pid: i32, signal: Signal) {
    // Fails if it is a zombie or gone, which is what was wanted.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Signals a process that somebody else may reap at any moment: only the very one that was found.
pub(super) fn signal_found(found: &Process, with: Signal) {
    let same = || process(found.pid).is_some_and(|now| now.started == found.started);
    match sys::pidfd_open(found.pid as u32) {
        // The pidfd holds the process; the start time says that it is the one.
        Some(pidfd) if same() => {
            let _ = sys::pidfd_kill(&pidfd, with as i32);
        }
        // Before Linux 5.3.
        None if same() => signal(found.pid, with),
        _ => {}
    }
}

/// Signals the process group of a rank that is not reaped yet.
pub(super) fn signal_group(pid: i32, signal: Signal) {
    let _ = killpg(Pid::from_raw(pid), signal);
}

/// The process with this id; `None` if it is gone.
pub(crate) fn process(pid: i32) -> Option<Process> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &[u8]) -> Option<Process> {
    let stat = String::from_utf8_lossy(stat);
    // The name may hold spaces and parentheses; the last one ends it.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Process {
        pid: pid.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        name: name.to_string(),
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Every live process below `root`, parents before children, without `except` and what is below it.
pub(crate) fn descendants(root: i32, except: Option<i32>) -> Vec<Process> {
    let scan = if fs::exists(format!("/proc/{root}/task/{root}/children")).unwrap_or(false) {
        None
    } else {
        Some(all())
    };
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = match &scan {
            Some(all) => all.iter().filter(|p| p.parent == parent).cloned().collect(),
            None => children(parent),
        };
        for child in children {
            if Some(child.pid) == except || found.iter().any(|known| known.pid == child.pid) {
                continue;
            }
            parents.push(child.pid);
            if child.is_alive() {
                found.push(child);
            }
        }
    }
    found
}

/// Children of all threads of a process.
fn children(pid: i32) -> Vec<Process> {
    let mut list = String::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        if let Ok(mut file) = fs::File::open(thread.path().join("children")) {
            let _ = file.read_to_string(&mut list);
        }
    }
    list.split_ascii_whitespace().filter_map(|pid| process(pid.parse().ok()?)).collect()
}

/// SIGKILL to the children of this process, and all below them, whose environment at exec said `entry`; `known` are not
/// looked at.
pub(super) fn kill_adopted(entry: &str, known: &[i32]) {
    let own = std::process::id() as i32;
    for child in children(own).into_iter().filter(|child| child.is_alive() && !known.contains(&child.pid)) {
        if carries(&child, entry.as_bytes()) {
            descendants(child.pid, None).iter().for_each(|process| signal_found(process, Signal::SIGKILL));
            signal_found(&child, Signal::SIGKILL);
        }
    }
}

/// Whether the environment of a child said this at its exec. In the middle of an exec it says nothing for a moment.
fn carries(child: &Process, wanted: &[u8]) -> bool {
    for _ in 0..LOOKS {
        match environ(child.pid) {
            Some(environ) if environ.is_empty() && process(child.pid).is_some_and(|now| now.is_alive()) => {
                std::thread::sleep(BETWEEN_LOOKS);
            }
            environ => return environ.is_some_and(|environ| says(&environ, wanted)),
        }
    }
    false
}

fn all() -> Vec<Process> {
    pids().filter_map(process).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Every live process whose environment at exec said `PHALANX_POD=<mark>`, but this one.
pub(crate) fn marked(mark: &str) -> Vec<Process> {
    let wanted = format!("{MARK}={mark}").into_bytes();
    let own = std::process::id() as i32;
    pids()
        .filter(|pid| *pid != own && environ_has(*pid, &wanted))
        .filter_map(process)
        .filter(Process::is_alive)
        .collect()
}

/// SIGKILL to a process that is not our child, if it still is the one that carries the mark.
pub(crate) fn kill_marked(found: &Process, mark: &str) {
    let Some(pidfd) = sys::pidfd_open(found.pid as u32) else {
        // Before Linux 5.3: the start time tells a reused id.
        if process(found.pid).is_some_and(|now| now.started == found.started) {
            signal(found.pid, Signal::SIGKILL);
        }
        return;
    };
    if environ_has(found.pid, format!("{MARK}={mark}").as_bytes()) {
        let _ = sys::pidfd_kill(&pidfd, libc::SIGKILL);
    }
}

/// Whether the environment of a process said this at its exec.
pub(super) fn environ_has(pid: i32, wanted: &[u8]) -> bool {
    environ(pid).is_some_and(|environ| says(&environ, wanted))
}

/// What it said, entry after entry; `None` of processes of other users, which cannot be read and are not ours.
fn environ(pid: i32) -> Option<Vec<u8>> {
    let mut environ = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRON_CAP).read_to_end(&mut environ).ok()?;
    Some(environ)
}

fn says(environ: &[u8], wanted: &[u8]) -> bool {
    environ.split(|byte| *byte == 0).any(|entry| entry == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_read_whole() {
        let line = b"42 (a) b (c) S 7 41 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 2 3\n";
        let process = parse_stat(line).unwrap();
        assert_eq!(
            process,
            Process { pid: 42, parent: 7, group: 41, state: 'S', name: "a) b (c".into(), started: 12345 }
        );
        assert_eq!(parse_stat(b"42 (half"), None);
    }

    #[test]
    fn this_process_is_found_in_proc_and_not_by_its_own_scan() {
        let own = process(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(marked("a mark that nobody carries").is_empty());
    }
}
