//! Join tokens and users: what the operator allowed. Everything is on disk before it counts.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::defaults::CERTIFICATE_LIFETIME;
use phalanx_common::id::NodeId;
use phalanx_common::identity::{Principal, Role};
use phalanx_common::label;
use phalanx_common::status::{TokenStatus, UserStatus};
use phalanx_common::text::shown;
use phalanx_common::time::Timestamp;
use phalanx_net::token::{self, Token, TokenId, TokenKey};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::store::{self, FileStore};

const TOKENS: &str = "tokens";
const USERS: &str = "users";
const LABELS: &str = "labels";
/// Before a node's id: the hash of its key.
const NODE: &str = "node/";
/// A certificate may be this much older than the user whom it was issued to, and counts whole seconds.
const ISSUING: Duration = Duration::from_secs(5);
/// A token that is past its use is listed for so long: its operator may ask what became of it.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Why the registry says no. What a stranger is told does not say whether a token exists.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "the join token is not known here, or it was not signed with: get a new one with `phalanx token create`"
    )]
    Unknown,
    #[error("the join token expired at {}; get a new one with `phalanx token create`", .0.to_rfc3339())]
    Expired(Timestamp),
    #[error(
        "the join token was used as often as it may be ({0} of {0}); get a new one with `phalanx token create`"
    )]
    UsedUp(u32),
    #[error("the join token was revoked; get a new one with `phalanx token create`")]
    Revoked,
    #[error("there is no such token; `phalanx token list` lists them")]
    NoToken,
    #[error("there is no user {name}; `phalanx user list` lists them")]
    NoUser { name: String },
    #[error(
        "{name} is the only operator, and nobody else could make another: add one first, `phalanx user add NAME --role operator`"
    )]
    LastOperator { name: String },
    #[error("the name {name} is taken by a {role}; remove that user first, or choose another name")]
    Taken { name: String, role: Role },
    #[error("the certificate of {principal} counts no more: the user was removed or changed; log in again")]
    Removed { principal: Principal },
    #[error(
        "the node id {node} is that of another key; remove this host's identity and join again, with a new one"
    )]
    Bound { node: NodeId },
    #[error(
        "the node {node} was forgotten, and its certificate counts no more: join it again with a new token"
    )]
    Forgotten { node: NodeId },
    #[error(
        "{name} names no label, or its value is none: letters, digits, `-`, `_`, `.` and `/`, 63 at most"
    )]
    Label { name: String },
    #[error("{node} would have more than {} labels", label::MOST)]
    Labels { node: NodeId },
    #[error(transparent)]
    Token(#[from] token::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A join token, as kept: never its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TokenEntry {
    key: [u8; 32],
    expires: Timestamp,
    uses: u32,
    used: u32,
    revoked: bool,
    creator: String,
    note: String,
}

/// A user, as kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) role: Role,
    pub(crate) unix_user: Option<String>,
}

impl User {
    /// Who that is; `None` for a submitter without a Unix user, or a role that no user has.
    pub(crate) fn principal(&self, name: &str) -> Option<Principal> {
        let name = name.to_owned();
        match (self.role, self.unix_user.clone()) {
            (Role::Operator, _) => Some(Principal::Operator { name }),
            (Role::Viewer, _) => Some(Principal::Viewer { name }),
            (Role::Submitter, Some(unix_user)) => Some(Principal::Submitter { name, unix_user }),
            _ => None,
        }
    }
}

/// What a token is asked for with.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    pub(crate) lifetime: Duration,
    pub(crate) uses: u32,
    pub(crate) note: String,
    pub(crate) creator: String,
}

#[derive(Debug)]
struct Tables {
    tokens: BTreeMap<String, TokenEntry>,
    users: BTreeMap<String, Entry>,
    labels: BTreeMap<NodeId, Changes>,
}

/// What an operator changed of the labels that a node came with; `None` took one away.
type Changes = BTreeMap<String, Option<String>>;

/// A user, and since when.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    user: User,
    since: Timestamp,
}

/// Tokens and users of one cluster.
#[derive(Debug)]
pub(crate) struct Registry {
    store: FileStore,
    tables: Mutex<Tables>,
}

impl Registry {
    /// What the store holds.
    pub(crate) fn load(store: FileStore) -> Result<Registry, store::Error> {
        let tables = Tables {
            tokens: read(&store, TOKENS)?,
            users: read(&store, USERS)?,
            labels: read(&store, LABELS)?,
        };
        Ok(Registry { store, tables: Mutex::new(tables) })
    }

    /// A new token for the CA whose public key has the SHA-256 `pin`.
    pub(crate) async fn create_token(
        &self,
        pin: [u8; 32],
        now: Timestamp,
        asked: TokenRequest,
    ) -> Result<Token, Error> {
        let token = Token::generate(&SystemRandom::new(), pin)?;
        let entry = TokenEntry {
            key: token.key().0,
            expires: now + asked.lifetime,
            uses: asked.uses,
            used: 0,
            revoked: false,
            creator: asked.creator,
            note: asked.note,
        };
        let mut tables = self.tables.lock().await;
        tables.tokens.retain(|_, entry| entry.expires + REMEMBERED > now);
        tables.tokens.insert(token.id().to_string(), entry);
        self.keep(TOKENS, &tables.tokens).await?;
        Ok(token)
    }

    /// Uses a token once, if whoever asks signed with it and it is good for one more.
    pub(crate) async fn use_token(
        &self,
        id: &str,
        now: Timestamp,
        signed: impl FnOnce(&TokenKey) -> bool,
    ) -> Result<(), Error> {
        let mut tables = self.tables.lock().await;
        let known = TokenId::parse(id).and_then(|id| tables.tokens.get_mut(&id.to_string()));
        let entry = known.filter(|entry| signed(&TokenKey(entry.key))).ok_or(Error::Unknown)?;
        if entry.revoked {
            return Err(Error::Revoked);
        }
        if entry.expires <= now {
            return Err(Error::Expired(entry.expires));
        }
        if entry.used >= entry.uses {
            return Err(Error::UsedUp(entry.used));
        }
        entry.used += 1;
        self.keep(TOKENS, &tables.tokens).await
    }

    pub(crate) async fn tokens(&self) -> Vec<TokenStatus> {
        let tables = self.tables.lock().await;
        let status = |(id, entry): (&String, &TokenEntry)| TokenStatus {
            id: id.clone(),
            expires: entry.expires,
            uses: entry.uses,
            used: entry.used,
            revoked: entry.revoked,
            created_by: entry.creator.clone(),
            note: entry.note.clone(),
        };
        tables.tokens.iter().map(status).collect()
    }

    pub(crate) async fn revoke_token(&self, id: &str) -> Result<(), Error> {
        let mut tables = self.tables.lock().await;
        tables.tokens.get_mut(id).ok_or(Error::NoToken)?.revoked = true;
        self.keep(TOKENS, &tables.tokens).await
    }

    /// Whether this certificate still stands for a user: one that was issued to a user of this name who was
    /// removed does not, whoever has the name by now.
    pub(crate) async fn admits(&self, principal: &Principal, expires: Timestamp) -> Result<(), Error> {
        let tables = self.tables.lock().await;
        let name = principal.name();
        let stands = |entry: &Entry| {
            let known = entry.user.principal(name);
            known.as_ref() == Some(principal) && expires + ISSUING >= entry.since + CERTIFICATE_LIFETIME
        };
        match tables.users.get(name) {
            Some(entry) if stands(entry) => Ok(()),
            _ => Err(Error::Removed { principal: principal.clone() }),
        }
    }

    /// Keeps whose key a node's id is: it holds few digits of the key's hash, and with some patience another
    /// key is found that begins so.
    pub(crate) async fn bind_node(&self, node: &NodeId, key: [u8; 32]) -> Result<(), Error> {
        let _one_at_a_time = self.tables.lock().await;
        let name = format!("{NODE}{node}");
        match self.store.get(&name)? {
            Some(known) if known == key => Ok(()),
            Some(_) => Err(Error::Bound { node: node.clone() }),
            None => self.put(name, key.to_vec()).await,
        }
    }

    /// Whether the node has joined, and was not forgotten since.
    pub(crate) fn admits_node(&self, node: &NodeId) -> Result<(), Error> {
        match self.store.get(&format!("{NODE}{node}"))? {
            Some(_) => Ok(()),
            None => Err(Error::Forgotten { node: node.clone() }),
        }
    }

    /// The node's certificate counts no more, and nothing is kept of it.
    pub(crate) async fn forget_node(&self, node: &NodeId) -> Result<(), Error> {
        let mut tables = self.tables.lock().await;
        self.change(format!("{NODE}{node}"), None).await?;
        if tables.labels.remove(node).is_some() {
            self.keep(LABELS, &tables.labels).await?;
        }
        Ok(())
    }

    pub(crate) async fn user(&self, name: &str) -> Result<User, Error> {
        let tables = self.tables.lock().await;
        let known = tables.users.get(name).map(|entry| entry.user.clone());
        known.ok_or_else(|| Error::NoUser { name: name.to_owned() })
    }

    /// Adds a user; one that is there already stays if it is the same.
    pub(crate) async fn add_user(&self, name: &str, user: User, now: Timestamp) -> Result<(), Error> {
        let mut tables = self.tables.lock().await;
        match tables.users.get(name) {
            Some(known) if known.user == user => Ok(()),
            Some(known) => Err(Error::Taken { name: name.to_owned(), role: known.user.role }),
            None => {
                tables.users.insert(name.to_owned(), Entry { user, since: now });
                self.keep(USERS, &tables.users).await
            }
        }
    }

    pub(crate) async fn remove_user(&self, name: &str) -> Result<(), Error> {
        let mut tables = self.tables.lock().await;
        let others_operate =
            tables.users.iter().any(|(other, entry)| other != name && entry.user.role == Role::Operator);
        match tables.users.get(name) {
            None => return Err(Error::NoUser { name: name.to_owned() }),
            Some(entry) if entry.user.role == Role::Operator && !others_operate => {
                return Err(Error::LastOperator { name: name.to_owned() });
            }
            Some(_) => tables.users.remove(name),
        };
        self.keep(USERS, &tables.users).await
    }

    pub(crate) async fn users(&self) -> Vec<UserStatus> {
        let tables = self.tables.lock().await;
        let status = |(name, entry): (&String, &Entry)| UserStatus {
            name: name.clone(),
            role: entry.user.role.to_string(),
            unix_user: entry.user.unix_user.clone(),
        };
        tables.users.iter().map(status).collect()
    }

    /// Changes labels of a node.
    pub(crate) async fn label(&self, node: &NodeId, changes: Changes) -> Result<(), Error> {
        let wrong = |(name, value): (&String, &Option<String>)| {
            !label::is_name(name) || value.as_ref().is_some_and(|value| !label::is_word(value))
        };
        if let Some((name, _)) = changes.iter().find(|(name, value)| wrong((name, value))) {
            return Err(Error::Label { name: shown(name) });
        }
        let mut tables = self.tables.lock().await;
        let known = tables.labels.entry(node.clone()).or_default();
        known.extend(changes);
        if known.len() > label::MOST {
            // As it was on disk.
            tables.labels = read(&self.store, LABELS)?;
            return Err(Error::Labels { node: node.clone() });
        }
        self.keep(LABELS, &tables.labels).await
    }

    /// The labels of a node that came with these.
    pub(crate) async fn labels(&self, node: &NodeId, own: &[(String, String)]) -> BTreeMap<String, String> {
        let tables = self.tables.lock().await;
        let mut labels: BTreeMap<String, String> = own.iter().cloned().collect();
        for (name, value) in tables.labels.get(node).into_iter().flatten() {
            match value {
                Some(value) => labels.insert(name.clone(), value.clone()),
                None => labels.remove(name),
            };
        }
        labels
    }

    async fn keep(&self, name: &'static str, table: &impl Serialize) -> Result<(), Error> {
        // Text and numbers always have a JSON form.
        self.put(name.to_owned(), serde_json::to_vec(table).unwrap_or_default()).await
    }

    async fn put(&self, name: String, document: Vec<u8>) -> Result<(), Error> {
        self.change(name, Some(document)).await
    }

    /// Keeps a document, or removes it.
    async fn change(&self, name: String, document: Option<Vec<u8>>) -> Result<(), Error> {
        let store = self.store.clone();
        let changed = move || match document {
            Some(document) => store.put(&name, &document),
            None => store.remove(&name),
        };
        match tokio::task::spawn_blocking(changed).await {
            Ok(kept) => Ok(kept?),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Store(store::Error::Ending)),
        }
    }
}

fn read<T: Default + for<'de> Deserialize<'de>>(store: &FileStore, name: &str) -> Result<T, store::Error> {
    match store.get(name)? {
        Some(text) => serde_json::from_slice(&text).map_err(|_| store.broken()),
        None => Ok(T::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uses: u32) -> TokenRequest {
        TokenRequest {
            lifetime: Duration::from_secs(60),
            uses,
            note: "rack 1".into(),
            creator: "root".into(),
        }
    }

    fn registry(name: &str) -> (Registry, std::path::PathBuf) {
        let dir = std::env::temp_dir().join(format!("phalanx-registry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let store = FileStore::open(&dir.join("cluster.redb")).unwrap();
        (Registry::load(store).unwrap(), dir)
    }

    async fn use_it(registry: &Registry, token: &Token, at: u64) -> Result<(), String> {
        let message = b"message";
        let signature = token.sign(message);
        registry
            .use_token(&token.id().to_string(), Timestamp(at), |key| key.verifies(message, &signature))
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_token_counts_its_uses_and_ends_with_its_time_or_by_being_revoked() {
        let (registry, dir) = registry("token");
        let now = Timestamp(1_000_000);
        let token = registry.create_token([1; 32], now, asked(2)).await.unwrap();
        assert_eq!(use_it(&registry, &token, 2_000_000).await, Ok(()));
        assert_eq!(use_it(&registry, &token, 2_000_000).await, Ok(()));
        assert!(use_it(&registry, &token, 2_000_000).await.unwrap_err().contains("(2 of 2)"));
        let token = registry.create_token([1; 32], now, asked(1)).await.unwrap();
        let late = use_it(&registry, &token, 61_000_000).await.unwrap_err();
        assert!(late.contains("expired at 1970-01-01T00:01:01Z"), "{late}");
        registry.revoke_token(&token.id().to_string()).await.unwrap();
        assert!(use_it(&registry, &token, 2_000_000).await.unwrap_err().contains("revoked"));
        let stranger = Token::generate(&SystemRandom::new(), [1; 32]).unwrap();
        assert!(use_it(&registry, &stranger, 2_000_000).await.unwrap_err().contains("not known"));
        // The right id with a wrong signature is told the same.
        let signature = stranger.sign(b"message");
        let forged = registry
            .use_token(&token.id().to_string(), now, |key| key.verifies(b"message", &signature))
            .await;
        assert!(matches!(forged, Err(Error::Unknown)));
        drop(registry);
        // All of it is on disk.
        let store = FileStore::open(&dir.join("cluster.redb")).unwrap();
        let registry = Registry::load(store).unwrap();
        let tokens = registry.tokens().await;
        assert_eq!(tokens.iter().map(|token| token.used).sum::<u32>(), 2);
        assert_eq!(tokens.iter().filter(|token| token.revoked).count(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_removed_or_changed_user_is_admitted_no_more() {
        let (registry, dir) = registry("user");
        let ann = User { role: Role::Submitter, unix_user: Some("ann".into()) };
        let principal = ann.principal("ann").unwrap();
        let at = |second: u64| Timestamp(second * 1_000_000);
        let issued = |second: u64| at(second) + CERTIFICATE_LIFETIME;
        assert!(matches!(registry.admits(&principal, issued(100)).await, Err(Error::Removed { .. })));
        registry.add_user("ann", ann.clone(), at(100)).await.unwrap();
        registry.add_user("ann", ann.clone(), at(150)).await.unwrap();
        registry.admits(&principal, issued(100)).await.unwrap();
        let other = User { role: Role::Submitter, unix_user: Some("root".into()) };
        assert!(matches!(registry.add_user("ann", other.clone(), at(150)).await, Err(Error::Taken { .. })));
        assert!(registry.admits(&other.principal("ann").unwrap(), issued(150)).await.is_err());
        registry.remove_user("ann").await.unwrap();
        assert!(registry.admits(&principal, issued(100)).await.is_err());
        // What was issued before counts no more when there is an ann again.
        registry.add_user("ann", ann, at(200)).await.unwrap();
        assert!(registry.admits(&principal, issued(150)).await.is_err());
        registry.admits(&principal, issued(200)).await.unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn the_last_operator_is_not_removed() {
        let (registry, dir) = registry("operator");
        let operator = User { role: Role::Operator, unix_user: None };
        let viewer = User { role: Role::Viewer, unix_user: None };
        for (name, user) in [("root", &operator), ("ann", &operator), ("bob", &viewer)] {
            registry.add_user(name, user.clone(), Timestamp(1)).await.unwrap();
        }
        registry.remove_user("root").await.unwrap();
        assert!(matches!(registry.remove_user("ann").await, Err(Error::LastOperator { .. })));
        registry
            .admits(&operator.principal("ann").unwrap(), Timestamp(1) + CERTIFICATE_LIFETIME)
            .await
            .unwrap();
        registry.remove_user("bob").await.unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn what_an_operator_says_of_labels_wins_and_lasts() {
        let (registry, dir) = registry("labels");
        let node = NodeId::new("n-0a1b2c");
        let own = [("pool".to_owned(), "a".to_owned()), ("rack".to_owned(), "7".to_owned())];
        let change =
            |name: &str, value: Option<&str>| BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]);
        registry.label(&node, change("pool", Some("b"))).await.unwrap();
        registry.label(&node, change("rack", None)).await.unwrap();
        assert!(matches!(registry.label(&node, change("a b", None)).await, Err(Error::Label { .. })));
        let many = (0..65).map(|number| (format!("l{number}"), Some(String::new()))).collect();
        assert!(matches!(registry.label(&node, many).await, Err(Error::Labels { .. })));
        drop(registry);
        let again = Registry::load(FileStore::open(&dir.join("cluster.redb")).unwrap()).unwrap();
        assert_eq!(again.labels(&node, &own).await, BTreeMap::from([("pool".to_owned(), "b".to_owned())]));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_nodes_id_stays_with_the_key_that_had_it_first() {
        let (registry, dir) = registry("node");
        let node = NodeId::new("n-0a1b2c");
        registry.bind_node(&node, [1; 32]).await.unwrap();
        registry.bind_node(&node, [1; 32]).await.unwrap();
        assert!(matches!(registry.bind_node(&node, [2; 32]).await, Err(Error::Bound { .. })));
        registry.bind_node(&NodeId::new("n-0a1b2d"), [2; 32]).await.unwrap();
        registry.admits_node(&node).unwrap();
        registry.forget_node(&node).await.unwrap();
        assert!(matches!(registry.admits_node(&node), Err(Error::Forgotten { .. })));
        registry.admits_node(&NodeId::new("n-0a1b2d")).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
