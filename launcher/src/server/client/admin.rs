//! Tokens and users, for operators.

use std::time::Duration;

use phalanx_common::defaults::{CERTIFICATE_LIFETIME, TOKEN_LIFETIME_MAX};
use phalanx_common::identity::{Role, valid_name};
use phalanx_common::wire::client_v1::Reply;
use phalanx_net::frames::Sending;
use ring::rand::SystemRandom;

use super::{Failed, Session, bad};
use crate::cluster::registry::{self, User};
use crate::driver::wall;

impl Session {
    pub(super) async fn create_token(
        &self,
        lifetime_s: u64,
        uses: u32,
        note: String,
        send: &mut Sending,
    ) -> Result<(), Failed> {
        if lifetime_s == 0 || lifetime_s > TOKEN_LIFETIME_MAX.as_secs() || uses == 0 {
            return Err(bad(format!(
                "a token lives from 1 to {} s and has at least one use",
                TOKEN_LIFETIME_MAX.as_secs()
            )));
        }
        let lifetime = Duration::from_secs(lifetime_s);
        let asked =
            registry::TokenRequest { lifetime, uses, note, creator: self.principal.name().to_owned() };
        let token = self.cluster.registry.create_token(self.cluster.authority.pin(), wall(), asked).await?;
        let addresses = self.cluster.advertise.clone();
        Ok(send.write(&Reply::Token { token: token.reveal(), addresses }).await?)
    }

    pub(super) async fn add_user(
        &self,
        name: String,
        role: &str,
        unix_user: Option<String>,
        csr: &[u8],
        send: &mut Sending,
    ) -> Result<(), Failed> {
        let role = Role::parse(role)
            .filter(|role| matches!(role, Role::Operator | Role::Submitter | Role::Viewer))
            .ok_or_else(|| bad(format!("{role}: a user is an operator, a submitter or a viewer")))?;
        for name in [Some(&name), unix_user.as_ref()].into_iter().flatten() {
            if !valid_name(name) {
                return Err(bad(format!(
                    "{name:?} cannot name a user: letters, digits, `.`, `_` and `-` can"
                )));
            }
        }
        let user = User { role, unix_user };
        let principal = user.principal(&name).ok_or_else(|| bad("a submitter needs a Unix user"))?;
        let certificate = self
            .cluster
            .authority
            .issue(&principal, csr, wall(), CERTIFICATE_LIFETIME, &SystemRandom::new())
            .map_err(bad)?;
        self.cluster.registry.add_user(&name, user, wall()).await?;
        let ca = self.cluster.authority.certificate().to_vec();
        let coordinators = self.cluster.advertise.clone();
        Ok(send.write(&Reply::Certificate { certificate, ca, coordinators }).await?)
    }
}
