//! An `exec` probe or hook: a process beside its rank, with the rank's environment, directory, user and cores.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{MAX_MESSAGE, Question, last_of};
use phalanx_common::spec::{Hook, MemoryBinding, ProbeHandler};
use phalanx_worker_core::prober::Answer;
use phalanx_worker_core::shim::{ShimPlan, ShimRank};

use super::questions::Key;
use crate::shim::bound;
use crate::shim::cgroup::Cgroup;
use crate::shim::command::Lookup;
use crate::shim::environ::{Inherited, Overlay, arguments, c_string, null_terminated};
use crate::shim::fork::{self, Image};
use crate::shim::limits::OpenFiles;
use crate::shim::refusal::Refusal;
use crate::shim::tree::{self, signal_found, signal_group};

/// In the environment of each process of a probe: what it leaves behind is found by it.
const MARK: &str = "PHALANX_PROBE";
/// Bytes of output that are kept; the last ones say why.
const KEPT: usize = 2 * MAX_MESSAGE;

/// What all `exec` probes and hooks of a pod need.
pub(in crate::shim) struct Kit {
    env: Vec<(String, String)>,
    /// Whom they are about.
    ranks: Vec<ShimRank>,
    memory: MemoryBinding,
    working_dir: Option<CString>,
    inherited: Inherited,
    open_files: libc::rlimit,
    /// Reads as the byte that releases a held process.
    zero: File,
    commands: BTreeMap<Key, Program>,
    started: u64,
}

struct Program {
    path: CString,
    argv: Rc<Vec<CString>>,
}

/// Something that is asked of one rank by a program.
pub(in crate::shim) struct Asked<'a> {
    pub(in crate::shim) key: Key,
    pub(in crate::shim) command: &'a [String],
}

/// What asks by a program, and its command.
fn asked_by_program(plan: &ShimPlan) -> impl Iterator<Item = (Question, &[String])> {
    let probes = plan.probes.iter().filter_map(|(kind, probe)| match &probe.handler {
        ProbeHandler::Exec { command } => Some((kind.into(), command.as_slice())),
        _ => None,
    });
    let hooks = [(Question::PostStart, &plan.post_start), (Question::PreStop, &plan.pre_stop)];
    let hooks = hooks.into_iter().filter_map(|(question, hook)| match hook {
        Some(Hook::Exec { command }) => Some((question, command.as_slice())),
        _ => None,
    });
    probes.chain(hooks)
}

/// A probe or a hook that runs.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) pid: i32,
    pipe: File,
    output: Vec<u8>,
    mark: String,
}

impl Kit {
    /// What asks the ranks of a plan; `None`: nothing does by a program.
    pub(super) fn prepare(
        plan: &ShimPlan,
        inherited: &Inherited,
        files: &OpenFiles,
    ) -> Result<Option<Kit>, Refusal> {
        let asked: Vec<(Question, &[String])> = asked_by_program(plan).collect();
        let ranks = 0..plan.ranks.len();
        let asked = ranks.flat_map(|index| {
            asked.iter().map(move |(question, command)| Asked { key: (index, *question), command })
        });
        Kit::of(plan, plan.ranks.clone(), asked.collect(), (inherited, files))
    }

    /// The same for whatever `ranks` are: finds the programs as each would.
    pub(in crate::shim) fn of(
        plan: &ShimPlan,
        ranks: Vec<ShimRank>,
        asked: Vec<Asked<'_>>,
        (inherited, files): (&Inherited, &OpenFiles),
    ) -> Result<Option<Kit>, Refusal> {
        if asked.is_empty() {
            return Ok(None);
        }
        let working_dir = Path::new(plan.working_dir.as_deref().unwrap_or("."));
        let mut commands = BTreeMap::new();
        let mut argvs: BTreeMap<&[String], Rc<Vec<CString>>> = BTreeMap::new();
        let mut found: BTreeMap<(&str, Option<OsString>), CString> = BTreeMap::new();
        for Asked { key, command } in asked {
            let refuse = |why: Refusal| Refusal::Probe { probe: key.1, why: Box::new(why) };
            let (Some(program), Some(rank)) = (command.first(), ranks.get(key.0)) else {
                return Err(refuse(Refusal::NoCommand));
            };
            let overlay = Overlay::new(&plan.env, rank)?;
            let path = overlay.value(inherited, "PATH");
            // Ranks mostly share one PATH, and one search.
            let known = (program.as_str(), path.map(ToOwned::to_owned));
            let path = match found.get(&known) {
                Some(path) => path.clone(),
                None => {
                    let far = plan.lease.is_some();
                    let path = Lookup { working_dir, path, far }.resolve(program).map_err(refuse)?;
                    let path = c_string(path)?;
                    found.insert(known, path.clone());
                    path
                }
            };
            let argv = match argvs.get(command) {
                Some(argv) => Rc::clone(argv),
                None => Rc::clone(argvs.entry(command).or_insert(Rc::new(arguments(command)?))),
            };
            commands.insert(key, Program { path, argv });
        }
        let zero = File::open("/dev/zero").map_err(|error| Refusal::Start {
            rank: plan.ranks.first().map_or(0, |rank| rank.rank.0),
            what: "/dev/zero for its probes",
            error,
        })?;
        Ok(Some(Kit {
            env: plan.env.clone(),
            ranks,
            memory: plan.memory,
            working_dir: plan.working_dir.as_deref().map(c_string).transpose()?,
            inherited: Inherited::new(&plan.remove_env),
            open_files: files.of_ranks(),
            zero,
            commands,
            started: 0,
        }))
    }

    /// The rank is another process, with an environment of its own.
    pub(super) fn renew(&mut self, index: usize, rank: &ShimRank) {
        if let Some(known) = self.ranks.get_mut(index) {
            known.clone_from(rank);
        }
    }

    /// Starts the program of this question beside the rank.
    pub(super) fn start(&mut self, key: Key, cgroup: Option<&Cgroup>) -> io::Result<Exec> {
        let none = || io::Error::from_raw_os_error(libc::EINVAL);
        let (index, _) = key;
        let (rank, program) = self.ranks.get(index).zip(self.commands.get(&key)).ok_or_else(none)?;
        self.started += 1;
        let mark = format!("{}-{}", std::process::id(), self.started);
        let mut marked = rank.clone();
        marked.env.push((MARK.to_owned(), mark.clone()));
        let overlay = Overlay::new(&self.env, &marked).map_err(|_| none())?;
        let envp = overlay.envp(&self.inherited);
        let argv = null_terminated(program.argv.iter().map(CString::as_c_str));
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let image = Image {
            index: index as u32,
            path: &program.path,
            argv: &argv,
            envp: &envp,
            working_dir: self.working_dir.as_deref(),
            stdout: write.as_raw_fd(),
            stderr: write.as_raw_fd(),
            hold_read: self.zero.as_raw_fd(),
            hold_write: -1,
            errors: -1,
            open_files: self.open_files,
            bound: bound::of(rank, self.memory),
        };
        let pid = match cgroup {
            Some(cgroup) => fork::rank(&image, Some(cgroup.as_fd())).or_else(|_| fork::rank(&image, None)),
            None => fork::rank(&image, None),
        }?;
        Ok(Exec { pid, pipe: File::from(read), output: Vec::new(), mark })
    }
}

impl Exec {
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Reads what it wrote; false at the end.
    pub(super) fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.pipe.read(&mut bytes) {
                Ok(0) => return false,
                Ok(got) => {
                    self.output.extend_from_slice(&bytes[..got]);
                    let over = self.output.len().saturating_sub(KEPT);
                    self.output.drain(..over);
                    // One buffer each turn: a probe may write without end.
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Ends it, and all that it started.
    pub(super) fn kill(&self) {
        let below = tree::descendants(self.pid, None);
        signal_group(self.pid, Signal::SIGKILL);
        below.iter().for_each(|process| signal_found(process, Signal::SIGKILL));
        tree::kill_adopted(&self.entry(), &[]);
    }

    fn entry(&self) -> String {
        format!("{MARK}={}", self.mark)
    }

    /// It has ended: what it left behind ends too, and this is what it found.
    pub(super) fn finish(mut self, status: ExitStatus, known: &[i32]) -> Answer {
        self.read();
        tree::kill_adopted(&self.entry(), known);
        match status {
            ExitStatus::Code(0) => Answer::Good,
            status => Answer::Bad(self.message(&status.to_string())),
        }
    }

    /// What to say of it, with what it wrote.
    pub(super) fn message(&self, what: &str) -> String {
        let output = String::from_utf8_lossy(&self.output);
        match output.trim() {
            "" => what.to_owned(),
            output => format!("{what}: {}", last_of(output, MAX_MESSAGE - what.len() - 2)),
        }
    }
}
