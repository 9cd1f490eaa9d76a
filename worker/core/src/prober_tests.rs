use phalanx_common::spec::{LogPattern, ProbeHandler};
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const BEGUN: Timestamp = Timestamp(1_000_000_000);

fn at(seconds: f64) -> Timestamp {
    BEGUN + Duration::from_secs_f64(seconds)
}

fn exec(period: u64) -> Probe {
    Probe {
        handler: ProbeHandler::Exec { command: vec!["true".into()] },
        initial_delay: Duration::ZERO,
        timeout: SECOND,
        period: Duration::from_secs(period),
        success_threshold: 1,
        failure_threshold: 3,
        grace: None,
    }
}

fn notify(period: u64) -> Probe {
    Probe { handler: ProbeHandler::Notify, ..exec(period) }
}

fn begun(probes: &Probes) -> Prober {
    let mut prober = Prober::new(probes);
    assert_eq!(prober.poll_timeout(), None, "nothing is asked of what does not run");
    prober.handle_begun(BEGUN);
    prober
}

fn acts(prober: &mut Prober) -> Vec<Act> {
    std::iter::from_fn(|| prober.poll_act()).collect()
}

/// Lets the ticks up to `until` happen; every question is answered at once, `Some(good)` or not at all.
fn play(
    prober: &mut Prober,
    until: Timestamp,
    answer: impl Fn(ProbeKind, Timestamp) -> Option<bool>,
) -> Vec<(Timestamp, Act)> {
    let mut said = Vec::new();
    let mut drain = |prober: &mut Prober, now: Timestamp| {
        while let Some(act) = prober.poll_act() {
            match act {
                Act::Ask { kind, number } => {
                    let answer = match answer(kind, now) {
                        Some(true) => Answer::Good,
                        Some(false) => Answer::Bad("no".into()),
                        None => Answer::Unknown,
                    };
                    prober.handle_answer(now, kind, number, answer);
                }
                act => said.push((now, act)),
            }
        }
    };
    drain(prober, BEGUN);
    while let Some(now) = prober.poll_timeout().filter(|now| *now <= until) {
        prober.handle_timeout(now);
        drain(prober, now);
    }
    said
}

fn end(kind: ProbeKind) -> Act {
    Act::End { kind, message: "no".into() }
}

#[test]
fn a_rank_without_probes_is_ready_once_it_runs_and_is_asked_nothing() {
    let mut prober = begun(&Probes::default());
    assert_eq!(acts(&mut prober), [Act::Ready(true)]);
    assert_eq!(prober.poll_timeout(), None);
    prober.handle_ended();
    assert_eq!(acts(&mut prober), [Act::Ready(false)]);
}

#[test]
fn the_first_answers_decide_as_soon_as_there_are_enough_in_a_row() {
    let readiness = Probe { success_threshold: 2, ..exec(10) };
    let mut prober = begun(&Probes { readiness: Some(readiness), ..Probes::default() });
    assert_eq!(prober.poll_timeout(), Some(BEGUN));
    // Good, bad, good, good; then bad three times.
    let answers = [true, false, true, true, false, false, false, true, true];
    let answer = |_, now: Timestamp| Some(answers[(now.since(BEGUN).as_secs() / 10) as usize]);
    let said = play(&mut prober, at(80.0), answer);
    let ready = |seconds, ready| (at(seconds), Act::Ready(ready));
    assert_eq!(said, [ready(30.0, true), ready(60.0, false), ready(80.0, true)]);
}

#[test]
fn until_the_startup_probe_is_good_nothing_else_is_asked_and_then_it_is_not_asked_any_more() {
    let probes = Probes { startup: Some(exec(1)), readiness: Some(exec(5)), liveness: Some(exec(5)) };
    let mut prober = begun(&probes);
    let asked = std::cell::RefCell::new(Vec::new());
    let said = play(&mut prober, at(11.0), |kind, now| {
        asked.borrow_mut().push((kind, now.since(BEGUN).as_secs()));
        Some(kind != ProbeKind::Startup || now >= at(2.0))
    });
    assert_eq!(said, [(at(2.0), Act::Ready(true))]);
    use ProbeKind::{Liveness, Readiness, Startup};
    // Readiness at once besides, both on their grids.
    let wanted = [
        (Startup, 0),
        (Startup, 1),
        (Startup, 2),
        (Readiness, 2),
        (Readiness, 5),
        (Liveness, 5),
        (Readiness, 10),
        (Liveness, 10),
    ];
    assert_eq!(*asked.borrow(), wanted);
}

#[test]
fn a_rank_that_does_not_start_in_time_is_ended_once() {
    let startup = Probe { failure_threshold: 4, initial_delay: 3 * SECOND, ..exec(2) };
    let mut prober = begun(&Probes { startup: Some(startup), ..Probes::default() });
    assert_eq!(prober.why_not_ready(), Some((ProbeKind::Startup, "no answer yet".into())));
    let said = play(&mut prober, at(100.0), |_, _| Some(false));
    assert_eq!(said, [(at(9.0), end(ProbeKind::Startup))]);
    assert_eq!(prober.poll_timeout(), None, "on hold");
    assert_eq!(prober.why_not_ready(), Some((ProbeKind::Startup, "no".into())));
    prober.handle_begun(at(200.0));
    assert_eq!(prober.poll_timeout(), Some(at(203.0)), "another program is asked anew");
}

#[test]
fn liveness_counts_as_good_until_it_was_bad_often_enough_and_no_answer_is_no_answer() {
    let mut prober = begun(&Probes { liveness: Some(exec(1)), ..Probes::default() });
    assert!(prober.is_ready(), "liveness keeps nobody from being ready");
    let said = play(&mut prober, at(20.0), |_, now| match now.since(BEGUN).as_secs() {
        0 | 1 | 3 => Some(false),
        2 => Some(true),
        4..=8 => None,
        _ => Some(false),
    });
    assert_eq!(said, [(BEGUN, Act::Ready(true)), (at(10.0), end(ProbeKind::Liveness))]);
}

#[test]
fn an_answer_that_takes_longer_than_a_period_keeps_one_tick_and_the_grid() {
    let mut prober = begun(&Probes { readiness: Some(exec(2)), ..Probes::default() });
    prober.handle_timeout(BEGUN);
    assert_eq!(acts(&mut prober), [Act::Ask { kind: ProbeKind::Readiness, number: 1 }]);
    assert_eq!(prober.poll_timeout(), None, "one question at a time");
    prober.handle_timeout(at(5.0));
    assert_eq!(acts(&mut prober), []);
    prober.handle_answer(at(5.0), ProbeKind::Readiness, 1, Answer::Bad("no".into()));
    assert_eq!(prober.poll_timeout(), Some(at(2.0)), "the tick that was missed");
    prober.handle_timeout(at(5.0));
    assert_eq!(acts(&mut prober), [Act::Ask { kind: ProbeKind::Readiness, number: 2 }]);
    prober.handle_answer(at(5.1), ProbeKind::Readiness, 2, Answer::Good);
    assert_eq!(prober.poll_timeout(), Some(at(6.0)));
    assert_eq!(acts(&mut prober), [Act::Ready(true)]);
}

#[test]
fn an_answer_of_a_program_that_is_gone_is_dropped() {
    let mut prober = begun(&Probes { readiness: Some(exec(2)), ..Probes::default() });
    prober.handle_timeout(BEGUN);
    prober.handle_ended();
    prober.handle_begun(at(3.0));
    acts(&mut prober);
    prober.handle_answer(at(3.0), ProbeKind::Readiness, 1, Answer::Good);
    assert!(!prober.is_ready());
    assert!(!prober.awaits(ProbeKind::Readiness, 1));
}

#[test]
fn what_does_not_run_is_not_ready_and_while_it_stops_readiness_alone_is_asked() {
    let probes = Probes { startup: Some(exec(1)), readiness: Some(exec(1)), liveness: Some(exec(1)) };
    let mut prober = begun(&probes);
    play(&mut prober, at(3.0), |_, _| Some(true));
    assert!(prober.is_ready());
    prober.handle_stopping(at(3.5));
    let said = play(&mut prober, at(9.0), |kind, _| {
        assert_eq!(kind, ProbeKind::Readiness);
        Some(false)
    });
    assert_eq!(said, [(at(6.0), Act::Ready(false))]);
    prober.handle_ended();
    assert_eq!((prober.poll_timeout(), prober.is_ready()), (None, false));
    // Stopped before it had started: startup counts as good.
    let mut prober = begun(&probes);
    play(&mut prober, at(1.0), |_, _| Some(false));
    prober.handle_stopping(at(1.5));
    let said = play(&mut prober, at(9.0), |_, _| Some(true));
    assert_eq!(said, [(at(1.5), Act::Ready(true))]);
}

#[test]
fn what_a_rank_says_counts_at_once_and_nothing_ticks_that_changes_nothing() {
    let mut prober = begun(&Probes { readiness: Some(notify(10)), ..Probes::default() });
    assert_eq!(prober.poll_timeout(), None, "not ready before, not ready after");
    assert_eq!(prober.why_not_ready(), Some((ProbeKind::Readiness, "no READY=1 was heard".into())));
    prober.handle_told(at(1.5), ProbeKind::Readiness, true, "");
    assert_eq!(acts(&mut prober), [Act::Ready(true)]);
    assert_eq!(prober.poll_timeout(), None);
    prober.handle_told(at(2.0), ProbeKind::Readiness, false, "RELOADING=1");
    assert_eq!(acts(&mut prober), [], "two more periods");
    let said = play(&mut prober, at(60.0), |_, _| None);
    assert_eq!(said, [(at(22.0), Act::Ready(false))]);
    assert_eq!(prober.why_not_ready(), Some((ProbeKind::Readiness, "RELOADING=1".into())));
}

#[test]
fn a_silent_rank_has_its_whole_startup_budget() {
    let log = ProbeHandler::Log { pattern: LogPattern::new("up").unwrap() };
    let startup = Probe { handler: log, ..exec(10) };
    let probes = Probes { startup: Some(startup), readiness: Some(notify(1)), liveness: None };
    let mut prober = begun(&probes);
    let said = play(&mut prober, at(100.0), |_, _| None);
    let message = "no line of its output had the pattern".to_owned();
    assert_eq!(said, [(at(30.0), Act::End { kind: ProbeKind::Startup, message })]);
    let mut prober = begun(&probes);
    // READY=1 before startup is done is not forgotten.
    prober.handle_told(at(5.0), ProbeKind::Readiness, true, "");
    assert!(!prober.is_ready());
    prober.handle_told(at(29.0), ProbeKind::Startup, true, "");
    assert_eq!(play(&mut prober, at(100.0), |_, _| None), [(at(29.0), Act::Ready(true))]);
    assert_eq!(prober.poll_timeout(), None);
}

#[test]
fn what_is_said_before_the_delay_is_over_counts_when_it_is() {
    let readiness = Probe { initial_delay: 5 * SECOND, ..notify(1) };
    let mut prober = begun(&Probes { readiness: Some(readiness), ..Probes::default() });
    prober.handle_told(at(1.0), ProbeKind::Readiness, true, "");
    assert_eq!(play(&mut prober, at(9.0), |_, _| None), [(at(5.0), Act::Ready(true))]);
}

#[test]
fn a_watchdog_ends_a_rank_that_is_silent_for_all_of_its_periods() {
    let liveness = Probe { failure_threshold: 2, ..notify(3) };
    let mut prober = begun(&Probes { liveness: Some(liveness), ..Probes::default() });
    acts(&mut prober);
    for beat in [1.0, 6.9, 7.0, 12.9] {
        assert_eq!(play(&mut prober, at(beat), |_, _| None), []);
        prober.handle_told(at(beat), ProbeKind::Liveness, true, "");
    }
    let message = "no WATCHDOG=1 was heard within 3 s".to_owned();
    let said = play(&mut prober, at(60.0), |_, _| None);
    assert_eq!(said, [(at(18.9), Act::End { kind: ProbeKind::Liveness, message })]);
}

/// The kubelet's worker as it is written there, on a clock of whole seconds, with answers that take no time.
struct Naive {
    probes: Probes,
    started: bool,
    /// The second in which startup was found to be good.
    started_at: Option<u64>,
    values: [Option<bool>; 3],
    last: [(Option<bool>, u32); 3],
    hold: [bool; 3],
    ended: Vec<(u64, ProbeKind)>,
}

impl Naive {
    fn probe(&mut self, kind: ProbeKind, second: u64, stopping: bool, answer: Option<bool>) {
        let index = kind as usize;
        let Some(probe) = self.probes.get(kind).cloned() else { return };
        if self.hold[index] {
            return;
        }
        if stopping && kind != ProbeKind::Readiness {
            self.values[index] = Some(true);
            return;
        }
        if second < probe.initial_delay.as_secs() || self.started == (kind == ProbeKind::Startup) {
            return;
        }
        let Some(good) = answer else { return };
        let (last, run) = &mut self.last[index];
        *run = if *last == Some(good) { *run + 1 } else { 1 };
        *last = Some(good);
        if *run < if good { probe.success_threshold } else { probe.failure_threshold } {
            return;
        }
        self.values[index] = Some(good);
        if !good && kind != ProbeKind::Readiness {
            self.hold[index] = true;
            *run = 0;
            self.ended.push((second, kind));
        }
    }

    fn ready(&self) -> bool {
        self.started && (self.probes.readiness.is_none() || self.values[1] == Some(true))
    }
}

fn any_probe() -> impl Strategy<Value = Option<Probe>> {
    prop::option::weighted(0.8, (1..5u64, 0..8u64, 1..4u32, 1..4u32)).prop_map(|made| {
        let (period, delay, success_threshold, failure_threshold) = made?;
        let initial_delay = Duration::from_secs(delay);
        Some(Probe { initial_delay, success_threshold, failure_threshold, ..exec(period) })
    })
}

proptest! {
    #[test]
    fn a_rank_fares_as_under_the_kubelet(
        startup in any_probe(), readiness in any_probe(), liveness in any_probe(),
        answers in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, any::<bool>()), 60), 3),
        stop in prop::option::of(0..60u64),
    ) {
        let probes = Probes { startup, readiness, liveness };
        let mut naive = Naive {
            started: probes.startup.is_none(),
            started_at: None,
            probes: probes.clone(),
            values: [None, Some(false), Some(true)],
            last: [(None, 0); 3],
            hold: [false; 3],
            ended: Vec::new(),
        };
        let mut prober = begun(&probes);
        let mut ended = Vec::new();
        for second in 0..60u64 {
            let now = BEGUN + Duration::from_secs(second);
            let stopping = stop.is_some_and(|stop| second >= stop);
            if stopping {
                prober.handle_stopping(now);
                if naive.probes.startup.is_some() && !naive.hold[0] {
                    naive.values[0] = Some(true);
                }
            }
            let answer = |kind: ProbeKind, _: Timestamp| answers[kind as usize][second as usize];
            let said = play(&mut prober, now, answer);
            for (_, act) in said {
                if let Act::End { kind, .. } = act {
                    ended.push((second, kind));
                }
            }
            // Startup first: what it finds counts for the others in the same second.
            for kind in ProbeKind::ALL {
                let on_grid = naive.probes.get(kind).is_some_and(|probe| {
                    let (delay, period) = (probe.initial_delay.as_secs(), probe.period.as_secs());
                    second >= delay && (second - delay).is_multiple_of(period)
                });
                // Readiness is triggered at once, beside its ticker.
                let triggered = kind == ProbeKind::Readiness && naive.started_at == Some(second);
                if on_grid || triggered {
                    naive.probe(kind, second, stopping, answers[kind as usize][second as usize]);
                }
                if kind == ProbeKind::Startup && !naive.started && naive.values[0] == Some(true) {
                    naive.started = true;
                    naive.started_at = Some(second);
                }
            }
            prop_assert_eq!(prober.is_ready(), naive.ready(), "second {}", second);
            prop_assert_eq!(&ended, &naive.ended, "second {}", second);
        }
    }
}
