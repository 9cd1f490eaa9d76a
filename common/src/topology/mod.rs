//! What a cluster is: the machines, and the networks between them.
//!
//! The model only. Text that the kernel or another tool wrote is read in `phalanx-formats`, live
//! machines are read by the worker, and both end here.

mod port;

pub use port::{Bdf, Guid, LinkLayer, Mac, Port, WrittenError};
