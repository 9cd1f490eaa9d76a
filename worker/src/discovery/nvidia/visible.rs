//! NVIDIA GPUs through NVML, and the part of them that an outer CUDA_VISIBLE_DEVICES leaves.

use std::ffi::OsString;
use std::path::Path;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// Names another library to load for libnvidia-ml.so.1.
pub const LIBRARY_VARIABLE: &str = "PHALANX_NVML_LIBRARY";

/// GPUs could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no NVIDIA driver on this machine (no /dev/nvidiactl); give the number of ranks instead of `gpu`"
    )]
    NoDriver,
    #[error(
        "the NVIDIA management library {library} does not work: {error}; check `nvidia-smi`, or give the number of ranks"
    )]
    Nvml { library: String, error: NvmlError },
    #[error("CUDA_VISIBLE_DEVICES=\"{visible}\" leaves no GPU of the {present} on this machine")]
    NoneVisible { visible: String, present: usize },
    #[error("the NVIDIA driver knows no GPU on this machine; give the number of ranks instead of `gpu`")]
    NoGpu,
}

/// How many GPUs a CUDA program started here sees, at least one. `visible` is CUDA_VISIBLE_DEVICES,
/// if set: the allowed set of an outer launcher or scheduler.
pub fn visible_gpus(visible: Option<&str>, library: Option<OsString>) -> Result<u32, Error> {
    if library.is_none() && !Path::new("/dev/nvidiactl").exists() {
        return Err(Error::NoDriver);
    }
    let uuids = uuids(library)?;
    let count = match visible {
        Some(visible) => count_visible(visible, &uuids),
        None => uuids.len(),
    };
    match (count, visible) {
        (0, Some(visible)) => Err(Error::NoneVisible { visible: visible.to_owned(), present: uuids.len() }),
        (0, None) => Err(Error::NoGpu),
        (count, _) => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
    }
}

/// UUIDs of all GPUs in the order of their PCI addresses.
fn uuids(library: Option<OsString>) -> Result<Vec<String>, Error> {
    let library = library.unwrap_or_else(|| "libnvidia-ml.so.1".into());
    let failed = |error| Error::Nvml { library: library.to_string_lossy().into_owned(), error };
    let nvml = Nvml::builder().lib_path(&library).init().map_err(failed)?;
    let count = nvml.device_count().map_err(failed)?;
    (0..count).map(|index| nvml.device_by_index(index)?.uuid()).collect::<Result<_, _>>().map_err(failed)
}

/// How many entries of CUDA_VISIBLE_DEVICES count.
fn count_visible(visible: &str, uuids: &[String]) -> usize {
    names(visible, uuids).count()
}

/// The entries of CUDA_VISIBLE_DEVICES that count: CUDA reads up to the first that names no device,
/// by index or by the unambiguous beginning of a UUID (CUDA C++ Programming Guide, environment
/// variables). MIG slices are named by UUID and stand for themselves. `uuids` are those of all GPUs by their
/// indices.
pub fn names<'v>(visible: &'v str, uuids: &[String]) -> impl Iterator<Item = &'v str> {
    let names_device = |entry: &&str| match entry.parse::<i64>() {
        Ok(index) => usize::try_from(index).is_ok_and(|index| index < uuids.len()),
        Err(_) if entry.starts_with("MIG-") => true,
        Err(_) => {
            entry.starts_with("GPU-") && uuids.iter().filter(|uuid| uuid.starts_with(entry)).count() == 1
        }
    };
    visible.split(',').map(str::trim).take_while(names_device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_devices_count_up_to_the_first_that_is_none() {
        let uuids = ["GPU-aa11", "GPU-aa22", "GPU-bb33"].map(str::to_owned);
        for (visible, count) in [
            ("", 0),
            ("0", 1),
            ("2, 0", 2),
            ("0,-1,1", 1),
            ("-1", 0),
            ("0,3", 1),
            ("GPU-b,GPU-aa22", 2),
            ("GPU-aa", 0),
            ("MIG-1,MIG-2", 2),
            ("all", 0),
        ] {
            assert_eq!(count_visible(visible, &uuids), count, "CUDA_VISIBLE_DEVICES={visible:?}");
        }
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let error = visible_gpus(None, Some("libno-such-nvml.so".into())).unwrap_err();
        assert!(error.to_string().contains("libno-such-nvml.so"), "{error}");
    }
}
