//! `-n gpu` through a real dlopen of a libnvidia-ml that has no hardware behind it.

mod support;

use support::{Finished, Running, Sandbox};

/// `phalanx run -n gpu` on a machine with these boards, every rank printing WORLD_SIZE.
fn run(sandbox: &Sandbox, boards: &str, environment: &[(&str, &str)]) -> Finished {
    let script = "echo $WORLD_SIZE $CUDA_VISIBLE_DEVICES";
    let mut command =
        sandbox.phalanx(&["run", "-q", "--output", "rank0", "-n", "gpu", "--", "/bin/sh", "-c", script]);
    command.env("PHALANX_NVML_LIBRARY", phalanx_fake_nvml::library()).env(phalanx_fake_nvml::BOARDS, boards);
    command.envs(environment.iter().copied());
    Running::start(command).finish()
}

#[test]
fn one_rank_runs_for_each_gpu() {
    let sandbox = Sandbox::new();
    let done = run(&sandbox, "3", &[]);
    done.assert_code(0);
    assert_eq!(done.out(), "3\n");
}

#[test]
fn an_outer_mask_is_the_allowed_set_and_is_passed_on() {
    let sandbox = Sandbox::new();
    let done = run(&sandbox, "8", &[("CUDA_VISIBLE_DEVICES", "5,GPU-00000002")]);
    done.assert_code(0);
    assert_eq!(done.out(), "2 5,GPU-00000002\n");
}

#[test]
fn a_mask_that_leaves_nothing_a_driver_without_boards_and_a_broken_one_are_told_apart() {
    let sandbox = Sandbox::new();
    run(&sandbox, "2", &[("CUDA_VISIBLE_DEVICES", "7")])
        .assert_code(125)
        .assert_says("leaves no GPU of the 2");
    run(&sandbox, "0", &[]).assert_code(125).assert_says("knows no GPU");
    run(&sandbox, "2", &[(phalanx_fake_nvml::BROKEN, "1")]).assert_code(125).assert_says("does not work");
}
