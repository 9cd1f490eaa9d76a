//! Numbers of ranks that a gang can have, and the largest of them that fits, found with a bounded number of questions.

use phalanx_common::spec::Elastic;

/// So many numbers are tried one by one, from the top down, before distances are halved. Equal pods need divisors, so that a
/// number may fit where a smaller one does not; among so many there is a multiple of what most nodes hold.
const ONE_BY_ONE: u32 = 16;
/// So many numbers below a half are looked through for one that is worth a try.
const NEAR: u32 = 64;

/// The numbers of ranks that a gang can run with: `step` apart, from `least` to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worlds {
    least: u32,
    step: u32,
    /// How many steps there are above the least.
    steps: u32,
}

impl Worlds {
    /// Those of a job that asks for so many.
    pub(super) fn of(asked: u32, elastic: Option<Elastic>) -> Worlds {
        let Some(Elastic { min, max, step }) = elastic else {
            return Worlds { least: asked, step: 1, steps: 0 };
        };
        let (least, step) = (min.min(asked), step.max(1));
        Worlds { least, step, steps: max.saturating_sub(least) / step }
    }

    /// The multiples of a step, from `step` to at most `most`.
    pub(super) fn multiples(step: u32, most: u32) -> Option<Worlds> {
        let step = step.max(1);
        Some(Worlds { least: step, step, steps: (most / step).checked_sub(1)? })
    }

    /// Those that are larger than a number.
    pub(super) fn above(self, number: u32) -> Option<Worlds> {
        let passed = (number + 1).saturating_sub(self.least).div_ceil(self.step);
        let steps = self.steps.checked_sub(passed)?;
        Some(Worlds { least: self.least + passed * self.step, steps, ..self })
    }

    /// Those that are whole pods of `each` ranks, where the least is.
    pub(super) fn in_pods_of(self, each: u32) -> Worlds {
        if each == 0 || !self.least.is_multiple_of(each) {
            return self;
        }
        let steps = each / gcd(each, self.step);
        Worlds { least: self.least, step: self.step.saturating_mul(steps), steps: self.steps / steps }
    }

    pub(super) fn least(self) -> u32 {
        self.least
    }

    pub(super) fn contains(self, world: u32) -> bool {
        world
            .checked_sub(self.least)
            .is_some_and(|above| above.is_multiple_of(self.step) && above / self.step <= self.steps)
    }

    /// What `fits` makes of the largest number that it accepts, none of them above `room`. Numbers that are not `plausible`, which is
    /// cheap to say, are passed over, but for the least. The highest [`ONE_BY_ONE`] are tried in turn; below them, numbers at
    /// half the distance, of 100,000 some thirty in all. There a larger one that fits may be missed.
    pub(super) fn largest<T>(
        self,
        room: u64,
        plausible: impl Fn(u32) -> bool,
        mut fits: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let above = room.checked_sub(u64::from(self.least))? / u64::from(self.step);
        let last = u32::try_from(above).map_or(self.steps, |above| above.min(self.steps));
        let world = |at: u32| self.least + at * self.step;
        let is_worth = |at: u32| at == 0 || plausible(world(at));
        let mut too_many = last.saturating_add(1);
        let mut tried = 0;
        for at in (0..=last).rev().take(NEAR as usize) {
            if tried == ONE_BY_ONE {
                break;
            }
            too_many = at;
            if is_worth(at) {
                tried += 1;
                if let Some(found) = fits(world(at)) {
                    return Some(found);
                }
            }
        }
        // Below `floor` there is none that is larger than the best.
        let mut best = None;
        let mut floor = 0;
        while floor < too_many {
            let middle = floor + (too_many - floor) / 2;
            let lowest = middle.saturating_sub(NEAR - 1).max(floor);
            let Some(at) = (lowest..=middle).rev().find(|at| is_worth(*at)) else {
                too_many = lowest;
                continue;
            };
            match fits(world(at)) {
                Some(it) => (best, floor) = (Some(it), middle + 1),
                None => too_many = at,
            }
        }
        best
    }
}

/// The least common multiple of two numbers that are not 0, or the largest number.
pub(super) fn lcm(a: u32, b: u32) -> u32 {
    (a / gcd(a, b)).saturating_mul(b)
}

/// The greatest common divisor.
fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(worlds: Worlds, room: u64, fits: impl Fn(u32) -> bool) -> (Option<u32>, Vec<u32>) {
        let mut asked = Vec::new();
        let found = worlds.largest(
            room,
            |_| true,
            |world| {
                asked.push(world);
                fits(world).then_some(world)
            },
        );
        (found, asked)
    }

    #[test]
    fn worlds_are_what_the_job_can_train_with_the_largest_first() {
        let worlds = Worlds::of(16, Some(Elastic { min: 8, max: 32, step: 4 }));
        let (found, asked) = search(worlds, u64::MAX, |_| false);
        assert_eq!((found, asked.as_slice()), (None, &[32, 28, 24, 20, 16, 12, 8][..]));
        assert_eq!(search(worlds, 19, |world| world < 30).0, Some(16));
        assert_eq!(search(worlds, 7, |_| true), (None, vec![]));
        let all: Vec<u32> = (0..100).filter(|world| worlds.contains(*world)).collect();
        assert_eq!(all, [8, 12, 16, 20, 24, 28, 32]);
        assert_eq!(search(Worlds::of(5, None), 9, |_| true), (Some(5), vec![5]));
        assert_eq!(Worlds::multiples(8, 7), None);
    }

    #[test]
    fn a_hundred_thousand_worlds_are_a_few_dozen_questions() {
        let worlds = Worlds::of(100_000, Some(Elastic { min: 1, max: 100_000, step: 1 }));
        for fit in [0, 1, 2, 17, 4_711, 50_000, 99_983, 99_999, 100_000] {
            let (found, asked) = search(worlds, u64::MAX, |world| world <= fit);
            assert_eq!(found, (fit > 0).then_some(fit));
            assert!(asked.len() <= 34, "{fit}: {}", asked.len());
        }
        let all = Worlds::of(u32::MAX, Some(Elastic { min: 0, max: u32::MAX, step: 0 }));
        assert!(search(all, u64::MAX, |_| false).1.len() <= 50);
        assert_eq!(search(Worlds::of(8, Some(Elastic { min: 9, max: 3, step: 0 })), 9, |_| true).0, Some(8));
    }

    #[test]
    fn numbers_that_cannot_be_cut_into_equal_pods_do_not_hide_those_that_can() {
        // Pods of eight: no other number is worth a try.
        let worlds = Worlds::of(100_000, Some(Elastic { min: 1, max: 100_000, step: 1 }));
        let mut asked = 0;
        let found = worlds.largest(
            100_000,
            |world| world.is_multiple_of(8),
            |world| {
                asked += 1;
                (world <= 72_000).then_some(world)
            },
        );
        assert_eq!(found, Some(72_000));
        assert!(asked <= 34, "{asked}");
    }

    #[test]
    fn worlds_of_large_pods_are_found_though_few_numbers_are_whole_pods() {
        let worlds = Worlds::of(192, Some(Elastic { min: 192, max: 19_200, step: 1 })).in_pods_of(192);
        assert_eq!(search(worlds, u64::MAX, |world| world <= 99 * 192).0, Some(99 * 192));
        assert_eq!(Worlds::of(7, None).in_pods_of(4), Worlds::of(7, None), "no such job is whole pods");
    }
}
