//! The order of slots against answers found another way.

#![allow(clippy::print_stdout, reason = "the figures are for whoever asks for them")]

mod figures;
mod instances;
mod nonsense;
mod oracle;
mod properties;
