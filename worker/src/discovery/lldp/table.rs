//! Neighbours that we heard ourselves, for as long as they said.

use std::collections::BTreeMap;
use std::time::Instant;

use phalanx_common::wire::topology_v1::Neighbour;
use phalanx_formats::lldp;

/// Switches behind one port; a cable has one, an unmanaged switch in between several.
const MOST_OF_A_PORT: usize = 16;

/// By chassis and port: a neighbour, and until when.
type OfPort = BTreeMap<(String, String), (Neighbour, Instant)>;

/// Who is at the other ends.
#[derive(Debug, Default)]
pub struct Table {
    /// By interface.
    heard: BTreeMap<String, OfPort>,
}

impl Table {
    /// A frame came to this interface. True if what is known changed.
    pub fn note(&mut self, now: Instant, interface: &str, frame: &lldp::Neighbour) -> bool {
        let of_port = self.heard.entry(interface.to_owned()).or_default();
        let key = (frame.chassis.clone(), frame.port.clone());
        let Some(neighbour) = super::neighbour(interface, frame) else {
            return of_port.remove(&key).is_some();
        };
        if of_port.len() >= MOST_OF_A_PORT && !of_port.contains_key(&key) {
            return false;
        }
        let until = now + frame.ttl;
        let before = of_port.insert(key, (neighbour.clone(), until));
        before.is_none_or(|(before, _)| before != neighbour)
    }

    /// Forgets those whose time is over. True if there were any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let count =
            |heard: &BTreeMap<String, BTreeMap<_, _>>| heard.values().map(BTreeMap::len).sum::<usize>();
        let before = count(&self.heard);
        for of_port in self.heard.values_mut() {
            of_port.retain(|_, (_, until)| *until > now);
        }
        count(&self.heard) != before
    }

    /// The cable of this interface leads nowhere any more.
    pub fn forget(&mut self, interface: &str) -> bool {
        self.heard.remove(interface).is_some_and(|of_port| !of_port.is_empty())
    }

    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.heard.values().flat_map(BTreeMap::values).map(|(neighbour, _)| neighbour.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(chassis: &str, ttl: u64) -> lldp::Neighbour {
        lldp::Neighbour {
            chassis: chassis.to_owned(),
            port: "swp1".to_owned(),
            port_is_name: true,
            ttl: Duration::from_secs(ttl),
            ..lldp::Neighbour::default()
        }
    }

    #[test]
    fn a_neighbour_stays_for_as_long_as_it_said_and_goes_when_it_takes_leave() {
        let start = Instant::now();
        let mut table = Table::default();
        assert!(table.note(start, "eth0", &frame("local a", 120)));
        assert!(!table.note(start + Duration::from_secs(30), "eth0", &frame("local a", 120)));
        assert!(!table.expire(start + Duration::from_secs(149)));
        assert!(table.expire(start + Duration::from_secs(150)));
        assert!(table.note(start, "eth0", &frame("local a", 120)));
        assert!(table.note(start, "eth0", &frame("local a", 0)));
        assert_eq!(table.neighbours(), []);
    }

    #[test]
    fn what_forwards_nothing_is_no_switch_and_a_flood_of_switches_is_cut() {
        let start = Instant::now();
        let mut table = Table::default();
        let agent = lldp::Neighbour { forwards: Some(false), ..frame("mac 0c:42:a1:00:00:01", 120) };
        assert!(!table.note(start, "eth0", &agent));
        for number in 0..100 {
            table.note(start, "eth0", &frame(&format!("local {number}"), 120));
        }
        assert_eq!(table.neighbours().len(), MOST_OF_A_PORT);
        assert!(table.forget("eth0") && !table.forget("eth0"));
    }
}
