//! Each invariant, broken on purpose, is noticed.

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::JobId;
use phalanx_common::spec::JobSpec;
use phalanx_launcher_core::{Config, Wish};
use phalanx_tests::vcluster::seeded::{self, job_spec};
use phalanx_tests::vcluster::{Fault, HealthScript, Invariant, PodScript, RankScript, Sabotage, Scripts};

use crate::cluster::*;

/// Runs a job that restarts once, with a coordinator restart on the way, under this sabotage.
fn sabotaged(sabotage: Sabotage) -> Vec<Invariant> {
    let mut scripts = Scripts::default();
    let health = HealthScript { ready: Some(secs(2)), ..HealthScript::WELL };
    scripts.set_job(&job(), RankScript { grandchildren: 1, health, ..RankScript::runs_on() });
    scripts.set_rank(&job(), 1, 0, RankScript::fails_after(secs(5), ExitStatus::Code(1)));
    scripts.set_rank(
        &job(),
        2,
        0,
        RankScript { port_conflict: true, ..RankScript::fails_after(secs(30), ExitStatus::Code(1)) },
    );
    scripts.set_pod(&job(), 1, &node("b"), PodScript { prepare: secs(1), ..PodScript::default() });
    let config = Config { cluster: true, ..Config::default() };
    let mut world = world_with(config, scripts, Some(sabotage));
    let other = JobId::from_existing("other-1");
    let leased = |max_restarts| JobSpec {
        max_restarts,
        lease: secs(15),
        unreachable: secs(60),
        probes: readiness(),
        ..job_spec(3, 1)
    };
    world.submit(&job(), leased(1));
    world.submit(&other, leased(0));
    world.schedule(secs(10), Fault::CrashCoordinator { down: secs(2) });
    for after in 20..30 {
        for name in ["a", "b", "c"] {
            world.schedule(secs(after), Fault::StaleOrder { node: node(name) });
        }
    }
    world.schedule(secs(60), Fault::LoseConnection { node: node("c"), cut: secs(40) });
    world.schedule(secs(200), Fault::Stop { job: job(), force: false });
    seeded::settle(&mut world);
    world.violations.iter().map(|violation| violation.invariant).collect()
}

#[test]
fn without_sabotage_the_same_run_breaks_nothing() {
    let mut scripts = running_on();
    scripts.set_rank(&job(), 1, 0, RankScript::fails_after(secs(5), ExitStatus::Code(1)));
    let mut world = world(scripts);
    world.submit(&job(), JobSpec { max_restarts: 1, ..job_spec(3, 1) });
    world.schedule(secs(200), Fault::Stop { job: job(), force: false });
    seeded::settle(&mut world);
    assert_eq!(world.violations, [], "{}", world.trace_lines().join("\n"));
}

#[test]
fn a_rank_on_a_closed_node_is_noticed() {
    let mut world = world_with(Config::default(), running_on(), Some(Sabotage::PlaceOnClosed));
    world.wish(&node("c"), Wish::Cordon { reason: String::new() });
    world.submit(&job(), job_spec(2, 1));
    let broken: Vec<Invariant> = world.violations.iter().map(|violation| violation.invariant).collect();
    assert!(broken.contains(&Invariant::I4), "noticed instead: {broken:?}");
}

macro_rules! noticed {
    ($($name:ident: $sabotage:ident breaks $invariant:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let broken = sabotaged(Sabotage::$sabotage);
                assert!(broken.contains(&Invariant::$invariant), "noticed instead: {broken:?}");
            }
        )*
    };
}

noticed! {
    a_rank_that_is_started_twice_is_noticed: StartTwice breaks I1;
    a_pod_that_outlives_its_lease_is_noticed: RenewWithoutOrders breaks I1;
    a_go_before_all_are_prepared_is_noticed: ForgeGo breaks I2;
    a_rank_that_is_called_ready_too_early_is_noticed: ForgeReady breaks I2;
    a_stale_order_that_is_obeyed_is_noticed: AcceptStaleOrders breaks I3;
    a_port_that_is_given_twice_is_noticed: SamePort breaks I5;
    a_budget_that_is_overspent_is_noticed: OverspendBudget breaks I6;
    a_process_left_alive_is_noticed: LeaveAlive breaks I7;
    a_lost_record_is_noticed: LoseRecords breaks I8;
    an_order_before_its_record_is_noticed: SendBeforePersist breaks I8;
    a_change_without_an_event_is_noticed: DropEvents breaks I9;
    a_job_that_never_settles_is_noticed: SwallowPodEnded breaks I10;
}
