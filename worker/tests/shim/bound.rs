//! Ranks that are bound to CPUs and memory, as the kernel tells it.

use std::fs;
use std::process::Command;

use phalanx_common::report::{Notice, PrepareFailureKind};
use phalanx_common::spec::MemoryBinding;
use phalanx_common::topology::machine::CpuSet;
use phalanx_worker_core::shim::ShimPlan;

use crate::support::{Scratch, Shim, nothing_left, shell, skipped, text};

/// What a rank tells of itself: its CPUs, and the policies of its memory.
const TELL: &str =
    "grep Cpus_allowed_list /proc/self/status | cut -f2; cut -d' ' -f2 /proc/self/numa_maps | sort -u";

fn set(list: &str) -> CpuSet {
    list.parse().unwrap()
}

/// The CPUs that this test may use, which are those of the shims that it starts.
fn cpus() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    set(list).iter().collect()
}

fn one(cpu: u32) -> CpuSet {
    set(&cpu.to_string())
}

/// A plan whose ranks are each bound to one of these CPUs.
fn bound_to(scratch: &Scratch, cpus: &[u32], script: &str) -> ShimPlan {
    let mut plan = shell(scratch, u32::try_from(cpus.len()).unwrap(), script);
    for (rank, cpu) in plan.ranks.iter_mut().zip(cpus) {
        rank.cpus = one(*cpu);
    }
    plan
}

#[test]
fn each_rank_runs_on_its_own_cpus_from_before_its_program_on() {
    let scratch = Scratch::new();
    let cpus = cpus();
    let Some(two) = cpus.get(..2) else { return skipped("this machine has one CPU") };
    let plan = bound_to(&scratch, two, TELL);
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    for (rank, cpu) in two.iter().enumerate() {
        assert_eq!(text(&plan, rank).lines().next(), Some(cpu.to_string().as_str()));
    }
    shim.exit(false);
    nothing_left(&plan);
}

#[test]
fn a_rank_without_cpus_of_its_own_has_those_of_the_shim_beside_one_that_is_bound() {
    let scratch = Scratch::new();
    let cpus = cpus();
    let Some(two) = cpus.get(..2) else { return skipped("this machine has one CPU") };
    let mut plan = bound_to(&scratch, two, TELL);
    plan.ranks[0].cpus = CpuSet::new();
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    let first: Vec<u32> = set(text(&plan, 0).lines().next().unwrap()).iter().collect();
    assert_eq!(first, cpus);
    assert_eq!(text(&plan, 1).lines().next(), Some(two[1].to_string().as_str()));
    shim.exit(false);
}

#[test]
fn memory_comes_from_the_ranks_numa_nodes_as_the_policy_says() {
    for (policy, told) in [
        (MemoryBinding::None, &["default"][..]),
        (MemoryBinding::Preferred, &["prefer (many):0", "prefer:0"]),
        (MemoryBinding::Strict, &["bind:0"]),
    ] {
        let scratch = Scratch::new();
        let mut plan = shell(&scratch, 1, "cat /proc/self/numa_maps");
        (plan.memory, plan.ranks[0].nodes) = (policy, set("0"));
        let mut shim = Shim::prepared(&plan);
        shim.run_to_end();
        let maps = text(&plan, 0);
        // `7f12… prefer (many):0 heap …`; what the kernel maps by itself has no policy.
        let of_heap = maps.lines().find(|line| line.contains(" heap ")).unwrap();
        let policy = of_heap.split_once(' ').unwrap().1.split(" heap").next().unwrap();
        assert!(told.contains(&policy), "{policy} in {of_heap}");
        shim.exit(false);
    }
}

#[test]
fn a_cpu_that_is_not_there_is_told_before_anything_runs() {
    let cpus = cpus();
    for (planned, usable) in [
        ("8000".to_owned(), "none of them can be used here".to_owned()),
        (format!("{},8000", cpus[0]), format!("only {} can be used here", cpus[0])),
    ] {
        let scratch = Scratch::new();
        let mut plan = shell(&scratch, 2, "touch \"$0\"");
        plan.command.push(scratch.path("ran"));
        plan.ranks[1].cpus = set(&planned);
        let mut shim = Shim::start();
        let reason = shim.refused(&plan);
        assert_eq!(reason.kind, PrepareFailureKind::Node);
        assert_eq!(
            reason.message,
            format!(
                "rank 1 is bound to CPUs {planned}, and {usable}: a CPU went offline, or the cpuset of the worker's \
                 control group shrank, after the job was placed; bring them back, or let the job be placed anew"
            )
        );
        // The shim is as good as new.
        plan.ranks[1].cpus = one(cpus[0]);
        shim.heard.clear();
        shim.prepare(&plan);
        shim.run_to_end();
        shim.exit(false);
        nothing_left(&plan);
    }
}

#[test]
fn a_numa_node_that_is_not_there_is_told() {
    for (policy, nodes, usable) in [
        (MemoryBinding::Strict, "900", "none of them can be used"),
        (MemoryBinding::Preferred, "900", "none of them can be used"),
        (MemoryBinding::Strict, "0,900", "only 0 can be used"),
        (MemoryBinding::Preferred, "0,900", "only 0 can be used"),
        (MemoryBinding::Strict, "8000", "none of them can be used"),
    ] {
        let scratch = Scratch::new();
        let mut plan = shell(&scratch, 1, "true");
        (plan.memory, plan.ranks[0].nodes) = (policy, set(nodes));
        let mut shim = Shim::start();
        let reason = shim.refused(&plan);
        let expected = format!("rank 0 is bound to memory of NUMA nodes {nodes}, and {usable} here: ");
        assert!(reason.message.starts_with(&expected), "{}", reason.message);
        assert_eq!(reason.kind, PrepareFailureKind::Node);
        shim.exit(false);
        nothing_left(&plan);
    }
}

/// A cpuset that the shim is in, and that ends with the test.
struct Cpuset(std::path::PathBuf);

impl Cpuset {
    /// `None` where this user or host allows none.
    fn of(cpu: u32) -> Option<Cpuset> {
        let name = format!("phalanx-test-{}-{cpu}", std::process::id());
        let v1 = std::path::Path::new("/sys/fs/cgroup/cpuset");
        let root = if v1.exists() { v1 } else { std::path::Path::new("/sys/fs/cgroup") };
        let _ = fs::write(root.join("cgroup.subtree_control"), "+cpuset");
        let group = Cpuset(root.join(name));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join("cpuset.cpus"), cpu.to_string()).ok()?;
        if v1.exists() {
            fs::write(group.0.join("cpuset.mems"), "0").ok()?;
        }
        Some(group)
    }
}

impl Drop for Cpuset {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_cpuset_that_shrank_after_the_plan_was_made_is_told_with_what_is_left() {
    let cpus = cpus();
    let Some(two) = cpus.get(..2) else { return skipped("this machine has one CPU") };
    let Some(group) = Cpuset::of(two[1]) else { return skipped("no cpuset can be made here") };
    let scratch = Scratch::new();
    let enter = format!("echo $$ > {}/cgroup.procs", group.0.display());
    let mut shim = Shim::start_after(&scratch, &enter);
    let mut plan = shell(&scratch, 1, "true");
    plan.ranks[0].cpus = two.iter().fold(CpuSet::new(), |all, cpu| all.union(&one(*cpu)));
    let reason = shim.refused(&plan);
    let expected =
        format!("rank 0 is bound to CPUs {}, and only {} can be used here", plan.ranks[0].cpus, two[1]);
    assert!(reason.message.starts_with(&expected), "{}", reason.message);
    shim.exit(false);
    nothing_left(&plan);
}

/// Executes its arguments without the system call set_mempolicy, as Docker's filter forbids it.
const FORBID: &str = r#"
import ctypes, os, platform, struct, sys
number = {"x86_64": 238, "aarch64": 237}[platform.machine()]
# Load the number; if it is set_mempolicy's, EPERM; else allow.
program = b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)])
buffer = ctypes.create_string_buffer(program, len(program))
fprog = ctypes.create_string_buffer(struct.pack("HL", len(program) // 8, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, fprog, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn where_no_policy_can_be_set_a_preference_is_told_and_what_is_strict_is_refused() {
    if !Command::new("python3").arg("-c").arg("import ctypes").status().is_ok_and(|status| status.success()) {
        return skipped("there is no python3");
    }
    let scratch = Scratch::new();
    let filter = scratch.path("forbid.py");
    fs::write(&filter, FORBID).unwrap();
    let enter = format!("if [ -z \"$FILTERED\" ]; then FILTERED=1 exec python3 {filter} \"$0\" \"$@\"; fi");
    let start = || Shim::start_after(&scratch, &enter);
    let mut plan = shell(&scratch, 2, "true");
    for rank in &mut plan.ranks {
        rank.nodes = set("0");
    }
    plan.memory = MemoryBinding::Preferred;
    let mut shim = start();
    shim.prepare(&plan);
    let why = "Operation not permitted".to_owned();
    assert_eq!(shim.notices(), [Notice::MemoryNotPreferred { rank: plan.ranks[0].rank, why }]);
    let (exits, _) = shim.run_to_end();
    assert!(exits.iter().all(|exit| exit.status.success()));
    shim.exit(false);

    plan.memory = MemoryBinding::Strict;
    let mut shim = start();
    let reason = shim.refused(&plan);
    assert!(
        reason.message.contains("cannot be bound to memory of NUMA nodes 0: Operation not permitted; allow the system call set_mempolicy"),
        "{}",
        reason.message
    );
    shim.exit(false);
    nothing_left(&plan);
}
