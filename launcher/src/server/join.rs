//! A node that joins.

use phalanx_common::defaults::CERTIFICATE_LIFETIME;
use phalanx_common::hex;
use phalanx_common::id::NodeId;
use phalanx_common::identity::{NAME_MAX, Principal, valid_name};
use phalanx_common::wire::join_v1::JoinReply;
use phalanx_net::authority::{self, spki_sha256};
use phalanx_net::join::{Pending, WITHIN};
use quinn::Connection;
use ring::rand::SystemRandom;

use crate::cluster::Cluster;
use crate::driver::wall;

/// Characters of the key's hash in a node's id.
const SUFFIX: usize = 6;

/// Answers one request; everything else on the connection is ignored.
pub(super) async fn serve(connection: Connection, cluster: &Cluster) {
    let from = connection.remote_address();
    let joined = tokio::time::timeout(WITHIN, async {
        let pending = Pending::read(&connection).await?;
        let reply = judge(&pending, cluster).await;
        match &reply {
            Ok((node, _)) => tracing::info!(%from, %node, token = pending.request.token, "a node joined"),
            Err(why) => tracing::warn!(%from, token = pending.request.token, why, "a join was refused"),
        }
        let reply = match reply {
            Ok((_, certificate)) => {
                JoinReply::Accepted { certificate, ca: cluster.authority.certificate().to_vec() }
            }
            Err(why) => JoinReply::Refused { why },
        };
        pending.answer(&reply).await
    });
    match joined.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%from, %error, "a join broke off"),
        Err(_) => tracing::warn!(%from, "a join took too long"),
    }
    connection.close(phalanx_net::transport::CLOSED_NORMALLY, b"");
}

async fn judge(pending: &Pending, cluster: &Cluster) -> Result<(NodeId, Vec<u8>), String> {
    let request = &pending.request;
    let failed = |error: authority::Error| error.to_string();
    let key = authority::key_of_request(&request.csr).map_err(failed)?;
    let node = node_id(&request.host_name, &key)?;
    cluster
        .registry
        .use_token(&request.token, wall(), |key| pending.signed_by(key))
        .await
        .map_err(|error| error.to_string())?;
    cluster.registry.bind_node(&node, spki_sha256(&key)).await.map_err(|error| error.to_string())?;
    let principal = Principal::Worker { node: node.clone() };
    let certificate = cluster
        .authority
        .issue(&principal, &request.csr, wall(), CERTIFICATE_LIFETIME, &SystemRandom::new())
        .map_err(failed)?;
    Ok((node, certificate))
}

/// `<host name>-<hash of the node's key>`: nodes of one host name are told apart. Whose it is the registry knows.
fn node_id(host_name: &str, key: &[u8]) -> Result<NodeId, String> {
    if !valid_name(host_name) || host_name.len() > NAME_MAX - SUFFIX - 1 {
        return Err(format!("the host name {host_name:?} cannot name a node"));
    }
    let hash = hex::encode(&spki_sha256(key));
    Ok(NodeId::new(format!("{host_name}-{}", &hash[..SUFFIX])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_id_is_its_host_name_and_its_key() {
        let id = node_id("gpu-07", b"key").unwrap();
        assert!(id.as_str().starts_with("gpu-07-") && id.as_str().len() == 13, "{id}");
        assert_ne!(node_id("gpu-07", b"another key").unwrap(), id);
        assert!(node_id("../x", b"key").is_err());
        assert!(node_id(&"x".repeat(60), b"key").is_err());
    }
}
