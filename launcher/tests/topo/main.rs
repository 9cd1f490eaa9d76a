//! `phalanx topo` as a process: captures of real machines and networks, and small files made here for the
//! texts that are compared letter by letter.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod bad_input;
mod captures;
mod conflict;
mod docs;
mod matrix;
mod node;
mod picture;
mod support;
