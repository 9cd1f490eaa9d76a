//! Runs seeds of the virtual cluster by hand, and steps through those that broke an invariant.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use phalanx_tests::vcluster::replay::{Ended, Player, Replay, Step};
use phalanx_tests::vcluster::{Profile, Sabotage, seeded};

const USAGE: &str = "\
usage: vcluster (--seed N | --seeds FROM..TO) [--profile NAME] [--sabotage NAME] [--trace] [--replays DIR]
       vcluster replay FILE [--from EVENT]

A seed that breaks an invariant is written to DIR (target/tmp). replay begins 20 events before the one that broke it,
or at EVENT. At its prompt: Enter for the next event, a number for so many, g for all that are left, q to leave.";

/// Events that are shown before the one that broke an invariant.
const BEFORE: u64 = 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let held = match (Arguments::parse(&args), Stepping::parse(&args)) {
        (_, Some(stepping)) => stepping.run(&mut io::stdin().lock(), &mut io::stdout().lock()),
        (Some(arguments), None) => run(&arguments, &mut io::stdout().lock()),
        (None, None) => {
            let _ = writeln!(io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            let _ = writeln!(io::stderr(), "vcluster: {error}{}", source.unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

struct Arguments {
    from: u64,
    to: u64,
    profile: Profile,
    sabotage: Option<Sabotage>,
    trace: bool,
    replays: PathBuf,
}

impl Arguments {
    fn parse(args: &[String]) -> Option<Arguments> {
        let mut range = None;
        let (mut profile, mut sabotage, mut trace) = (Profile::default(), None, false);
        let mut replays = PathBuf::from("target/tmp");
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seed" => {
                    let seed: u64 = args.next()?.parse().ok()?;
                    range = Some((seed, seed + 1));
                }
                "--seeds" => {
                    let (from, to) = args.next()?.split_once("..")?;
                    range = Some((from.parse().ok()?, to.parse().ok()?));
                }
                "--profile" => profile = Profile::named(args.next()?)?,
                "--sabotage" => sabotage = Some(Sabotage::named(args.next()?)?),
                "--trace" => trace = true,
                "--replays" => replays = args.next()?.into(),
                _ => return None,
            }
        }
        range.map(|(from, to)| Arguments { from, to, profile, sabotage, trace, replays })
    }
}

/// Whether every seed held.
fn run(arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    let began = Instant::now();
    let &Arguments { profile, sabotage, .. } = arguments;
    let (mut failed, mut steps, mut restarts) = (0u64, 0u64, 0u64);
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut days = 0.0;
    for seed in arguments.from..arguments.to {
        let run = seeded::run(seed, profile, sabotage, arguments.trace);
        steps += run.steps;
        restarts += u64::from(run.restarts);
        days += run.virtual_time.as_secs_f64() / 86_400.0;
        for outcome in &run.outcomes {
            *outcomes.entry(outcome).or_default() += 1;
        }
        if arguments.trace {
            run.trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        if let Some(violation) = run.violations.first() {
            failed += 1;
            writeln!(out, "seed {seed}: {:?} at {}: {}", violation.invariant, violation.at, violation.what)?;
            let traced = seeded::run(seed, profile, sabotage, true);
            if let Some(replay) = Replay::of(&traced) {
                let path = replay.write(&arguments.replays).map_err(io::Error::other)?;
                writeln!(out, "step through it: make replay FILE={}", path.display())?;
            }
        }
    }
    let seeds = arguments.to.saturating_sub(arguments.from);
    let took = began.elapsed().as_secs_f64();
    writeln!(
        out,
        "{seeds} seeds of {}, {steps} events in {days:.1} virtual days, {restarts} restarts, jobs {outcomes:?}, {failed} failed, {took:.1} s, {:.0} seeds/s",
        profile.name(),
        seeds as f64 / took
    )?;
    Ok(failed == 0)
}

struct Stepping<'a> {
    file: &'a Path,
    from: Option<u64>,
}

impl Stepping<'_> {
    fn parse(args: &[String]) -> Option<Stepping<'_>> {
        match args {
            [word, file] if word == "replay" => Some(Stepping { file: Path::new(file), from: None }),
            [word, file, from, event] if word == "replay" && from == "--from" => {
                Some(Stepping { file: Path::new(file), from: Some(event.parse().ok()?) })
            }
            _ => None,
        }
    }

    /// Whether nothing broke.
    fn run(&self, input: &mut impl BufRead, out: &mut impl Write) -> io::Result<bool> {
        let replay = Replay::read(self.file).map_err(io::Error::other)?;
        writeln!(
            out,
            "seed {} of {} broke {} at event {}: {}",
            replay.seed,
            replay.profile.name(),
            replay.invariant,
            replay.events,
            replay.what
        )?;
        let from = self.from.unwrap_or(replay.events.saturating_sub(BEFORE));
        let prompts = io::stdin().is_terminal();
        let mut player = Player::new(replay);
        let mut free = 0u64;
        while let Some(step) = player.step() {
            if step.event < from {
                continue;
            }
            show(&step, out)?;
            if free > 0 {
                free -= 1;
            } else if prompts {
                match ask(input, out)? {
                    Some(more) => free = more,
                    None => return Ok(true),
                }
            }
        }
        match player.ended() {
            Ended::BrokeAgain => writeln!(out, "it broke again, as the file says")?,
            Ended::BrokeElse { events, invariant, what } => {
                writeln!(out, "it broke otherwise: {invariant} at event {events}: {what}")?;
            }
            Ended::Holds => writeln!(out, "it holds: with this code nothing breaks")?,
        }
        Ok(player.ended() == Ended::Holds)
    }
}

fn show(step: &Step, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "event {}", step.event)?;
    step.lines.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    writeln!(out, "  = {}", step.state)
}

/// How many events come after the next without asking; `None` to leave.
fn ask(input: &mut impl BufRead, out: &mut impl Write) -> io::Result<Option<u64>> {
    write!(out, "> ")?;
    out.flush()?;
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(match line.trim() {
        "q" => None,
        "g" => Some(u64::MAX),
        word => Some(word.parse().map_or(0, |count: u64| count.saturating_sub(1))),
    })
}
