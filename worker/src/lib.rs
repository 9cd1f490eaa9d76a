//! See DESIGN section 2.

pub mod shim;
pub mod sweep;
