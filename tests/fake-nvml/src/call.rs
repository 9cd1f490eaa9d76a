//! What every call does: a return code, and values through the caller's pointers.

use std::ffi::{c_char, c_uint};

use nvml_wrapper_sys::bindings as ffi;

pub(crate) use ffi::nvmlReturn_t as Code;

pub(crate) const SUCCESS: Code = ffi::nvmlReturn_enum_NVML_SUCCESS;
pub(crate) const INVALID_ARGUMENT: Code = ffi::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
pub(crate) const NOT_SUPPORTED: Code = ffi::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
pub(crate) const NOT_FOUND: Code = ffi::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
pub(crate) const INSUFFICIENT_SIZE: Code = ffi::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
pub(crate) const GPU_IS_LOST: Code = ffi::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
pub(crate) const VERSION_MISMATCH: Code = ffi::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;

pub(crate) type Done = Result<(), Code>;

pub(crate) fn code(done: Done) -> Code {
    done.err().unwrap_or(SUCCESS)
}

/// The word that a structure of this type and version begins with.
pub(crate) const fn version_of<T>(version: u32) -> u32 {
    version << 24 | size_of::<T>() as u32
}

/// Gives the caller a value.
///
/// # Safety
/// `at` is null, or a `T` can be written there.
pub(crate) unsafe fn give<T>(at: *mut T, value: T) -> Done {
    if at.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so by this function's own contract a place for one value.
    unsafe { at.write(value) };
    Ok(())
}

/// Gives the caller values, from the first place on.
///
/// # Safety
/// `at` is null, or as many can be written there as there are values.
pub(crate) unsafe fn give_all<T: Copy>(at: *mut T, values: &[T]) -> Done {
    if at.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so by this function's own contract a place for all of them, and none of ours.
    unsafe { at.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// Gives the caller a text and the NUL behind it.
///
/// # Safety
/// `at` is null, or `length` bytes can be written there.
pub(crate) unsafe fn give_text(at: *mut c_char, length: c_uint, text: &str) -> Done {
    let text = characters(text);
    if text.len() > length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: `length` bytes by this function's own contract, and no more are written.
    unsafe { give_all(at, &text) }
}

/// With a NUL behind them.
pub(crate) fn characters(text: &str) -> Vec<c_char> {
    text.bytes().chain([0]).map(|byte| byte as c_char).collect()
}

/// The beginning of a structure that says its version.
///
/// # Safety
/// `at` is null, or a `u32` can be read there.
pub(crate) unsafe fn expect_version(at: *const u32, expected: u32) -> Done {
    if at.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, so by this function's own contract a word that can be read.
    let found = unsafe { at.read() };
    if found == expected { Ok(()) } else { Err(VERSION_MISMATCH) }
}
