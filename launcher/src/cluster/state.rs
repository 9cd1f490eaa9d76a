//! The coordinator's state directory, and what is kept there.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use phalanx_common::defaults::{CERTIFICATE_LIFETIME, COORDINATOR_PORT};
use phalanx_common::identity::Role;
use phalanx_net::authority::{Authority, Keys};
use phalanx_net::identity_file::Identity;
use phalanx_net::transport::ResetKeys;
use ring::rand::{SecureRandom, SystemRandom};

use super::Cluster;
use super::registry::User;
use crate::driver::wall;
use crate::store::FileStore;

/// Names of documents in the store.
const CA_CERTIFICATE: &str = "ca-certificate";
const CA_KEY: &str = "ca-key";
const RESET_KEY: &str = "reset-key";
const CONNECTION_ID_KEY: &str = "connection-id-key";
const PROBE_KEY: &str = "probe-key";
/// There once the first operator was added.
const OPERATOR_MADE: &str = "operator-made";

/// Name of the first operator.
const OPERATOR: &str = "operator";

/// The open state directory.
#[derive(Debug)]
pub(super) struct State {
    dir: PathBuf,
    pub(super) store: FileStore,
}

impl State {
    /// Opens the directory, or makes it: for the coordinator's user, but for the login socket in it.
    pub(super) fn open(dir: &Path) -> anyhow::Result<State> {
        DirBuilder::new().recursive(true).mode(0o711).create(dir).with_context(|| {
            format!("cannot make {}; name another directory with --state-dir", dir.display())
        })?;
        let path = dir.join("cluster.redb");
        // Nobody else ever has it open: it will hold the CA's key.
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).with_context(
            || format!("cannot make {}; name another directory with --state-dir", path.display()),
        )?;
        let store = FileStore::open(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .with_context(|| format!("cannot close {} to others", path.display()))?;
        Ok(State { dir: dir.to_owned(), store })
    }

    /// A directory for the coordinator's user alone: it holds what users' jobs said and brought along.
    pub(super) fn private(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o700)))
            .with_context(|| format!("cannot make {} and close it to others", path.display()))?;
        Ok(path)
    }

    /// The cluster's CA: made at the first start, the same ever after.
    pub(super) fn authority(&self) -> anyhow::Result<Authority> {
        match (self.store.get(CA_CERTIFICATE)?, self.store.get(CA_KEY)?) {
            (Some(certificate), Some(key)) => Ok(Authority::load(&certificate, &key)?),
            _ => {
                let authority = Authority::create(wall(), &SystemRandom::new())?;
                self.store.put(CA_KEY, &authority.key())?;
                self.store.put(CA_CERTIFICATE, authority.certificate())?;
                Ok(authority)
            }
        }
    }

    pub(super) fn reset_keys(&self) -> anyhow::Result<ResetKeys> {
        let connection_id = u64::from_le_bytes(self.random(CONNECTION_ID_KEY)?);
        Ok(ResetKeys { reset: self.random(RESET_KEY)?, connection_id })
    }

    pub(super) fn probe_key(&self) -> anyhow::Result<[u8; 32]> {
        self.random(PROBE_KEY)
    }

    /// Random bytes: made once, the same ever after.
    fn random<const N: usize>(&self, name: &str) -> anyhow::Result<[u8; N]> {
        if let Some(kept) = self.store.get(name)? {
            return kept.try_into().map_err(|_| self.store.broken().into());
        }
        let mut bytes = [0; N];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| anyhow::anyhow!("this system has no random numbers"))?;
        self.store.put(name, &bytes)?;
        Ok(bytes)
    }

    /// The first operator's identity, readable for this user alone; one that is there stays while it is good.
    pub(super) async fn write_operator(&self, cluster: &Cluster, address: SocketAddr) -> anyhow::Result<()> {
        let user = User { role: Role::Operator, unix_user: None };
        let known = cluster.registry.user(OPERATOR).await.ok();
        match (self.store.get(OPERATOR_MADE)?, known) {
            (_, Some(known)) if known == user => {}
            (None, None) => cluster.registry.add_user(OPERATOR, user.clone(), wall()).await?,
            // Removed since, and not for this process to bring back.
            _ => return Ok(()),
        }
        self.store.put(OPERATOR_MADE, b"")?;
        let path = operator_path(&self.dir);
        let good = Identity::load(&path).is_ok_and(|identity| {
            identity.cluster == cluster.id && identity.expires > wall() + CERTIFICATE_LIFETIME / 3
        });
        let principal = user.principal(OPERATOR).context("an operator needs no Unix user")?;
        if good {
            return Ok(());
        }
        let keys = Keys::generate()?;
        let certificate = cluster.authority.issue(
            &principal,
            &keys.request()?,
            wall(),
            CERTIFICATE_LIFETIME,
            &SystemRandom::new(),
        )?;
        let ca = cluster.authority.certificate().to_vec();
        Identity::new(ca, certificate, keys.to_pkcs8(), local_addresses(address))?.save(&path)?;
        tracing::info!(path = %path.display(), "wrote the operator's identity");
        Ok(())
    }
}

/// Where the coordinator keeps its state if it is told no other place.
pub(crate) fn default_dir() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/phalanx/coordinator"));
    }
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .map(|state| state.join("phalanx/coordinator"))
}

/// Where a coordinator of this user keeps its state, as far as a client can tell: by the variable that
/// `phalanx serve` reads too, else the usual place.
pub(crate) fn own_dir() -> Option<PathBuf> {
    std::env::var_os("PHALANX_STATE_DIR").map(PathBuf::from).or_else(default_dir)
}

/// The first operator's identity.
pub(crate) fn operator_path(state_dir: &Path) -> PathBuf {
    state_dir.join("operator.json")
}

/// Where users of this host log in.
pub(crate) fn login_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("login.sock")
}

/// How somebody on this host reaches the coordinator.
pub(super) fn local_addresses(address: SocketAddr) -> Vec<String> {
    let mut local = address;
    if address.ip().is_unspecified() {
        local.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    vec![local.to_string()]
}

/// An address as it was advertised, with the port that is listened on if it has none and that is not the usual one.
pub(super) fn with_port(address: &str, port: u16) -> String {
    let bare_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port =
        if address.starts_with('[') { address.contains("]:") } else { !bare_v6 && address.contains(':') };
    match (has_port || port == COORDINATOR_PORT, bare_v6) {
        (true, _) => address.to_owned(),
        (false, true) => format!("[{address}]:{port}"),
        (false, false) => format!("{address}:{port}"),
    }
}

/// How other hosts may reach the coordinator: by this host's name, unless it listens on one address.
pub(super) fn own_addresses(address: SocketAddr) -> Vec<String> {
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => local_addresses(address),
        name => vec![format!("{name}:{}", address.port())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_advertised_without_a_port_gets_the_one_that_is_listened_on() {
        let cases = [
            ("head.lab", 7777, "head.lab:7777"),
            ("head.lab:80", 7777, "head.lab:80"),
            ("head.lab", COORDINATOR_PORT, "head.lab"),
            ("fd00::1", 7777, "[fd00::1]:7777"),
            ("[fd00::1]", 7777, "[fd00::1]:7777"),
            ("[fd00::1]:80", 7777, "[fd00::1]:80"),
        ];
        for (address, port, expected) in cases {
            assert_eq!(with_port(address, port), expected);
        }
    }
}
