//! Randomness that is a function of a seed.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Draws {
        Draws(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A stream of its own for each `label`, so that one more draw of one shifts nothing of another.
    pub(super) fn fork(seed: u64, label: u64) -> Draws {
        Draws(Draws(seed).draw() ^ Draws(label.wrapping_mul(0xd1b5_4a32_d192_ed03)).draw())
    }

    /// From 0 up to 1, without 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The time to the next of things that happen at this rate; for ever at a rate of 0.
    pub(super) fn waits(&mut self, rate: f64) -> f64 {
        let share = self.share();
        if rate > 0.0 { -(1.0 - share).ln() / rate } else { f64::INFINITY }
    }

    /// Below `bound`, or 0 if that is 0. The bias is below 2^-32 for bounds that are counts.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }
}
