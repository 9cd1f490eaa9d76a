//! Files that are copies of one machine's.

use phalanx_common::topology::machine::{Machine, Nic};

/// Copies that are named.
const NAMED: usize = 3;

/// Whether two descriptions of one kind and host name are of one machine: they are the same to the last address.
/// Without any address nothing tells two equal machines apart from one.
pub(super) fn is_copy(one: &Machine, other: &Machine) -> bool {
    let guid = |nic: &Nic| nic.rdma.as_ref().is_some_and(|rdma| rdma.guid.is_some());
    let mac = |nic: &Nic| nic.mac.is_some_and(|mac| mac.0 != [0; 6]);
    one.nics.iter().any(|nic| guid(nic) || mac(nic)) && one == other
}

/// What is to be said of them, once.
pub(super) fn told(name: &str, first: &str, others: &[String]) -> String {
    let named: Vec<&str> = [first].into_iter().chain(others.iter().map(String::as_str)).take(NAMED).collect();
    let all = others.len() + 1;
    let more = match all.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{all} files describe one machine, {name}, by its host name and its addresses: {}{more}; the first counts. \
         They are copies, or were made on one machine: make each on its own",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use phalanx_common::topology::machine::Rdma;
    use phalanx_common::topology::{Guid, LinkLayer};

    use super::*;

    fn with(guid: Option<u64>, mac: Option<&str>) -> Machine {
        let rdma = guid.map(|guid| Rdma {
            device: "mlx5_0".to_string(),
            port: 1,
            guid: Some(Guid(guid)),
            node_guid: None,
            subnet: None,
            lid: None,
            sm_lid: None,
        });
        let mac = mac.map(|mac| mac.parse().unwrap());
        Machine {
            nics: vec![Nic { rdma, mac, ..Nic::new("eth0", LinkLayer::Ethernet) }],
            ..Machine::default()
        }
    }

    #[test]
    fn machines_of_one_address_are_one_and_without_addresses_nobody_knows() {
        assert!(is_copy(&with(Some(1), None), &with(Some(1), None)));
        assert!(!is_copy(&with(Some(1), None), &with(Some(2), None)));
        let by_mac = |mac| with(None, Some(mac));
        assert!(is_copy(&by_mac("0c:42:a1:00:00:01"), &by_mac("0c:42:a1:00:00:01")));
        assert!(!is_copy(&by_mac("0c:42:a1:00:00:01"), &by_mac("0c:42:a1:00:00:02")));
        assert!(!is_copy(&with(None, None), &with(None, None)));
    }
}
