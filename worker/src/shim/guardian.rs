//! The guardian: ends what is left of the pod if the shim itself is killed.
//!
//! Ranks die with the shim (PR_SET_PDEATHSIG); what they started in sessions of their own does not.
//! So the shim, before user code runs, makes a copy of itself that does nothing but read a pipe. A
//! byte is the goodbye; end-of-file means that the shim died. The copy sends no signal when it ends,
//! so the shim's wait for children never counts it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::unistd::{pipe2, setsid};

use super::home::{self, Home};
use super::{fork, sys};
use crate::sweep;

/// What a guardian guards.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Charge {
    mark: String,
    cgroups: Vec<PathBuf>,
}

/// The shim's hold on its guardian.
#[derive(Debug)]
pub(super) struct Guardian {
    pid: i32,
    goodbye: File,
    charge: Charge,
}

impl Guardian {
    /// Starts a guardian, or keeps the one there is if it guards the same.
    pub(super) fn renew(
        old: Option<Guardian>,
        home: &Home,
        mark: &str,
        cgroups: Vec<PathBuf>,
    ) -> io::Result<Guardian> {
        let charge = Charge { mark: mark.to_string(), cgroups };
        match old {
            Some(old) if old.charge == charge => return Ok(old),
            Some(old) => old.dismiss(),
            None => {}
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let pid = fork::unseen()?;
        if pid == 0 {
            let life = AssertUnwindSafe(|| stand_by(read.as_raw_fd(), home, &charge));
            // A copy of the shim that unwound further would end what is the shim's to end.
            let Err(_) = catch_unwind(life);
            sys::exit_now();
        }
        Ok(Guardian { pid, goodbye: File::from(write), charge })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// The pod is in order.
    pub(super) fn dismiss(mut self) {
        if self.goodbye.write_all(&[1]).is_ok() {
            sys::wait_for(self.pid);
        }
    }
}

/// The guardian's whole life.
fn stand_by(pipe: i32, home: &Home, charge: &Charge) -> ! {
    // Terminal and group signals to the shim are not for us; every other is blocked since the spawn.
    let _ = setsid();
    let _ = prctl::set_name(c"phalanx-guard");
    // The lock stays held until we are done: nobody else sweeps meanwhile.
    let Ok(mut goodbye) = sys::keep_only(pipe, home.lock().as_raw_fd()) else { sys::exit_now() };
    let mut byte = [0];
    let died = loop {
        match goodbye.read(&mut byte) {
            Ok(got) => break got == 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break true,
        }
    };
    if died {
        sweep::end_marked(&charge.mark, &charge.cgroups);
        home::tidy(home.path(), home::keeps(home.keep(), true));
    }
    sys::exit_now()
}
