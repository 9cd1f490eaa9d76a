//! Join tokens: what a person pastes on a node so that it may join a cluster.
//!
//! ```text
//! phx1.<token id>.<secret>.<SHA-256 of the cluster CA's public key>.<checksum>
//! ```
//!
//! Every part is lower-case hexadecimal. The secret is the seed of an Ed25519 key (RFC 8032): the
//! joiner signs with it and the coordinator keeps the public key alone, so neither a listener nor a thief
//! of the coordinator's records can join. The hash pins the CA (as RFC 7469 does: over the
//! SubjectPublicKeyInfo), and there is no token without it. The checksum, the first four bytes of the
//! SHA-256 of what stands before it, tells a slip of the hand from a token that is not known.

use std::fmt;

use phalanx_common::hex;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Begins every token, so that scanners for leaked secrets can find one.
const PREFIX: &str = "phx1";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
const PIN_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// What a token is known by; no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenId([u8; ID_BYTES]);

impl TokenId {
    /// Reads an id as `Display` writes it; `None` if it is none.
    pub fn parse(text: &str) -> Option<TokenId> {
        hex::decode(text).map(TokenId)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// The half of a token that the coordinator keeps: an Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenKey(pub [u8; 32]);

impl TokenKey {
    /// Whether whoever holds the token signed `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// A join token. It is a secret: only [`Token::reveal`] shows it.
pub struct Token {
    id: TokenId,
    secret: [u8; SECRET_BYTES],
    pin: [u8; PIN_BYTES],
}

/// The text is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the join token is empty; `phalanx token create` on the coordinator's host prints one")]
    Empty,
    #[error("this is no join token: one begins with `{PREFIX}.`; `phalanx token create` prints one")]
    Prefix,
    #[error("the join token has {found} parts instead of 5: copy the whole of it")]
    Parts { found: usize },
    #[error("the join token is mistyped or cut off: its checksum does not match; copy it again")]
    Checksum,
    #[error("no random numbers can be had from this system")]
    Random,
    #[error("the {part} of the join token is not {bytes} bytes in hexadecimal")]
    Part { part: &'static str, bytes: usize },
}

impl Token {
    /// A new token for the cluster whose CA's public key has the SHA-256 `pin`.
    ///
    /// # Errors
    /// `random` has nothing to give.
    pub fn generate(random: &dyn SecureRandom, pin: [u8; PIN_BYTES]) -> Result<Token, Error> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        random.fill(&mut id).map_err(|_| Error::Random)?;
        random.fill(&mut secret).map_err(|_| Error::Random)?;
        Ok(Token { id: TokenId(id), secret, pin })
    }

    /// Reads a token as a person pasted it; white space around it does not matter.
    ///
    /// # Errors
    /// What is wrong with it, without repeating any of it.
    pub fn parse(text: &str) -> Result<Token, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::Empty);
        }
        let parts: Vec<&str> = text.split('.').collect();
        if parts[0] != PREFIX {
            return Err(Error::Prefix);
        }
        let [_, id, secret, pin, sum] = parts[..] else { return Err(Error::Parts { found: parts.len() }) };
        let body = text.len() - sum.len() - 1;
        if hex::encode(&checksum(&text[..body])) != sum {
            return Err(Error::Checksum);
        }
        Ok(Token {
            id: TokenId(part("id", id)?),
            secret: part("secret", secret)?,
            pin: part("CA's hash", pin)?,
        })
    }

    pub fn id(&self) -> TokenId {
        self.id
    }

    /// SHA-256 of the SubjectPublicKeyInfo of the only CA this token joins.
    pub fn pin(&self) -> &[u8; PIN_BYTES] {
        &self.pin
    }

    /// The token as text, secret and all, for the person who gives it to a node.
    pub fn reveal(&self) -> String {
        let body = format!("{PREFIX}.{}.{}.{}", self.id, hex::encode(&self.secret), hex::encode(&self.pin));
        let sum = hex::encode(&checksum(&body));
        format!("{body}.{sum}")
    }

    /// What the coordinator keeps.
    pub fn key(&self) -> TokenKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair().public_key().as_ref());
        TokenKey(key)
    }

    /// Signs `message` as the holder of this token.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair().sign(message).as_ref().to_vec()
    }

    #[expect(clippy::expect_used, reason = "ring takes any 32 bytes for a seed")]
    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.secret).expect("a seed of 32 bytes is an Ed25519 key")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

fn checksum(body: &str) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest(&SHA256, body.as_bytes()).as_ref()[..CHECKSUM_BYTES]);
    sum
}

fn part<const N: usize>(part: &'static str, text: &str) -> Result<[u8; N], Error> {
    hex::decode(text).ok_or(Error::Part { part, bytes: N })
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    fn token() -> Token {
        Token::generate(&SystemRandom::new(), [7; PIN_BYTES]).unwrap()
    }

    /// `body` with a checksum that matches it.
    fn summed(body: &str) -> String {
        format!("{body}.{}", hex::encode(&checksum(body)))
    }

    #[test]
    fn a_token_is_read_back_as_it_was_shown_white_space_aside() {
        let token = token();
        let read = Token::parse(&format!("  {}\n", token.reveal())).unwrap();
        assert_eq!((read.id(), read.pin(), read.key()), (token.id(), token.pin(), token.key()));
        assert_eq!(TokenId::parse(&token.id().to_string()), Some(token.id()));
    }

    #[test]
    fn each_malformed_token_is_told_what_is_wrong_with_it() {
        let text = token().reveal();
        let without_pin: Vec<&str> = text.split('.').take(3).collect();
        assert_eq!(Token::parse(" \n").unwrap_err(), Error::Empty);
        assert_eq!(Token::parse("K10abc::server:xyz").unwrap_err(), Error::Prefix);
        assert_eq!(Token::parse(&text.to_uppercase()).unwrap_err(), Error::Prefix);
        assert_eq!(Token::parse(&summed(&without_pin.join("."))).unwrap_err(), Error::Parts { found: 4 });
        assert_eq!(Token::parse(&text[..text.len() - 1]).unwrap_err(), Error::Checksum);
        let short_secret =
            summed(&format!("{PREFIX}.{}.{}.{}", "ab".repeat(6), "cd".repeat(8), "ef".repeat(32)));
        assert_eq!(Token::parse(&short_secret).unwrap_err(), Error::Part { part: "secret", bytes: 32 });
    }

    #[test]
    fn a_token_with_any_one_character_changed_is_mistyped() {
        let text = token().reveal();
        for at in PREFIX.len() + 1..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            let error = Token::parse(&changed).unwrap_err();
            assert!(matches!(error, Error::Checksum | Error::Parts { .. }), "{at}: {error}");
        }
    }

    #[test]
    fn only_the_holder_of_the_token_can_sign_for_it() {
        let (mine, other) = (token(), token());
        assert!(mine.key().verifies(b"request", &mine.sign(b"request")));
        assert!(!mine.key().verifies(b"another request", &mine.sign(b"request")));
        assert!(!mine.key().verifies(b"request", &other.sign(b"request")));
        assert!(!mine.key().verifies(b"request", b"short"));
    }

    #[test]
    fn debug_output_and_errors_show_no_secret() {
        let token = token();
        let text = token.reveal();
        let secret = text.split('.').nth(2).unwrap();
        assert!(!format!("{token:?}").contains(&secret[..8]));
        let error = Token::parse(&text[..text.len() - 2]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret[..8]));
    }
}
