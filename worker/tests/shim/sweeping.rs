//! Pods that lost launcher, shim and guardian at once: the next command finds and ends them.

use std::fs;
use std::path::Path;

use phalanx_common::id::JobId;
use phalanx_worker::sweep::{self, Error};

use crate::support::{
    Scratch, Shim, eventually, guardian_of, is_alive, is_root, kill, line_in, marked, nothing_left, shell,
    skipped,
};

#[test]
fn what_survives_the_death_of_all_its_owners_is_found_by_name_and_ended() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "setsid sleep 1000 & echo up > \"$0\"; wait");
    plan.command.push(scratch.path("up"));
    let base = scratch.path("base");
    let base = Path::new(&base);
    assert_eq!(sweep::find_stale(base).unwrap(), [], "a base that does not exist has no leftovers");
    let mut shim = Shim::started(&plan);
    line_in(&scratch.path("up"));
    assert_eq!(sweep::find_stale(base).unwrap(), [], "a pod in use is not stale");
    let guardian = guardian_of(&shim);
    kill(guardian, "KILL");
    eventually("the guardian is dead", || (!is_alive(guardian)).then_some(()));
    kill(shim.process.pid(), "KILL");
    shim.wait();
    let rest = eventually("the rank died with the shim and its child has become sleep", || {
        let rest = marked(&plan);
        let is_sleep =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
        (rest.len() == 1 && is_sleep(&rest[0])).then_some(rest)
    });
    let stale = sweep::find_stale(base).unwrap();
    assert_eq!(stale.len(), 1);
    assert_eq!(stale[0].job, JobId::from_existing("test-job"));
    assert_eq!(stale[0].mark.as_deref(), Some(plan.mark.as_str()));
    assert_eq!(stale[0].processes, [(rest[0], "sleep".to_string())]);
    sweep::end(&stale[0]).unwrap();
    assert_eq!(marked(&plan), [] as [u32; 0]);
    assert!(!fs::exists(&plan.job_dir).unwrap());
    assert_eq!(sweep::find_stale(base).unwrap(), []);
}

#[test]
fn a_pod_that_is_in_use_again_is_not_ended() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "exec sleep 1000");
    let mut shim = Shim::started(&plan);
    let stale = sweep::Stale {
        job: plan.job.clone(),
        dir: plan.job_dir.clone().into(),
        mark: Some(plan.mark.clone()),
        processes: Vec::new(),
    };
    assert!(matches!(sweep::end(&stale), Err(Error::InUse { .. })));
    assert_eq!(marked(&plan).len(), 1);
    shim.stop(std::time::Duration::ZERO);
    shim.ended();
    shim.exit(true);
    nothing_left(&plan);
}

#[test]
fn what_is_no_pod_is_not_touched() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("base/somebody's")).unwrap();
    fs::write(scratch.path("base/file"), "").unwrap();
    std::os::unix::fs::symlink(scratch.path("base/file"), scratch.path("base/link")).unwrap();
    assert_eq!(sweep::find_stale(Path::new(&scratch.path("base"))).unwrap(), []);
}

#[test]
fn nothing_that_a_user_puts_into_a_pods_directory_keeps_a_worker_from_starting() {
    if !is_root() {
        return skipped("directories of another user take root");
    }
    const NOBODY: u32 = 65_534;
    let scratch = Scratch::new();
    let base = scratch.path("base");
    for job in ["directory", "link", "pipe"] {
        let dir = format!("{base}/{job}");
        fs::create_dir_all(&dir).unwrap();
        let lock = format!("{dir}/lock");
        match job {
            "directory" => fs::create_dir(&lock).unwrap(),
            "link" => std::os::unix::fs::symlink("/dev/null", &lock).unwrap(),
            _ => nix::unistd::mkfifo(Path::new(&lock), nix::sys::stat::Mode::S_IRWXU).unwrap(),
        }
        std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let ended = sweep::end_all(Path::new(&base), None).unwrap();
    assert_eq!(ended.len(), 3);
    assert_eq!(fs::read_dir(&base).unwrap().count(), 0, "the directories are gone");
}
