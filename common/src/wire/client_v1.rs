//! What clients ask of a coordinator, version 1. Each request opens a stream of kind `Request`; the
//! answers follow on it, and the last is `Done` or `Refused`. As for workers, a message never gains a
//! field, and a variant is only appended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bytes::Bytes;
use super::v1::LogFrame;

/// Largest part of a document, bytes: documents may be larger than a frame.
pub const PART: usize = 256 << 10;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Answered by `Submitted`, `Warning`s, then events until the job ends.
    Submit(Submit),
    /// Answered by `Submitted`, then the events told so far and those to come until the job ends.
    /// `wait`: this client waits for the job instead of the one that submitted it.
    Attach {
        job: String,
        wait: bool,
    },
    /// `signal`: what the job ends by, as its exit code says; SIGTERM is 15.
    Stop {
        job: String,
        signal: u8,
        force: bool,
    },
    /// Answered by a document: an array of `JobStatus`.
    Jobs {
        ended: bool,
    },
    /// Answered by a document: a `JobStatus`.
    Job {
        job: String,
    },
    /// Answered by a document: an array of `NodeStatus`.
    Nodes,
    /// Answered by `Log`s.
    Logs {
        job: String,
        generation: Option<u32>,
        rank: Option<u32>,
        follow: bool,
    },
    /// Answered by `Token`.
    CreateToken {
        lifetime_s: u64,
        uses: u32,
        note: String,
    },
    /// Answered by a document: an array of `TokenStatus`.
    Tokens,
    RevokeToken {
        id: String,
    },
    /// Answered by `Certificate`. The key of the signing request stays with who asks.
    AddUser {
        name: String,
        role: String,
        unix_user: Option<String>,
        csr: Vec<u8>,
    },
    /// Answered by a document: an array of `UserStatus`.
    Users,
    RemoveUser {
        name: String,
    },
    /// A directory that travels with a job, in `Piece`s of the client; answered by `Done` at once if it is
    /// known, by `Wanted` before the pieces if not.
    ///
    /// `as_user`: for a job that an operator submits for this user.
    Put {
        digest: String,
        bytes: u64,
        as_user: Option<String>,
    },
    /// Answered by a document: a `topology::Snapshot` with machines by kind.
    Topology,
    /// Answered by a document: who told of the topology, and the findings in machines.
    Witnesses,
    /// Answered by a document: a `topology::machine::Machine`. A node's name, its id, or the beginning of
    /// either that no other has.
    Machine {
        node: String,
    },
    /// Names of labels with their new values; `None` takes the label away. `node` is its id, or the beginning of
    /// it that no other has. Answered by a document: the labels that the node has then.
    Label {
        node: String,
        changes: Vec<(String, Option<String>)>,
    },
    /// Where a job would go now, which is as in `Submit`. Answered by a document: an `explanation::Explained`.
    Plan {
        document: String,
        as_user: Option<String>,
    },
    /// Answered by a document: an `explanation::Explained`.
    Explain {
        job: String,
    },
    /// Freezes the job: its processes stop, and its deadlines stand still.
    Suspend {
        job: String,
    },
    Resume {
        job: String,
    },
    /// `node` as in `Label`. Answered by a document: the `NodeStatus` of the node then.
    Node {
        node: String,
        wish: NodeWish,
    },
    /// Lets gangs get other nodes than they had, though many were lost.
    ResumeReplacement,
}

/// What an operator wants of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeWish {
    /// No new pods; what runs there goes on. The reason may be empty.
    Cordon { reason: String },
    /// Pods again, whatever stood against the node.
    Uncordon,
    /// No new pods, and those that are there go elsewhere. Without a grace each job has its own.
    Drain { reason: String, grace_ms: Option<u64> },
    /// It is gone for good: its certificate counts no more. Answered by no document, as there is no such node then.
    Forget,
}

/// A job to run.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submit {
    /// The resolved job as a job file, in JSON.
    pub document: String,
    /// An operator submits for this user.
    pub as_user: Option<String>,
    /// The client waits for the job: its loss ends the job.
    pub attached: bool,
    /// Names and values, kept in memory alone.
    pub secrets: Vec<(String, String)>,
}

impl fmt::Debug for Submit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Submit")
            .field("document", &self.document)
            .field("as_user", &self.as_user)
            .field("attached", &self.attached)
            .field("secrets", &names)
            .finish()
    }
}

/// One piece of a directory, after `Wanted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece(pub Bytes);

/// An answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Refused {
        kind: Refusal,
        why: String,
    },
    /// The next part of a document in JSON; `Done` ends it.
    Part(String),
    Submitted {
        job: String,
    },
    /// An event in JSON.
    Event(String),
    Log(LogFrame),
    /// Certificates in DER, and where the coordinator is.
    Certificate {
        certificate: Vec<u8>,
        ca: Vec<u8>,
        coordinators: Vec<String>,
    },
    /// A join token, which is a secret, and where the coordinator is.
    Token {
        token: String,
        addresses: Vec<String>,
    },
    Wanted,
    /// After `Submitted`: what whoever submitted the job should know of it, though it was taken.
    Warning(String),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Refused { kind, why } => write!(f, "Refused({kind:?}, {why:?})"),
            Reply::Submitted { job } => write!(f, "Submitted({job})"),
            Reply::Done => f.write_str("Done"),
            _ => f.write_str("Reply(..)"),
        }
    }
}

/// What kind of no it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The role may not do this, or not to what belongs to somebody else.
    Denied,
    /// There is no such job, token or user.
    Unknown,
    /// The request makes no sense.
    Bad,
    /// The coordinator cannot do it.
    Failed,
}

/// Somebody on the coordinator's host asks for a certificate, over a Unix socket that says who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequest {
    pub csr: Vec<u8>,
}

/// The coordinator's answer on that socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginReply {
    /// Certificates in DER, and where the coordinator is.
    Accepted {
        certificate: Vec<u8>,
        ca: Vec<u8>,
        coordinators: Vec<String>,
    },
    Refused {
        why: String,
    },
}
