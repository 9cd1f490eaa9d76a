//! From Prepare to the first instruction of a rank, and its plain end.

use crate::support::{GENERATION, Scratch, Shim, code, command, nothing_left, shell, text};
use phalanx_common::exit::ExitStatus;
use phalanx_common::spec::Keep;
use phalanx_worker_core::shim::ShimReport;

#[test]
fn ranks_run_and_end_and_nothing_stays() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 4, "echo rank $RANK");
    let mut shim = Shim::prepared(&plan);
    let (exits, end) = shim.run_to_end();
    assert_eq!(exits.len(), 4);
    for (rank, exit) in exits.iter().enumerate() {
        assert_eq!(exit.status, ExitStatus::SUCCESS);
        assert!(!exit.after_stop && !exit.port_conflict && exit.error_file.is_none());
        assert_eq!(exit.stdout_tail, format!("rank {rank}\n").as_bytes());
        assert_eq!(text(&plan, rank), format!("rank {rank}\n"));
    }
    assert_eq!(end, phalanx_common::report::PodEnd::default());
    shim.exit(false);
    nothing_left(&plan);
    assert!(!std::fs::exists(&plan.job_dir).unwrap(), "{} was not removed", plan.job_dir);
}

#[test]
fn started_comes_before_every_exit_and_ended_comes_last() {
    let scratch = Scratch::new();
    let plan = command(&scratch, 8, &["true"]);
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    let order: Vec<&str> = shim
        .heard
        .iter()
        .map(|report| match report {
            ShimReport::Prepared { .. } => "prepared",
            ShimReport::Started { .. } => "started",
            ShimReport::Exited { .. } => "exited",
            ShimReport::Ended { .. } => "ended",
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    let mut expected = vec!["prepared", "started"];
    expected.extend(["exited"; 8]);
    expected.push("ended");
    assert_eq!(order, expected);
    shim.exit(false);
}

#[test]
fn no_user_code_runs_before_go() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 2, "touch \"$0\".$RANK");
    let mut plan = plan;
    plan.command.push(scratch.path("ran"));
    let mut shim = Shim::prepared(&plan);
    // The ranks are there and hold; a shim that did not hold would have run them in this second.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(!std::fs::exists(scratch.path("ran.0")).unwrap());
    shim.run_to_end();
    assert!(
        std::fs::exists(scratch.path("ran.0")).unwrap() && std::fs::exists(scratch.path("ran.1")).unwrap()
    );
    shim.exit(false);
}

#[test]
fn codes_and_signals_are_told_apart() {
    let scratch = Scratch::new();
    let plan =
        shell(&scratch, 4, "case $RANK in 0) exit 0;; 1) exit 93;; 2) kill -SEGV $$;; 3) kill -35 $$;; esac");
    let mut shim = Shim::prepared(&plan);
    let (exits, _) = shim.run_to_end();
    let statuses: Vec<ExitStatus> = exits.iter().map(|exit| exit.status).collect();
    assert_eq!(statuses, [code(0), code(93), ExitStatus::Signal(11), ExitStatus::Signal(35)]);
    shim.exit(true);
}

#[test]
fn a_held_pod_that_is_stopped_never_ran_and_never_succeeded() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 2, "touch \"$0\"");
    plan.command.push(scratch.path("ran"));
    let mut shim = Shim::prepared(&plan);
    shim.stop(std::time::Duration::from_secs(10));
    shim.ended();
    for exit in shim.exits() {
        assert!(exit.after_stop && !exit.status.success(), "{exit:?}");
    }
    assert!(!std::fs::exists(scratch.path("ran")).unwrap());
    shim.exit(true);
}

#[test]
fn a_go_for_another_generation_is_refused() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "true");
    let mut shim = Shim::prepared(&plan);
    shim.go(GENERATION.next());
    shim.until("a refusal", |report| matches!(report, ShimReport::Notice { .. }).then_some(()));
    shim.run_to_end();
    shim.exit(false);
}

#[test]
fn a_second_generation_runs_in_the_same_shim_with_a_fresh_tmp() {
    let scratch = Scratch::new();
    let script = "test -d \"$0\" && test -z \"$(ls \"$0\")\" && touch \"$0\"/left";
    for keep in [Keep::Never, Keep::Always] {
        let mut plan = shell(&scratch, 2, script);
        plan.keep = keep;
        plan.ranks.truncate(1);
        plan.command.push(scratch.path("base/test-job/tmp"));
        let mut shim = Shim::prepared(&plan);
        let (exits, _) = shim.run_to_end();
        assert_eq!(exits[0].status, code(0), "{}", String::from_utf8_lossy(&exits[0].stderr_tail));
        shim.heard.clear();
        plan.generation = GENERATION.next();
        shim.prepare(&plan);
        shim.go(plan.generation);
        shim.ended_of(plan.generation);
        assert_eq!(shim.exits()[0].status, code(0));
        shim.exit(false);
        assert_eq!(std::fs::exists(&plan.job_dir).unwrap(), keep == Keep::Always);
    }
}

#[test]
fn a_stop_of_what_was_never_prepared_is_answered_by_its_end() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "true");
    plan.working_dir = Some("/no/such/directory".into());
    let mut shim = Shim::start();
    shim.refused(&plan);
    shim.stop(std::time::Duration::from_secs(1));
    assert_eq!(shim.ended(), phalanx_common::report::PodEnd::default());
    shim.exit(true);
}

#[test]
fn orders_sent_at_once_before_the_socket_closes_are_all_heard() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "true");
    plan.keep = Keep::OnFailure;
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    shim.order(phalanx_worker_core::shim::ShimOrder::Exit { failed: false });
    shim.process.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(shim.wait().success());
    assert!(!std::fs::exists(&plan.job_dir).unwrap(), "without the order it would count as a failure");
}
