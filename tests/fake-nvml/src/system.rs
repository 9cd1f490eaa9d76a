//! Calls about the library and the host.

use std::ffi::{CStr, c_char, c_uint};

use nvml_wrapper_sys::bindings as ffi;

use crate::call::{self, Code, INVALID_ARGUMENT, code, give, give_text};
use crate::loaded::{answers, ask, handle, init, shutdown};

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Code {
    code(init())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Code {
    code(shutdown())
}

/// # Safety
/// `version` is null, or `length` bytes can be written there.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> Code {
    // SAFETY: the caller's buffer, by this call's contract.
    code(ask(|host| unsafe { give_text(version, length, &host.driver) }))
}

/// # Safety
/// `count` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Code {
    // SAFETY: the caller's variable, by this call's contract.
    code(ask(|host| unsafe { give(count, c_uint::try_from(host.gpus.len()).unwrap_or(c_uint::MAX)) }))
}

/// # Safety
/// `device` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut ffi::nvmlDevice_t) -> Code {
    code(ask(|host| {
        answers(host.gpus.get(index as usize).ok_or(INVALID_ARGUMENT)?)?;
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(device, handle(index as usize, None)) }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: Code) -> *const c_char {
    let text: &'static CStr = match result {
        call::SUCCESS => c"Success",
        call::INVALID_ARGUMENT => c"Invalid Argument",
        call::NOT_SUPPORTED => c"Not Supported",
        call::NOT_FOUND => c"Not Found",
        call::INSUFFICIENT_SIZE => c"Insufficient Size",
        call::GPU_IS_LOST => c"GPU is lost",
        call::VERSION_MISMATCH => c"Argument version mismatch",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}
