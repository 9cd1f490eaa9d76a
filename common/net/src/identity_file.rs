//! An identity on disk: the certificate with its key, the cluster's CA, and where the coordinator is.
//! One format for a worker's identity, an operator's file and a bundle for a laptop.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pem::{EncodeConfig, LineEnding, Pem};
use phalanx_common::identity::{ClusterId, Principal};
use phalanx_common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::certificate;
use crate::tls::{self, Own};

/// Version of the format.
const VERSION: u32 = 1;
/// Largest file read, bytes.
const LARGEST: u64 = 64 << 10;

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no identity file {}", path.display())]
    Missing { path: PathBuf },
    #[error("the identity file {} cannot be {doing}: {error}", path.display())]
    Io { path: PathBuf, doing: &'static str, error: io::Error },
    #[error(
        "the identity file {} holds a private key and others may read it (mode {mode:o}): chmod 600 it",
        path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("{} is no identity file of this version: {why}; get a new one from the cluster's operator", path.display())]
    Content { path: PathBuf, why: String },
}

/// Somebody's identity in a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub principal: Principal,
    pub expires: Timestamp,
    /// Addresses of the coordinator, `HOST:PORT`.
    pub coordinators: Vec<String>,
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cluster", &self.cluster)
            .field("principal", &self.principal)
            .field("coordinators", &self.coordinators)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    version: u32,
    cluster: String,
    /// SPIFFE id, for people; what counts stands in the certificate.
    id: String,
    coordinators: Vec<String>,
    ca: String,
    certificate: String,
    private_key: String,
}

impl Identity {
    /// An identity from its parts in DER.
    ///
    /// # Errors
    /// The certificate is none of a cluster.
    pub fn new(
        ca: Vec<u8>,
        certificate: Vec<u8>,
        key: Vec<u8>,
        coordinators: Vec<String>,
    ) -> Result<Identity, certificate::Error> {
        let content = certificate::read(&certificate)?;
        Ok(Identity {
            cluster: content.cluster,
            principal: content.principal,
            expires: content.expires,
            coordinators,
            ca,
            certificate,
            key,
        })
    }

    /// TLS with this identity.
    ///
    /// # Errors
    /// Its parts do not belong together.
    pub fn tls(&self) -> Result<tls::Client, tls::Error> {
        tls::client(Own { certificate: &self.certificate, key: &self.key }, &self.ca)
    }

    /// Reads an identity file.
    ///
    /// # Errors
    /// It is missing, not readable, readable for others, or not an identity.
    pub fn load(path: &Path) -> Result<Identity, Error> {
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
            _ => Error::Io { path: path.to_owned(), doing: "read", error },
        };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.mode() & 0o777;
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map_err(io)?;
        let identity = Identity::parse(&text).map_err(|why| Error::Content { path: path.to_owned(), why })?;
        // A file that is none holds no key that others could read.
        if mode & 0o077 != 0 {
            return Err(Error::Open { path: path.to_owned(), mode });
        }
        Ok(identity)
    }

    /// Reads the text of an identity file.
    ///
    /// # Errors
    /// Why it is none; nothing of it is repeated.
    pub fn parse(text: &str) -> Result<Identity, String> {
        let document: Document = serde_json::from_str(text)
            .map_err(|error| format!("line {}: not the JSON of an identity", error.line()))?;
        if document.version != VERSION {
            return Err(format!("its version is {}, this is {VERSION}", document.version));
        }
        let part = |what: &str, tag: &str, text: &str| match pem::parse(text) {
            Ok(pem) if pem.tag() == tag => Ok(pem.into_contents()),
            _ => Err(format!("its {what} is not PEM")),
        };
        let ca = part("ca", "CERTIFICATE", &document.ca)?;
        let certificate = part("certificate", "CERTIFICATE", &document.certificate)?;
        let key = part("privateKey", "PRIVATE KEY", &document.private_key)?;
        Identity::new(ca, certificate, key, document.coordinators)
            .map_err(|error| format!("its certificate: {error}"))
    }

    /// The text of an identity file. It holds the private key.
    pub fn reveal(&self) -> String {
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let pem = |tag: &str, der: &[u8]| pem::encode_config(&Pem::new(tag, der), config);
        let document = Document {
            version: VERSION,
            cluster: self.cluster.to_string(),
            id: self.principal.spiffe_id(&self.cluster),
            coordinators: self.coordinators.clone(),
            ca: pem("CERTIFICATE", &self.ca),
            certificate: pem("CERTIFICATE", &self.certificate),
            private_key: pem("PRIVATE KEY", &self.key),
        };
        // Text and numbers always have a JSON form.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Writes it for its owner alone, whole or not at all, and over an older one.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_private(path, self.reveal().as_bytes()).map_err(|error| Error::Io {
            path: path.to_owned(),
            doing: "written",
            error,
        })
    }
}

/// Writes a file that only its owner may read: beside it first, then renamed over it.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = dir.join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| File::open(dir)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
