//! How long something takes, printed, and an end to the bench where that is too long.

use std::time::{Duration, Instant};

pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = what();
    (result, begun.elapsed())
}

pub(crate) fn median<T>(times: usize, mut what: impl FnMut() -> T) -> Duration {
    let mut took: Vec<Duration> = (0..times).map(|_| timed(&mut what).1).collect();
    took.sort_unstable();
    took[times / 2]
}

pub(crate) fn say(what: &str, took: Duration, bound: Duration) {
    println!("{took:>10.1?}  {what}");
    assert!(took < bound, "{what} took {took:?}, more than {bound:?}");
}
