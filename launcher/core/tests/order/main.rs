//! The order of slots against answers found another way.

mod figures;
mod instances;
mod nonsense;
mod oracle;
mod properties;
