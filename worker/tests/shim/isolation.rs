//! What a rank inherits, and what it does not.

use std::fs;

use nix::unistd::{User, geteuid};
use phalanx_common::id::Rank;
use phalanx_worker::shim::account::Account;
use phalanx_worker::shim::spawn::{Orphans, Own, SpawnOptions, spawn};

use crate::support::{Scratch, Shim, code, command, line_in, shell, skipped, text};

#[test]
fn a_rank_has_three_descriptors_and_reads_from_dev_null() {
    let scratch = Scratch::new();
    // Without O_CLOEXEC, as a careless parent leaves them.
    let leak = nix::unistd::dup(std::io::stdin()).unwrap();
    let plan = shell(&scratch, 3, "ls /proc/$$/fd; readlink /proc/$$/fd/0; true");
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    drop(leak);
    for rank in 0..3 {
        assert_eq!(text(&plan, rank), "0\n1\n2\n/dev/null\n");
    }
    shim.exit(false);
}

#[test]
fn no_signal_is_blocked_or_ignored() {
    let scratch = Scratch::new();
    let plan = command(&scratch, 1, &["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"]);
    let mut shim = Shim::start_after(&scratch, "trap '' HUP INT USR1");
    shim.prepare(&plan);
    shim.run_to_end();
    assert_eq!(text(&plan, 0), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    shim.exit(false);
}

#[test]
fn umask_limits_and_directory_are_those_of_the_launcher() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 20, "umask; ulimit -n; ulimit -c; pwd");
    // So few files that the shim has to raise its own limit.
    let mut shim = Shim::start_after(&scratch, "umask 027; ulimit -S -n 70; ulimit -c 0; cd /usr");
    shim.prepare(&plan);
    shim.run_to_end();
    for rank in [0, 19] {
        assert_eq!(text(&plan, rank), "0027\n70\n0\n/usr\n");
    }
    shim.exit(false);
}

#[test]
fn the_working_directory_of_the_plan_holds_for_the_command_too() {
    let scratch = Scratch::new();
    let dir = scratch.path("work");
    std::fs::create_dir(&dir).unwrap();
    scratch.script("work/go", "#!/bin/sh\npwd\n");
    let mut plan = command(&scratch, 1, &["./go"]);
    plan.working_dir = Some(dir.clone());
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    assert_eq!(text(&plan, 0), format!("{dir}\n"));
    shim.exit(false);
}

#[test]
fn variables_are_inherited_byte_for_byte_removed_and_overlaid() {
    let scratch = Scratch::new();
    let script = "printf '%s' \"$ODD\" | od -An -tx1; echo $GONE.$MINE.$TWICE; env | grep -c ^MINE=";
    let mut plan = shell(&scratch, 1, script);
    plan.remove_env = vec!["GONE".into()];
    for (name, value) in [("MINE", "rank"), ("TWICE", "first"), ("TWICE", "second")] {
        plan.ranks[0].env.push((name.into(), value.into()));
    }
    let setup = "ODD=$(printf 'a\\377b'); GONE=here; MINE=launcher; export ODD GONE MINE";
    let mut shim = Shim::start_after(&scratch, setup);
    shim.prepare(&plan);
    shim.run_to_end();
    assert_eq!(text(&plan, 0), " 61 ff 62\n.rank.second\n1\n");
    shim.exit(false);
}

#[test]
fn a_variable_that_cannot_be_set_is_refused_by_name() {
    let scratch = Scratch::new();
    for (name, value) in [("A=B", "x"), ("", "x"), ("NUL", "a\0b")] {
        let mut plan = shell(&scratch, 1, "true");
        plan.ranks[0].env.push((name.into(), value.into()));
        let mut shim = Shim::start();
        let reason = shim.refused(&plan);
        assert!(reason.message.contains(&format!("{name:?}")), "{}", reason.message);
        shim.exit(true);
    }
}

#[test]
fn each_rank_leads_its_own_group_in_the_session_of_the_shim() {
    let scratch = Scratch::new();
    let plan =
        shell(&scratch, 2, "set -- $(cut -d' ' -f1,5,6 /proc/$$/stat); test $1 = $2 && test $3 = $PPID");
    let mut shim = Shim::prepared(&plan);
    let (exits, _) = shim.run_to_end();
    assert_eq!(
        exits.iter().map(|exit| (exit.rank, exit.status)).collect::<Vec<_>>(),
        [(Rank(0), code(0)), (Rank(1), code(0))]
    );
    shim.exit(false);
}

#[test]
fn what_keeps_the_worker_from_the_oom_killer_does_not_keep_its_pods() {
    const SCORE: &str = "/proc/self/oom_score_adj";
    let before = fs::read_to_string(SCORE).unwrap();
    if fs::write(SCORE, "-100").is_err() {
        return skipped("it takes CAP_SYS_RESOURCE to protect a process");
    }
    let scratch = Scratch::new();
    let out = scratch.path("score");
    let exe = scratch.script("shim", &format!("#!/bin/sh\ncat {SCORE} > {out}\n")).into();
    let name = User::from_uid(geteuid()).unwrap().unwrap().name;
    let account = Account::of(&name, true).unwrap();
    let options = SpawnOptions { exe, orphans: Orphans::CLUSTER };
    let spawned = spawn(&options, Some(Own { account: &account, cgroup: None }));
    fs::write(SCORE, before).unwrap();
    assert_eq!(line_in(&out), "0");
    spawned.unwrap().child.wait().unwrap();
}
