//! The matrices that `nvidia-smi topo -m` and `npu-smi info -t topo` draw: a line that names the devices, and a line
//! for each device.

mod machine;
mod read;
mod strange;

pub use machine::Reading;
pub(crate) use machine::{Link, Tool, reading};
pub use read::Error;
pub(crate) use read::{Grid, Shape, nvlinks, read};
pub use strange::{Cell, Strange};
