//! Randomness that is a function of the seed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
    /// See [`Rng::calm`].
    calm: bool,
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed, calm: false }
    }

    /// A stream of its own for each `label`, so that one more draw here shifts nothing there.
    pub fn fork(seed: u64, label: &str) -> Rng {
        // FNV-1a.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash)
    }

    /// None at all: of two bounds it takes the middle, of several choices the first, and what happens by chance never
    /// does.
    pub fn calm() -> Rng {
        Rng { state: 0, calm: true }
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        if self.calm { low.midpoint(high) } else { low + self.draw() % (high - low + 1) }
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        !self.calm && self.draw() % 100 < percent
    }

    /// A time between two numbers of milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low * 1000, high * 1000))
    }

    /// One of `choices`; `None` if there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        if choices.is_empty() || self.calm {
            return choices.first();
        }
        choices.get(usize::try_from(self.draw() % choices.len() as u64).unwrap_or(0))
    }
}
