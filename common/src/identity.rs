//! Who somebody is in a cluster, as their certificate says it.
//!
//! A certificate carries one SPIFFE id as its only URI name: `spiffe://<cluster-id>/<role>/<name>`,
//! with the Unix user as a last part for a submitter. Ids follow the SPIFFE standard (SPIFFE-ID, section 2).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hex;
use crate::id::NodeId;

/// A cluster: the first 16 hexadecimal digits of the SHA-256 of its CA's public key (SubjectPublicKeyInfo).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(String);

/// Hexadecimal digits of a cluster id.
const CLUSTER_ID_BYTES: usize = 8;
/// Longest name of a user or node, bytes.
pub const NAME_MAX: usize = 64;

impl ClusterId {
    /// The id of the cluster whose CA's public key has this SHA-256.
    pub fn of_key(spki_sha256: &[u8; 32]) -> ClusterId {
        ClusterId(hex::encode(&spki_sha256[..CLUSTER_ID_BYTES]))
    }

    /// Reads an id; `None` if it is none.
    pub fn parse(text: &str) -> Option<ClusterId> {
        hex::decode::<CLUSTER_ID_BYTES>(text).map(|_| ClusterId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in the certificate of this cluster's coordinator, wherever it runs.
    pub fn server_name(&self) -> String {
        format!("coordinator.{self}.phalanx")
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Coordinator,
    /// One node: reports about itself and takes its orders.
    Worker,
    /// Everything that a user can do, for everybody.
    Operator,
    /// Jobs of their own.
    Submitter,
    /// Sees nodes and jobs, but no output, and changes nothing.
    Viewer,
}

impl Role {
    const WORDS: [(&'static str, Role); 5] = [
        ("coordinator", Role::Coordinator),
        ("worker", Role::Worker),
        ("operator", Role::Operator),
        ("submitter", Role::Submitter),
        ("viewer", Role::Viewer),
    ];

    /// The word for it, as in a SPIFFE id.
    pub fn word(self) -> &'static str {
        Role::WORDS.iter().find(|(_, role)| *role == self).map_or("", |(word, _)| word)
    }

    pub fn parse(word: &str) -> Option<Role> {
        Role::WORDS.iter().find(|(known, _)| *known == word).map(|(_, role)| *role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Somebody of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    Coordinator,
    Worker { node: NodeId },
    Operator { name: String },
    Submitter { name: String, unix_user: String },
    Viewer { name: String },
}

impl Principal {
    pub fn role(&self) -> Role {
        match self {
            Principal::Coordinator => Role::Coordinator,
            Principal::Worker { .. } => Role::Worker,
            Principal::Operator { .. } => Role::Operator,
            Principal::Submitter { .. } => Role::Submitter,
            Principal::Viewer { .. } => Role::Viewer,
        }
    }

    /// Name of the user or node; empty for the coordinator.
    pub fn name(&self) -> &str {
        match self {
            Principal::Coordinator => "",
            Principal::Worker { node } => node.as_str(),
            Principal::Operator { name } | Principal::Submitter { name, .. } | Principal::Viewer { name } => {
                name
            }
        }
    }

    /// The SPIFFE id of this principal in `cluster`.
    pub fn spiffe_id(&self, cluster: &ClusterId) -> String {
        let role = self.role();
        match self {
            Principal::Coordinator => format!("spiffe://{cluster}/{role}"),
            Principal::Submitter { name, unix_user } => {
                format!("spiffe://{cluster}/{role}/{name}/{unix_user}")
            }
            _ => format!("spiffe://{cluster}/{role}/{}", self.name()),
        }
    }

    /// Reads a SPIFFE id; `None` for anything that `spiffe_id` would not have written.
    pub fn parse(spiffe_id: &str) -> Option<(ClusterId, Principal)> {
        let mut parts = spiffe_id.strip_prefix("spiffe://")?.split('/');
        let cluster = ClusterId::parse(parts.next()?)?;
        let role = Role::parse(parts.next()?)?;
        let mut name = || parts.next().filter(|name| valid_name(name)).map(str::to_owned);
        let principal = match role {
            Role::Coordinator => Principal::Coordinator,
            Role::Worker => Principal::Worker { node: NodeId::new(name()?) },
            Role::Operator => Principal::Operator { name: name()? },
            Role::Submitter => Principal::Submitter { name: name()?, unix_user: name()? },
            Role::Viewer => Principal::Viewer { name: name()? },
        };
        parts.next().is_none().then_some((cluster, principal))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Coordinator => f.write_str("coordinator"),
            // The first operator is called so.
            _ if self.role().to_string() == self.name() => f.write_str(self.name()),
            _ => write!(f, "{} {}", self.role(), self.name()),
        }
    }
}

/// Whose a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user's name in the cluster; in local mode the user id of who runs the launcher.
    pub name: String,
    /// The Unix user its ranks run as; `None` in local mode, where they are the launcher's.
    pub unix_user: Option<String>,
}

/// Whether `name` can name a user or a node: letters, digits, `.`, `_` and `-`, no leading `.` or `-`.
/// A Unix user outside of this cannot submit jobs.
pub fn valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_MAX && !name.starts_with(['.', '-']) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterId {
        ClusterId::of_key(&[0xab; 32])
    }

    #[test]
    fn a_spiffe_id_is_read_back_as_it_was_written() {
        let principals = [
            Principal::Coordinator,
            Principal::Worker { node: NodeId::new("gpu-07-3fk2") },
            Principal::Operator { name: "root".into() },
            Principal::Submitter { name: "ann".into(), unix_user: "ann_b".into() },
            Principal::Viewer { name: "board".into() },
        ];
        for principal in principals {
            let id = principal.spiffe_id(&cluster());
            assert_eq!(Principal::parse(&id), Some((cluster(), principal)), "{id}");
        }
    }

    #[test]
    fn nothing_else_is_a_spiffe_id() {
        let prefix = "spiffe://abababababababab";
        for path in [
            "",
            "/",
            "/worker",
            "/worker/",
            "/worker/a/b",
            "/worker/../a",
            "/submitter/ann",
            "/root/a",
            "/coordinator/x",
            "/worker/a b",
            "/worker/-a",
            "/operator/a/",
            "/Worker/a",
        ] {
            assert_eq!(Principal::parse(&format!("{prefix}{path}")), None, "{path}");
        }
        assert_eq!(Principal::parse("spiffe://ABABABABABABABAB/worker/a"), None);
        assert_eq!(Principal::parse("https://abababababababab/worker/a"), None);
    }

    #[test]
    fn the_coordinator_has_one_name_wherever_it_runs() {
        assert_eq!(cluster().server_name(), "coordinator.abababababababab.phalanx");
    }
}
