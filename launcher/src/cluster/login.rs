//! Logging in on the coordinator's host: a Unix socket, on which the kernel says who asks.

use std::collections::BTreeMap;
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
use phalanx_common::text::chain;
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
/// Before the next login is taken, if one could not be: files may have run out.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Logins at once: each is a moment's work.
const AT_ONCE: usize = 256;
/// Logins of one user at once: nobody keeps the others out by saying nothing.
const AT_ONCE_OF_USER: usize = 4;

/// The listening socket.
#[derive(Debug)]
pub(super) struct Login {
    listener: UnixListener,
    coordinators: Vec<String>,
    path: PathBuf,
}

impl Drop for Login {
    fn drop(&mut self) {
        // Nobody takes logins there any more.
        let _ = std::fs::remove_file(&self.path);
    }
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
        Ok(Login { listener, coordinators, path: path.to_owned() })
    }

    /// Answers, for ever.
    pub(super) async fn serve(self, cluster: &Arc<Cluster>) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut of_users: BTreeMap<u32, Arc<Semaphore>> = BTreeMap::new();
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = self.listener.accept().await;
            let known = accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?.uid(), stream)));
            let (uid, stream) = match known {
                Ok(known) => known,
                Err(error) => {
                    tracing::warn!(%error, "a login could not be taken");
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
            };
            of_users.retain(|_, user| user.available_permits() < AT_ONCE_OF_USER);
            let user = of_users.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_OF_USER)));
            let Ok(users_permit) = Arc::clone(user).try_acquire_owned() else {
                refuse(&stream, "logins of this user are under way; try again in a moment");
                continue;
            };
            let (cluster, coordinators) = (Arc::clone(cluster), self.coordinators.clone());
            tokio::spawn(async move {
                let uid = Uid::from_raw(uid);
                let answered = tokio::time::timeout(WITHIN, answer(stream, uid, &cluster, coordinators));
                if let Ok(Err(error)) = answered.await {
                    tracing::warn!("a login broke off: {}", chain(error.as_ref()));
                }
                drop((permit, users_permit));
            });
        }
    }
}

/// As far as the socket takes it at once: nobody is waited for to hear a refusal.
fn refuse(stream: &UnixStream, why: &str) {
    let mut bytes = Vec::new();
    if codec::encode(&LoginReply::Refused { why: why.to_owned() }, &mut bytes).is_ok() {
        let _ = stream.try_write(&bytes);
    }
}

async fn answer(
    mut stream: UnixStream,
    uid: Uid,
    cluster: &Cluster,
    coordinators: Vec<String>,
) -> anyhow::Result<()> {
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
            let why = chain(error.as_ref());
            tracing::warn!(%uid, "a login was refused: {why}");
            LoginReply::Refused { why }
        }
    };
    let mut bytes = Vec::new();
    codec::encode(&reply, &mut bytes)?;
    stream.write_all(&bytes).await?;
    Ok(())
}

/// A submitter's certificate for who has this user id.
async fn certify(uid: Uid, csr: &[u8], cluster: &Cluster) -> anyhow::Result<Vec<u8>> {
    // Elsewhere: accounts may be in a directory that answers slowly.
    let user = tokio::task::spawn_blocking(move || UnixUser::from_uid(uid))
        .await?
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
    let stream = BlockingStream::connect(socket).map_err(|error| {
        anyhow::anyhow!(
            "no coordinator takes logins at {} ({error}); if `phalanx serve` runs on this host with another --state-dir \
             DIR: phalanx login --socket DIR/login.sock; on any other host, with a bundle from its operator: \
             phalanx login --bundle FILE",
            socket.display()
        )
    })?;
    match exchange(stream, &LoginRequest { csr: keys.request()? })? {
        LoginReply::Accepted { certificate, ca, coordinators } => {
            Ok(Identity::new(ca, certificate, keys.to_pkcs8(), coordinators)?)
        }
        LoginReply::Refused { why } => bail!("the coordinator refuses: {why}"),
    }
}

/// An answer counts whatever became of the request: a coordinator that is busy refuses before it reads any.
fn exchange(mut stream: BlockingStream, request: &LoginRequest) -> anyhow::Result<LoginReply> {
    stream.set_read_timeout(Some(WITHIN))?;
    let mut bytes = Vec::new();
    codec::encode(request, &mut bytes)?;
    let written = stream.write_all(&bytes);
    let mut answer = Vec::new();
    let read = stream.take(LARGEST as u64).read_to_end(&mut answer);
    if let Some(reply) = codec::take(&mut answer)? {
        return Ok(reply);
    }
    written.context("the coordinator does not take the login")?;
    read.context("the coordinator does not answer the login")?;
    bail!("the coordinator does not answer the login")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_login_that_is_refused_before_it_is_read_is_told_why() {
        let request = LoginRequest { csr: vec![7; 400] };
        let refusal = || LoginReply::Refused { why: "try again in a moment".to_owned() };
        // Closed before the request is written, and with the request unread.
        for written_first in [false, true] {
            let (client, server) = UnixStream::pair().unwrap();
            let mut client = client.into_std().unwrap();
            client.set_nonblocking(false).unwrap();
            if written_first {
                client.write_all(&[0; 16]).unwrap();
            }
            refuse(&server, "try again in a moment");
            drop(server);
            assert_eq!(exchange(client, &request).unwrap(), refusal());
        }
        let (client, server) = BlockingStream::pair().unwrap();
        drop(server);
        let error = exchange(client, &request).unwrap_err();
        assert_eq!(error.to_string(), "the coordinator does not take the login");
    }
}
