//! Slices of GPUs, told apart by what the names of their profiles tell.

use std::fmt;

use phalanx_common::topology::machine::{Accelerator, MigSlice};

use super::needs::MigProfile;

/// What slices of one profile have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SliceKind {
    /// The `10gb` of its profile; 0 where its memory is not known.
    pub memory_gb: u16,
    /// Compute slices of its GPU instance and of its compute instance, where that is known.
    pub compute: Option<(u32, u32)>,
}

impl SliceKind {
    pub(super) fn of(gpu: &Accelerator, slice: &MigSlice) -> SliceKind {
        SliceKind {
            memory_gb: slice.memory_bytes.map_or(0, |bytes| named(bytes, gpu.memory_bytes)),
            compute: slice.instance_slices.zip(slice.compute_slices),
        }
    }

    /// Whether it may be of a profile: what nobody tells of it is taken to be so.
    pub(super) fn is_of(self, profile: MigProfile) -> bool {
        let asked = u32::from(profile.compute);
        self.memory_gb == profile.memory_gb && self.compute.is_none_or(|told| told == (asked, asked))
    }
}

/// The memory in a profile's name: eighths of the GPU's, rounded up, and in whole GB. A slice has somewhat less: 16 of the 140.4 GiB
/// of an H200 are `18gb`.
fn named(bytes: u64, of: Option<u64>) -> u16 {
    let whole = of.filter(|whole| *whole >= bytes).map(|whole| (whole, whole.div_ceil(1 << 30)));
    let gb = match whole {
        Some((whole, gb)) => {
            let eighths = (u128::from(bytes) * 8).div_ceil(u128::from(whole).max(1)) as u64;
            (gb.saturating_mul(eighths) + 4) / 8
        }
        None => bytes.div_ceil(1 << 30),
    };
    u16::try_from(gb).unwrap_or(u16::MAX)
}

impl fmt::Display for SliceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compute {
            Some((instance, compute)) if instance == compute => write!(f, "{instance}g.{}gb", self.memory_gb),
            Some((instance, compute)) => write!(f, "{compute}c.{instance}g.{}gb", self.memory_gb),
            None => write!(f, "{} GB", self.memory_gb),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_the_memory_that_its_profile_is_called_by() {
        let mib = |mib: u64| mib << 20;
        // Slice and GPU in MiB as the driver tells them: A100 40 GB, A30, A100 80 GB, H100, H100 NVL, H200.
        let told =
            [(4864, 40960, 5), (5952, 24576, 6), (20096, 81920, 20), (9984, 81559, 10), (11008, 95830, 12)];
        for (slice, gpu, gb) in told {
            assert_eq!(named(mib(slice), Some(mib(gpu))), gb, "{slice} of {gpu} MiB");
        }
        assert_eq!(named(mib(16384), Some(mib(143771))), 18);
        assert_eq!(named(mib(20096), None), 20);
        assert_eq!(named(u64::MAX, Some(u64::MAX)), u16::MAX);
    }
}
