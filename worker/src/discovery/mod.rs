//! What a machine has for ranks to compute with. Opened only when a job asks for it.

pub mod beacon;
pub mod nvidia;
