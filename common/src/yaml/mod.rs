//! YAML text to small trees in which every node knows its place. The only place that knows the parser.
//!
//! The parser gives events with positions and keeps what was written apart from what it means, so that
//! `3`, `"3"` and `yes` are told apart here and nowhere else. Anchors, aliases and tags are refused:
//! no file of ours needs one, and without them a small file cannot become a large tree.
//!
//! ```
//! use phalanx_common::yaml::{self, Bounds};
//!
//! let bounds = Bounds { bytes: 1 << 20, depth: 16, documents: 1 };
//! let trees = yaml::read(b"gpus:\n- {index: 0}\n- {index: 1}\n", &bounds)?;
//! let gpus = trees[0].get("gpus").and_then(|gpus| gpus.items()).unwrap_or_default();
//! assert_eq!(gpus.len(), 2);
//! assert_eq!((gpus[1].span.line, gpus[1].get("index").and_then(|it| it.text())), (3, Some("1")));
//!
//! let error = yaml::read(b"a: &b 1\n", &bounds).unwrap_err();
//! assert!(error.to_string().starts_with("line 1, column 4: an anchor (`&name`) cannot be used here"));
//! # Ok::<(), yaml::Error>(())
//! ```

mod error;
mod parse;
mod tree;

pub use error::{Error, Feature, Kind};
pub use parse::{Bounds, documents, read, text};
pub(crate) use tree::is_number;
pub use tree::{Found, Key, Node, Span, Value};
