//! What this machine is, as far as a local launch needs it: read from the kernel, in microseconds.

use std::io;
use std::ops::RangeInclusive;

/// Facts about this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub host_name: String,
    /// Cores this process may use: its affinity mask, within its cgroup's quota.
    pub cores: u32,
    /// Ports that no client's connection takes: outside the ephemeral range.
    pub ports: RangeInclusive<u16>,
}

/// The machine could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}")]
pub struct Error {
    what: &'static str,
    #[source]
    source: io::Error,
}

impl Facts {
    /// Reads them.
    pub fn read() -> Result<Facts, Error> {
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map_err(|source| Error { what: "/proc/sys/kernel/hostname", source })?;
        let cores = std::thread::available_parallelism()
            .map_err(|source| Error { what: "the cores this process may use", source })?;
        // Without the file (a restricted /proc) the kernel's default range is assumed.
        let ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Ok(Facts {
            host_name: host_name.trim().to_owned(),
            cores: u32::try_from(cores.get()).unwrap_or(u32::MAX),
            ports: outside(parse_range(&ephemeral).unwrap_or(32768..=60999)),
        })
    }
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(low)), Some(Ok(high))) if low <= high => Some(low..=high),
        _ => None,
    }
}

/// Well-known services live below this.
const LOWEST: u16 = 10_000;

/// The larger side of the ephemeral range; all of it where that leaves no room outside.
fn outside(ephemeral: RangeInclusive<u16>) -> RangeInclusive<u16> {
    let below = LOWEST..=ephemeral.start().saturating_sub(1);
    let above = ephemeral.end().saturating_add(1)..=u16::MAX;
    let larger = if below.len() >= above.len() { below } else { above };
    if larger.len() >= 256 { larger } else { LOWEST..=u16::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_outside_the_ephemeral_range() {
        assert_eq!(outside(32768..=60999), 10_000..=32767);
        assert_eq!(outside(10_000..=40_000), 40_001..=65535);
        assert_eq!(outside(1024..=65535), 10_000..=65535);
    }

    #[test]
    fn this_machine_has_a_name_and_a_core() {
        let facts = Facts::read().unwrap();
        assert!(!facts.host_name.is_empty());
        assert!(facts.cores >= 1);
    }
}
