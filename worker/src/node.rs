//! What this node tells a coordinator about itself.

use std::net::IpAddr;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use phalanx_common::report::Network;
use phalanx_common::topology::machine::CpuSet;
use phalanx_worker::agent;
use phalanx_worker::discovery::nvidia::{self, Free, ReadError};
use phalanx_worker::discovery::ours;
use phalanx_worker::facts::{self, Facts};

use crate::cli::NodeArgs;

/// The node cannot take part as it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Facts(#[from] facts::Error),
    #[error("the network interfaces cannot be listed")]
    Interfaces(#[source] nix::Error),
    #[error("--address {address}: this host has no such address; it has {has}")]
    NoSuchAddress { address: IpAddr, has: String },
    #[error("--interface {name}: this host has no such interface with an address; it has {has}")]
    NoSuchInterface { name: String, has: String },
    #[error("no address of this host leads to the coordinator; name one with --address or --interface")]
    NoAddress,
    #[error("user id {0} has no name on this host, and a worker of no user runs nobody's jobs")]
    NoUser(nix::unistd::Uid),
}

/// A driver that takes longer to count its devices is worth a word.
const SLOW: Duration = Duration::from_secs(60);

/// What is read.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) facts: agent::Facts,
    /// Why there are fewer slots than GPUs, for the log.
    pub(crate) left_out: Option<String>,
}

/// As [`read`] does, on a thread of its own: drivers may take a while to answer.
pub(crate) async fn read_apart(args: &NodeArgs, local: Option<IpAddr>) -> Result<Node, Error> {
    let args = args.clone();
    let mut reading = tokio::task::spawn_blocking(move || read(&args, local));
    let read = match tokio::time::timeout(SLOW, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            tracing::warn!(
                "the GPUs of this node are not counted after {} s: the driver hangs, and the node waits for it; restart the worker with `--slots N` to do without",
                SLOW.as_secs()
            );
            reading.await
        }
    };
    read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Reads the node anew: addresses come and go. `local` is this host's address on the way to the coordinator.
pub(crate) fn read(args: &NodeArgs, local: Option<IpAddr>) -> Result<Node, Error> {
    let facts = Facts::read()?;
    let networks = networks().map_err(Error::Interfaces)?;
    let place = match (&args.address, &args.interface) {
        (Some(address), _) => networks
            .iter()
            .find(|network| network.address == *address)
            .ok_or_else(|| Error::NoSuchAddress { address: *address, has: list(&networks) })?,
        (None, Some(name)) => networks
            .iter()
            .find(|network| network.interface == *name)
            .ok_or_else(|| Error::NoSuchInterface { name: name.clone(), has: list(&networks) })?,
        (None, None) => {
            let local = local.ok_or(Error::NoAddress)?;
            networks.iter().find(|network| network.address == local).ok_or(Error::NoAddress)?
        }
    };
    let (address, interface) = (place.address, Some(place.interface.clone()));
    let reserved = args.reserved_cpus.as_ref().map_or(0, CpuSet::len);
    let cores = without(facts.cores, reserved);
    let (slots, left_out) = match args.slots {
        Some(slots) => (slots, None),
        None => slots(cores, args.share),
    };
    let facts = agent::Facts {
        slots,
        host_name: facts.host_name,
        cores,
        user: user()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ports: args.ports.unwrap_or((*facts.ports.start(), *facts.ports.end())),
        address,
        interface,
        networks,
    };
    Ok(Node { facts, left_out })
}

/// Cores that are left for ranks; one at least, for a node without any takes no rank and is none.
fn without(cores: u32, reserved: usize) -> u32 {
    cores.saturating_sub(u32::try_from(reserved).unwrap_or(u32::MAX)).max(1)
}

/// One rank per GPU that is free; per core where there is no GPU, or where they cannot be counted. Also says which
/// are not free, or why they cannot be counted.
fn slots(cores: u32, share: bool) -> (u32, Option<String>) {
    let library = std::env::var_os(nvidia::LIBRARY_VARIABLE);
    match nvidia::free_gpus(library, |pid| share || ours::is_ours(pid)) {
        Ok(free) if free != Free::default() => {
            (u32::try_from(free.gpus.len()).unwrap_or(u32::MAX), left_out(&free))
        }
        Ok(_) | Err(ReadError::NoDriver) => (cores, None),
        Err(error) => (cores, Some(uncounted(&error))),
    }
}

fn uncounted(error: &ReadError) -> String {
    format!(
        "the GPUs of this node cannot be counted, and it takes ranks as if it had none, one per core: {error}; mend the \
         driver and restart the worker, or say `--slots N`"
    )
}

fn left_out(free: &Free) -> Option<String> {
    let taken = free.taken.iter().map(|(gpu, pid)| {
        format!("process {pid}, none of ours, computes on GPU {gpu} (`--share` counts it all the same)")
    });
    let lost = free.lost.iter().map(|gpu| format!("GPU {gpu} does not answer"));
    let all: Vec<String> = taken.chain(lost).collect();
    let why = all.join("; ");
    (!all.is_empty()).then(|| format!("fewer slots than GPUs: {why}. Ranks get the others"))
}

/// The one user whose jobs this worker runs; `None` as root: everybody's.
fn user() -> Result<Option<String>, Error> {
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        return Ok(None);
    }
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => Ok(Some(user.name)),
        _ => Err(Error::NoUser(uid)),
    }
}

/// Every address of an interface that is up, in the kernel's order; link-local ones lead nowhere else.
/// Loopback counts too: workers of one host under test reach each other there and nowhere else.
fn networks() -> nix::Result<Vec<Network>> {
    let mut networks = Vec::new();
    for interface in getifaddrs()? {
        if !interface.flags.contains(InterfaceFlags::IFF_UP) {
            continue;
        }
        let Some(address) = interface.address.as_ref().and_then(ip) else { continue };
        if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            continue;
        }
        let prefix = interface.netmask.as_ref().and_then(ip).map_or(0, prefix);
        networks.push(Network { address, prefix, interface: interface.interface_name });
    }
    Ok(networks)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    match address.family()? {
        nix::sys::socket::AddressFamily::Inet => Some(address.as_sockaddr_in()?.ip().into()),
        nix::sys::socket::AddressFamily::Inet6 => Some(address.as_sockaddr_in6()?.ip().into()),
        _ => None,
    }
}

fn prefix(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(128)
}

fn list(networks: &[Network]) -> String {
    let names: Vec<String> =
        networks.iter().map(|network| format!("{} ({})", network.address, network.interface)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_no_core_of_ranks_and_one_is_left() {
        assert_eq!((without(8, 0), without(8, 2), without(2, 2), without(2, 9)), (8, 6, 1, 1));
    }

    #[test]
    fn the_loopback_network_is_found_with_its_prefix() {
        let networks = networks().unwrap();
        let loopback = networks.iter().find(|network| network.address == IpAddr::from([127, 0, 0, 1]));
        assert_eq!(loopback.map(|network| network.prefix), Some(8), "{networks:?}");
    }

    #[test]
    fn gpus_that_do_not_count_are_told_with_the_reason() {
        assert_eq!(left_out(&Free { gpus: vec![0, 1], ..Free::default() }), None);
        let free = Free { gpus: vec![0], taken: vec![(1, 77)], lost: vec![2] };
        assert_eq!(
            left_out(&free).unwrap(),
            "fewer slots than GPUs: process 77, none of ours, computes on GPU 1 (`--share` counts it all the same); GPU 2 \
             does not answer. Ranks get the others"
        );
    }

    #[test]
    fn an_address_or_interface_that_is_not_there_is_answered_with_those_that_are() {
        let args = |address: Option<&str>, interface: Option<&str>| NodeArgs {
            state_dir: None,
            address: address.map(|address| address.parse().unwrap()),
            interface: interface.map(str::to_owned),
            ports: None,
            slots: Some(3),
            labels: Vec::new(),
            reserved_cpus: None,
            reserved_memory: None,
            share: false,
            allow_root_jobs: false,
        };
        let error = read(&args(Some("192.0.2.77"), None), None).unwrap_err().to_string();
        assert!(error.contains("192.0.2.77") && error.contains("127.0.0.1 (lo)"), "{error}");
        let error = read(&args(None, Some("nope0")), None).unwrap_err().to_string();
        assert!(error.contains("nope0") && error.contains("127.0.0.1 (lo)"), "{error}");
        assert!(matches!(read(&args(None, None), None), Err(Error::NoAddress)));
        let facts = read(&args(None, Some("lo")), None).unwrap().facts;
        assert_eq!((facts.address, facts.slots), (IpAddr::from([127, 0, 0, 1]), 3));
    }
}
