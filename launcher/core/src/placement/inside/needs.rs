//! What ranks need of a node.

use std::fmt;
use std::str::FromStr;

use phalanx_common::spec::DeviceKind;
use phalanx_common::topology::machine::AcceleratorKind;

/// What each of the ranks that a node is to take needs. The ranks are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankNeeds {
    /// Ranks on the node.
    pub ranks: u32,
    /// Devices of each; 0 for ranks that compute on CPUs alone.
    pub devices: u32,
    pub device: DeviceNeed,
    /// Hardware threads of each, rounded up to whole cores. `None`: an even share of the free cores near its devices
    /// where there is one at least for each rank; else, and for ranks without devices, no core is theirs alone, they
    /// are not bound, and what counts them is the node's slots.
    pub cpus: Option<u32>,
    /// Memory of each in bytes; 0 where the job does not say, and then none is accounted.
    pub memory: u64,
    /// Network ports of each that traffic between nodes takes.
    pub ports: u32,
    /// Nothing else runs on the node: shares are of all free cores, not of those that fall to the ranks' devices, and
    /// ranks without devices have theirs, too.
    pub alone: bool,
}

/// Which devices will do. The devices of one node are always of one class: same model, memory and profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceNeed {
    /// GPUs, of whatever vendor, or NPUs.
    pub kind: Option<DeviceKind>,
    /// Words of the model's name in any case: `H100` is found in `NVIDIA H100 80GB HBM3` and not in `GH1000`. A number
    /// may follow what ends in a letter: `910B` is found in `Ascend 910B3`.
    pub model: Option<String>,
    /// Memory of a device in bytes, at least.
    pub memory: Option<u64>,
    /// Slices of this profile. `None`: whole devices.
    pub mig: Option<MigProfile>,
}

/// A profile of a MIG slice, `1g.10gb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MigProfile {
    /// Slices of compute. Where a machine does not tell those of a slice, the memory alone decides.
    pub compute: u8,
    pub memory_gb: u16,
}

/// Text that is no profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileError;

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MIG profile is written like 1g.10gb")
    }
}

impl std::error::Error for ProfileError {}

impl FromStr for MigProfile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<MigProfile, ProfileError> {
        let split = text.strip_suffix("gb").and_then(|text| text.split_once("g."));
        let (compute, memory) = split.ok_or(ProfileError)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(compute) || !digits(memory) {
            return Err(ProfileError);
        }
        match (compute.parse(), memory.parse()) {
            (Ok(compute @ 1..), Ok(memory_gb @ 1..)) => Ok(MigProfile { compute, memory_gb }),
            _ => Err(ProfileError),
        }
    }
}

impl fmt::Display for MigProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}g.{}gb", self.compute, self.memory_gb)
    }
}

impl RankNeeds {
    /// So many ranks with so many devices each, and nothing else asked.
    pub fn new(ranks: u32, devices: u32) -> RankNeeds {
        let device = DeviceNeed::default();
        RankNeeds { ranks, devices, device, cpus: None, memory: 0, ports: 0, alone: false }
    }
}

impl DeviceNeed {
    pub(super) fn is_kind(&self, of: AcceleratorKind) -> bool {
        self.kind.is_none_or(|kind| match kind {
            DeviceKind::Gpu => of != AcceleratorKind::Ascend,
            DeviceKind::Npu => of == AcceleratorKind::Ascend,
        })
    }

    pub(super) fn names(&self, model: Option<&str>) -> bool {
        let Some(wanted) = &self.model else { return true };
        let wanted = wanted.trim();
        model.is_some_and(|model| has_words(model.as_bytes(), wanted.as_bytes()))
    }
}

fn has_words(text: &[u8], wanted: &[u8]) -> bool {
    let word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let grows = wanted.last().is_some_and(u8::is_ascii_alphabetic);
    let fits = |at: usize| {
        let (before, from) = text.split_at(at);
        let Some((here, after)) = from.split_at_checked(wanted.len()) else { return false };
        let next = after.first();
        here.eq_ignore_ascii_case(wanted)
            && !word(before.last())
            && (!word(next) || grows && next.is_some_and(u8::is_ascii_digit))
    };
    !wanted.is_empty() && (0..text.len()).any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_whole_words() {
        let found = |model: &str, wanted: &str| {
            DeviceNeed { model: Some(wanted.to_string()), ..DeviceNeed::default() }.names(Some(model))
        };
        for (model, wanted) in [
            ("NVIDIA H100 80GB HBM3", "H100"),
            ("NVIDIA H100 80GB HBM3", "h100 80gb"),
            ("Ascend 910B3", "910B"),
            ("Tesla T4", "tesla t4"),
        ] {
            assert!(found(model, wanted), "{wanted} in {model}");
        }
        for (model, wanted) in [
            ("NVIDIA GB200", "B200"),
            ("NVIDIA L40S", "L4"),
            ("NVIDIA L40S", "L40"),
            ("NVIDIA H100", ""),
            ("Ascend 910B3", "910"),
        ] {
            assert!(!found(model, wanted), "{wanted} in {model}");
        }
        assert!(!DeviceNeed { model: Some("H100".into()), ..DeviceNeed::default() }.names(None));
    }

    #[test]
    fn a_profile_is_read_as_nvidia_writes_it() {
        let profile: MigProfile = "1g.10gb".parse().unwrap();
        assert_eq!((profile.compute, profile.memory_gb, profile.to_string().as_str()), (1, 10, "1g.10gb"));
        for wrong in ["", "1g", "g.gb", "1g.+1gb", "0g.5gb", "1g.0gb", "1g.10GB", "300g.1gb"] {
            assert_eq!(wrong.parse::<MigProfile>(), Err(ProfileError), "{wrong}");
        }
    }
}
