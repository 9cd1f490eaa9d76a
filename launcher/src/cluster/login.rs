//! Logging in on the coordinator's host: a Unix socket, on which the kernel says who asks.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::unistd::{Uid, User as UnixUser};
use phalanx_common::defaults::CERTIFICATE_LIFETIME;
use phalanx_common::identity::{Role, valid_name};
use phalanx_common::wire::client_v1::{LoginReply, LoginRequest};
use phalanx_common::wire::codec;
use phalanx_net::authority::Keys;
use phalanx_net::identity_file::Identity;
use ring::rand::SystemRandom;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::Cluster;
use super::registry::User;
use crate::driver::wall;

/// Largest request, bytes.
const LARGEST: usize = 16 << 10;
/// From connecting to the answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Logins at once: each is a moment's work, and nobody may hold more than these.
const AT_ONCE: usize = 16;

/// The listening socket.
#[derive(Debug)]
pub(super) struct Login {
    listener: UnixListener,
    coordinators: Vec<String>,
}

impl Login {
    /// Listens at `path`, where everybody of this host may connect.
    pub(super) fn bind(path: &Path, coordinators: Vec<String>) -> anyhow::Result<Login> {
        // The store's lock says that no other coordinator uses this directory: a socket there is a leftover.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot listen for logins at {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
            .with_context(|| format!("cannot open {} for users", path.display()))?;
        Ok(Login { listener, coordinators })
    }

    /// Answers, for ever.
    pub(super) async fn serve(self, cluster: &Arc<Cluster>) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (cluster, coordinators) = (Arc::clone(cluster), self.coordinators.clone());
                    tokio::spawn(async move {
                        let answered = tokio::time::timeout(WITHIN, answer(stream, &cluster, coordinators));
                        if let Ok(Err(error)) = answered.await {
                            tracing::warn!("a login broke off: {error:#}");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a login could not be taken");
                    tokio::time::sleep(WITHIN).await;
                }
            }
        }
    }
}

async fn answer(mut stream: UnixStream, cluster: &Cluster, coordinators: Vec<String>) -> anyhow::Result<()> {
    let uid = Uid::from_raw(stream.peer_cred().context("the kernel does not say who asks")?.uid());
    let mut bytes = Vec::new();
    let request: LoginRequest = loop {
        if let Some(request) = codec::take(&mut bytes)? {
            break request;
        }
        if bytes.len() > LARGEST || stream.read_buf(&mut bytes).await? == 0 {
            bail!("user id {uid} sent no login request");
        }
    };
    let reply = match certify(uid, &request.csr, cluster).await {
        Ok(certificate) => {
            let ca = cluster.authority.certificate().to_vec();
            LoginReply::Accepted { certificate, ca, coordinators }
        }
        Err(error) => {
            tracing::warn!(%uid, "a login was refused: {error:#}");
            LoginReply::Refused { why: format!("{error:#}") }
        }
    };
    let mut bytes = Vec::new();
    codec::encode(&reply, &mut bytes)?;
    stream.write_all(&bytes).await?;
    Ok(())
}

/// A submitter's certificate for who has this user id.
async fn certify(uid: Uid, csr: &[u8], cluster: &Cluster) -> anyhow::Result<Vec<u8>> {
    let user = UnixUser::from_uid(uid)
        .with_context(|| format!("user id {uid} cannot be looked up"))?
        .with_context(|| format!("user id {uid} has no name on the coordinator's host"))?;
    if !valid_name(&user.name) {
        bail!("the user name {:?} cannot be used: letters, digits, `.`, `_` and `-` can", user.name);
    }
    let member = User { role: Role::Submitter, unix_user: Some(user.name.clone()) };
    let principal = member.principal(&user.name).context("a submitter has a Unix user")?;
    cluster.registry.add_user(&user.name, member, wall()).await?;
    tracing::info!(user = user.name, "logged in");
    Ok(cluster.authority.issue(&principal, csr, wall(), CERTIFICATE_LIFETIME, &SystemRandom::new())?)
}

/// The client's side: a new identity for whoever runs this process.
pub(crate) fn ask(socket: &PathBuf) -> anyhow::Result<Identity> {
    let keys = Keys::generate()?;
    let mut stream = BlockingStream::connect(socket).with_context(|| {
        format!(
            "no coordinator takes logins at {}; log in on the coordinator's host, or with a bundle from its operator: \
             phalanx login --bundle FILE",
            socket.display()
        )
    })?;
    stream.set_read_timeout(Some(WITHIN))?;
    let mut bytes = Vec::new();
    codec::encode(&LoginRequest { csr: keys.request()? }, &mut bytes)?;
    stream.write_all(&bytes).context("the coordinator does not take the login")?;
    let mut answer = Vec::new();
    stream
        .take(LARGEST as u64)
        .read_to_end(&mut answer)
        .context("the coordinator does not answer the login")?;
    match codec::take(&mut answer)? {
        Some(LoginReply::Accepted { certificate, ca, coordinators }) => {
            Ok(Identity::new(ca, certificate, keys.to_pkcs8(), coordinators)?)
        }
        Some(LoginReply::Refused { why }) => bail!("the coordinator refuses: {why}"),
        None => bail!("the coordinator does not answer the login"),
    }
}
