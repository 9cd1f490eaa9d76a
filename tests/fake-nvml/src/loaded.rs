//! What is loaded, from the first `nvmlInit` to the last `nvmlShutdown`.

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nvml_wrapper_sys::bindings as ffi;

use crate::call::{Code, Done, GPU_IS_LOST, INVALID_ARGUMENT};
use crate::host::{Gpu, Host, Slice};
use crate::{BOARDS, BROKEN, PROFILE};

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

struct Loaded {
    /// `nvmlInit` less `nvmlShutdown`.
    users: u32,
    host: Host,
    from: Option<(PathBuf, Stamp)>,
}

/// Another one: the file is another.
type Stamp = (u64, i64, i64, u64);

fn stamp(of: &Metadata) -> Stamp {
    (of.ino(), of.mtime(), of.mtime_nsec(), of.size())
}

fn loaded() -> MutexGuard<'static, Option<Loaded>> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A profile that cannot be read is told on standard error: NVML has no words for it.
fn read(path: &PathBuf) -> Result<(Host, Stamp), Code> {
    let failed = |error: String| {
        let _ = writeln!(io::stderr(), "fake NVML: {}: {error}", path.display());
        ffi::nvmlReturn_enum_NVML_ERROR_UNKNOWN
    };
    let metadata = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let host = Host::of_profile(&bytes).map_err(failed)?;
    Ok((host, stamp(&metadata)))
}

pub(crate) fn init() -> Done {
    if std::env::var_os(BROKEN).is_some() {
        return Err(ffi::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED);
    }
    let mut loaded = loaded();
    if let Some(loaded) = &mut *loaded {
        loaded.users += 1;
        return Ok(());
    }
    let (host, from) = match std::env::var_os(PROFILE).map(PathBuf::from) {
        Some(path) => {
            let (host, stamp) = read(&path)?;
            (host, Some((path, stamp)))
        }
        None => {
            let boards = std::env::var(BOARDS).ok().and_then(|boards| boards.parse().ok());
            (Host::of_boards(boards.unwrap_or(0)), None)
        }
    };
    *loaded = Some(Loaded { users: 1, host, from });
    Ok(())
}

pub(crate) fn shutdown() -> Done {
    let mut loaded = loaded();
    match &mut *loaded {
        None => Err(ffi::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED),
        Some(Loaded { users: 1, .. }) => {
            *loaded = None;
            Ok(())
        }
        Some(several) => {
            several.users -= 1;
            Ok(())
        }
    }
}

/// Answers a call from the host as the profile says it now.
pub(crate) fn ask(answer: impl FnOnce(&Host) -> Done) -> Done {
    let mut loaded = loaded();
    let loaded = loaded.as_mut().ok_or(ffi::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED)?;
    if let Some((path, before)) = &mut loaded.from
        && let Ok(now) = fs::metadata(&path)
        && stamp(&now) != *before
        && let Ok((host, stamp)) = read(path)
    {
        (loaded.host, *before) = (host, stamp);
    }
    answer(&loaded.host)
}

/// Bits of a handle that are the place of a GPU, from 1; those above are that of its slice, from 1, or 0.
const GPU_BITS: u32 = 16;

/// A handle is a number: nothing is at the address that it would be.
pub(crate) fn handle(gpu: usize, slice: Option<usize>) -> ffi::nvmlDevice_t {
    ptr::without_provenance_mut((gpu + 1) | (slice.map_or(0, |slice| slice + 1) << GPU_BITS))
}

/// A device by its handle.
pub(crate) enum Device<'h> {
    Gpu(&'h Gpu),
    Slice(&'h Slice),
}

pub(crate) fn device(host: &Host, handle: ffi::nvmlDevice_t) -> Result<Device<'_>, Code> {
    let (gpu, slice) = (handle.addr() & ((1 << GPU_BITS) - 1), handle.addr() >> GPU_BITS);
    let gpu = gpu.checked_sub(1).and_then(|place| host.gpus.get(place)).ok_or(INVALID_ARGUMENT)?;
    answers(gpu)?;
    match slice.checked_sub(1) {
        None => Ok(Device::Gpu(gpu)),
        Some(place) => gpu.slices.get(place).map(Device::Slice).ok_or(INVALID_ARGUMENT),
    }
}

/// Answers a call about a whole GPU.
pub(crate) fn ask_gpu(handle: ffi::nvmlDevice_t, answer: impl FnOnce(&Gpu) -> Done) -> Done {
    ask(|host| match device(host, handle)? {
        Device::Gpu(gpu) => answer(gpu),
        Device::Slice(_) => Err(INVALID_ARGUMENT),
    })
}

/// One more call of this GPU.
pub(crate) fn answers(gpu: &Gpu) -> Done {
    let calls = gpu.calls.fetch_add(1, Ordering::Relaxed);
    if gpu.lost_after.is_some_and(|most| calls >= most) { Err(GPU_IS_LOST) } else { Ok(()) }
}
