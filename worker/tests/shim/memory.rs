//! Memory limits of ranks, as the kernel keeps them.

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::Generation;
use phalanx_common::report::PrepareFailureKind;
use phalanx_worker_core::shim::ShimPlan;

use crate::support::{Scratch, Shim, command, is_alive, is_root, shell, skipped};

/// Takes so many MiB, and says so before it ends.
fn takes(mib: u32) -> String {
    format!("perl -e 'my $x = \"x\" x ({mib} << 20); print \"took it\\n\"'")
}

fn limited(mut plan: ShimPlan, mib: u64) -> ShimPlan {
    plan.memory_limit = Some(mib << 20);
    plan
}

/// Whether limits can be set here; says so if not.
fn can_limit() -> bool {
    if !is_root() {
        skipped("memory limits take root, or a cgroup of one's own");
    }
    is_root()
}

#[test]
fn a_rank_beyond_its_limit_is_killed_with_its_figures_and_its_neighbour_is_not() {
    if !can_limit() {
        return;
    }
    let scratch = Scratch::new();
    let script = format!("if [ $RANK = 0 ]; then exec {}; else exec {}; fi", takes(200), takes(20));
    let mut shim = Shim::prepared(&limited(shell(&scratch, 2, &script), 64));
    let (exits, end) = shim.run_to_end();
    assert_eq!(exits[0].status, ExitStatus::Signal(9));
    let oom = exits[0].oom.expect("the kernel says why");
    assert_eq!(oom.limit, Some(64 << 20));
    let peak = oom.peak.expect("and how much it had");
    assert!((60 << 20..=64 << 20).contains(&peak), "{peak}");
    assert_eq!((exits[1].status, exits[1].oom), (ExitStatus::SUCCESS, None));
    assert_eq!(end.survivors, []);
    assert_eq!(left_in_cgroups(&shim), Vec::<String>::new());
}

#[test]
fn what_a_rank_forks_counts_too_and_a_failure_for_another_reason_is_no_want_of_memory() {
    if !can_limit() {
        return;
    }
    let scratch = Scratch::new();
    // A rank without one of its processes is no rank, even one that would go on.
    let script = format!("if [ $RANK = 0 ]; then setsid {}; sleep 1000; else exit 6; fi", takes(200));
    let mut shim = Shim::prepared(&limited(shell(&scratch, 2, &script), 64));
    let (exits, _) = shim.run_to_end();
    assert_eq!((exits[0].status, exits[0].oom.is_some()), (ExitStatus::Signal(9), true));
    assert_eq!((exits[1].status, exits[1].oom), (ExitStatus::Code(6), None));
}

#[test]
fn want_of_memory_in_one_generation_is_nothing_of_the_next() {
    if !can_limit() {
        return;
    }
    let scratch = Scratch::new();
    let first = limited(shell(&scratch, 1, &format!("exec {}", takes(200))), 64);
    let mut shim = Shim::prepared(&first);
    let (exits, _) = shim.run_to_end();
    assert!(exits[0].oom.is_some());
    // The limits of the first are gone by now, and what watched them.
    let script = format!("sleep 0.3; exec {}", takes(20));
    let second = ShimPlan { generation: Generation(2), ..limited(shell(&scratch, 1, &script), 64) };
    shim.prepare(&second);
    shim.go(second.generation);
    shim.ended_of(second.generation);
    let last = shim.exits().pop().expect("the rank of the second ended");
    assert_eq!((last.status, last.oom), (ExitStatus::SUCCESS, None));
}

#[test]
fn a_limit_that_cannot_be_set_is_refused_before_anything_runs() {
    let scratch = Scratch::new();
    let plan = limited(command(&scratch, 1, &["true"]), 64);
    if !is_root() {
        return skipped("hiding the cgroups takes root");
    }
    let hide = "exec 3>&1; umount -l /sys/fs/cgroup/memory 2>/dev/null; umount -l /sys/fs/cgroup/unified 2>/dev/null; \
                umount -l /sys/fs/cgroup";
    let setup = format!("if [ -z \"$HIDDEN\" ]; then HIDDEN=1 exec unshare -m sh \"$0\" \"$@\"; fi; {hide}");
    let mut shim = Shim::start_after(&scratch, &setup);
    let reason = shim.refused(&plan);
    assert_eq!(reason.kind, PrepareFailureKind::Node);
    assert!(
        reason.message.contains("memory limit") && reason.message.contains("resources.memoryLimit"),
        "{reason:?}"
    );
}

#[test]
fn a_shim_that_is_killed_leaves_no_cgroup_with_a_limit_behind() {
    if !can_limit() {
        return;
    }
    let scratch = Scratch::new();
    let mut shim = Shim::started(&limited(shell(&scratch, 1, "exec sleep 1000"), 64));
    let rank = shim.pids()[0];
    assert_eq!(left_in_cgroups(&shim).len(), 1);
    shim.process.child.kill().unwrap();
    shim.process.child.wait().unwrap();
    crate::support::eventually("the guardian removes it", || {
        (left_in_cgroups(&shim).is_empty() && !is_alive(rank)).then_some(())
    });
}

/// Directories with limits that this shim made.
fn left_in_cgroups(shim: &Shim) -> Vec<String> {
    let name = format!("-{}-limits", shim.process.pid());
    let found = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "6", "-type", "d", "-name"])
        .arg(format!("*{name}"))
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}
