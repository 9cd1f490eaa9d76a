//! See DESIGN section 2.
