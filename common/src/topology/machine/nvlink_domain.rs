//! NVLink beyond a machine: which GPUs of a rack reach each other, and where in the rack they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::shown;

/// A GPU's registration with the fabric manager, as `nvmlGpuFabricInfo_v3_t` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fabric {
    pub state: FabricState,
    /// Whether the registration succeeded; `None` before it has ended, and where nobody says.
    pub succeeded: Option<bool>,
    pub cluster: Option<ClusterUuid>,
    pub clique: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FabricState {
    #[default]
    NotSupported,
    NotStarted,
    InProgress,
    Completed,
}

/// The GPUs with the same cluster and clique reach each other over NVLink. A clique alone says nothing: its
/// numbers begin anew in every cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NvlinkDomain {
    pub cluster: ClusterUuid,
    pub clique: u32,
}

impl Fabric {
    /// The NVLink domain: only of a registration that is completed and succeeded, with a UUID that is not all
    /// zero. A single machine with NVSwitches reports a completed one with a zero UUID.
    pub fn domain(&self) -> Option<NvlinkDomain> {
        let cluster = self.cluster.filter(|cluster| *cluster != ClusterUuid([0; 16]))?;
        let joined = self.state == FabricState::Completed && self.succeeded == Some(true);
        joined.then_some(NvlinkDomain { cluster, clique: self.clique? })
    }
}

/// Where in a rack a GPU is, as `nvmlPlatformInfo_t` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub chassis: Option<String>,
    pub slot: Option<u32>,
    pub tray: Option<u32>,
    pub host: Option<u32>,
    pub module: Option<u32>,
}

/// Of an NVLink cluster, written `00000001-0000-0000-0000-000000000001`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterUuid(pub [u8; 16]);

/// Text that is no UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is no UUID of 32 hexadecimal digits")]
pub struct UuidError {
    text: String,
}

impl FromStr for ClusterUuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<ClusterUuid, UuidError> {
        let wrong = || UuidError { text: shown(text) };
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').take(33).collect();
        let mut uuid = [0; 16];
        if digits.len() != 32 {
            return Err(wrong());
        }
        for (byte, pair) in uuid.iter_mut().zip(digits.chunks(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or_else(wrong);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(ClusterUuid(uuid))
    }
}

impl fmt::Display for ClusterUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClusterUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for ClusterUuid {
    type Error = UuidError;

    fn try_from(text: String) -> Result<ClusterUuid, UuidError> {
        text.parse()
    }
}

impl From<ClusterUuid> for String {
    fn from(uuid: ClusterUuid) -> String {
        uuid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_completed_registration_that_succeeded_with_a_uuid_is_a_domain() {
        let uuid: ClusterUuid = "00000001-0000-0000-0000-0000000000Ab".parse().unwrap();
        assert_eq!(uuid.to_string(), "00000001-0000-0000-0000-0000000000ab");
        let good = Fabric {
            state: FabricState::Completed,
            succeeded: Some(true),
            cluster: Some(uuid),
            clique: Some(2),
        };
        assert_eq!(good.domain(), Some(NvlinkDomain { cluster: uuid, clique: 2 }));
        for none in [
            Fabric { state: FabricState::InProgress, ..good.clone() },
            Fabric { succeeded: Some(false), ..good.clone() },
            Fabric { succeeded: None, ..good.clone() },
            Fabric { cluster: Some(ClusterUuid([0; 16])), ..good.clone() },
            Fabric { cluster: None, ..good.clone() },
            Fabric { clique: None, ..good.clone() },
        ] {
            assert_eq!(none.domain(), None, "{none:?}");
        }
        for wrong in ["", "N/A", "0000000g-0000-0000-0000-000000000000", &"0".repeat(33)] {
            assert!(wrong.parse::<ClusterUuid>().is_err(), "{wrong}");
        }
    }
}
