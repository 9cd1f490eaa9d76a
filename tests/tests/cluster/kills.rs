//! A real training job that loses random ranks at random moments ends with the weights that it would have had.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::support::{Running, python, skipped, wait_for};

const RANKS: u64 = 4;
/// From the moment that a rank is alive to its death, at most.
const LATEST: u64 = 4000;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/digits/train.py");
/// Ends with 0 if two checkpoints have the same weights, bit for bit.
const SAME: &str = "import sys, torch
one, other = (torch.load(f'{path}/digits.pt', weights_only=True) for path in sys.argv[1:])
assert one['epoch'] == other['epoch'], (one['epoch'], other['epoch'])
unequal = [name for name, value in one['model'].items() if not torch.equal(value, other['model'][name])]
sys.exit(f'{unequal} differ' if unequal else 0)";

/// Numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The living process of a rank of this job, by its environment: after so many restarts, or after any.
fn process_of(job: &str, rank: u64, restarts: Option<u64>) -> Option<u32> {
    let (job, rank) = (format!("PHALANX_JOB_ID={job}"), format!("PHALANX_RANK={rank}"));
    let restarts = restarts.map(|restarts| format!("TORCHELASTIC_RESTART_COUNT={restarts}"));
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has = |wanted: &String| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes());
        has(&job) && has(&rank) && restarts.as_ref().is_none_or(has)
    })
}

/// The job with its checkpoints in this directory of the lab.
fn start(lab: &Lab, python: &Path, name: &str, epochs: u64) -> Running {
    let python = python.display();
    let text = format!(
        "name: {name}\nnodes: 2\nranksPerNode: 2\n\
         command: [\"{python}\", \"{SCRIPT}\", --epochs, \"{epochs}\"]\n\
         env: {{CHECKPOINTS: \"{}\", OMP_NUM_THREADS: \"1\"}}\n\
         terminationGracePeriodSeconds: 2\n\
         restartBudget: {{gang: {{max: 1000, backoff: {{initial: 10ms, max: 10ms}}}}, noProgress: 0}}\n",
        lab.dir.join(name).display()
    );
    let file = lab.dir.join(format!("{name}.yaml"));
    std::fs::write(&file, text).expect("a job file");
    Running::start(lab.phalanx(&["run", "-f", &file.to_string_lossy()]))
}

#[test]
fn random_ranks_killed_at_random_moments_change_nothing_of_what_is_learnt() {
    let Some(python) = python() else {
        return skipped("PHALANX_TEST_PYTHON names no interpreter with PyTorch");
    };
    let Some(lab) = Lab::joined(2) else { return };
    let (kills, seed) = (number("PHALANX_TEST_KILLS", 2), number("PHALANX_TEST_SEED", 1));
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    // A generation gets some epochs further, or none.
    let epochs = 10 + 4 * kills;
    start(&lab, &python, "calm", epochs).finish().assert_code(0);
    let calm = lab.only_job();

    let running = start(&lab, &python, "storm", epochs);
    let job = wait_for("the job", || {
        let jobs = lab.operate(&["ps"]).out();
        jobs.lines()
            .filter_map(|line| line.split_whitespace().next())
            .find(|id| id.starts_with("storm"))
            .map(str::to_owned)
    });
    for restarts in 0..kills {
        let (rank, delay) = (random.below(RANKS), Duration::from_millis(random.below(LATEST)));
        // Not one of the generation that ends.
        let pid = wait_for("a rank that lives", || process_of(&job, rank, Some(restarts)));
        let alive = Instant::now();
        wait_for("its time", || (alive.elapsed() >= delay).then_some(()));
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
    let done = running.finish();
    done.assert_code(0);
    let learnt =
        ["-c", SAME, &lab.dir.join("calm").to_string_lossy(), &lab.dir.join("storm").to_string_lossy()]
            .map(str::to_owned);
    let learnt: Vec<&str> = learnt.iter().map(String::as_str).collect();
    Running::start(lab.on("head", &python.to_string_lossy(), &learnt)).finish().assert_code(0);
    let restarts = done.err().matches("restarting the gang").count() as u64;
    assert_eq!(restarts, kills, "seed {seed}\n{}", done.err());
    for job in [&calm, &job] {
        let left = (0..RANKS).find(|rank| process_of(job, *rank, None).is_some());
        assert_eq!(left, None, "a rank of {job} outlives it");
    }
    for node in ["node1", "node2"] {
        let listening = Running::start(lab.on(node, "ss", &["-Hltn"])).finish();
        assert_eq!(listening.assert_code(0).out(), "", "ports of the job on {node}");
    }
}
