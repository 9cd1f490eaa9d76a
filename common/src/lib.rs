//! What every part of Phalanx shares: ids, time, job specs, plans, topology, wire messages and events.
//!
//! This crate is pure. Time and input are arguments; nothing here reads a clock, a file or the environment.

pub mod defaults;
pub mod event;
pub mod exit;
pub mod explanation;
pub mod health;
pub mod hex;
pub mod id;
pub mod identity;
pub mod label;
pub mod order;
pub mod plan;
pub mod python;
pub mod report;
pub mod spec;
pub mod status;
pub mod text;
pub mod time;
pub mod topology;
pub mod wire;
pub mod yaml;
