//! The shim with real processes. Every test starts a shim of its own, waits for what it hears with a
//! bound, and leaves nothing behind.

mod start;
mod support;
