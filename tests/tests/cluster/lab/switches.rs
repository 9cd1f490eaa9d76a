//! Switches of the lab: bridges, each in a network of its own with an lldpd that speaks every second.

use std::process::{Command, Stdio};

use super::{Lab, ip, ok};
use crate::support::{Running, wait_for};

impl Lab {
    /// A switch; false, with a line that says so, where there is no lldpd.
    pub(crate) fn add_switch(&mut self, switch: &str) -> bool {
        let mut there = Command::new("sh");
        there.args(["-c", "command -v lldpd && command -v lldpcli"]).stdout(Stdio::null());
        if !ok(there) {
            crate::support::skipped("switches need lldpd, which is not installed");
            return false;
        }
        let namespace = self.namespace(switch);
        assert!(ok(ip(&["netns", "add", &namespace])), "a namespace for {switch}");
        self.hosts.push(switch.to_owned());
        for args in [&["link", "add", "br0", "type", "bridge"][..], &["link", "set", "br0", "up"]] {
            assert!(ok(ip(&[&["-n", namespace.as_str()], args].concat())), "ip {args:?}");
        }
        self.speak_lldp(switch);
        true
    }

    /// Starts lldpd on a host. It is told the interval before it begins: told right after that, it may never send.
    fn speak_lldp(&mut self, host: &str) {
        let file = self.dir.join(format!("{host}.conf"));
        std::fs::write(&file, "configure lldp tx-interval 1\n").expect("a file for lldpd");
        let (socket, file) = (self.lldp_socket(host), file.to_string_lossy().into_owned());
        self.daemon(host, &format!("{host}-lldpd"), "lldpd", &["-d", "-u", &socket, "-O", &file], &[]);
        let ask = ["-u", socket.as_str(), "show", "configuration"];
        wait_for("lldpd to speak every second", || {
            let said = Running::start(self.on(host, "lldpcli", &ask)).finish();
            said.out().contains("Transmit delay: 1").then_some(())
        });
    }

    fn lldp_socket(&self, host: &str) -> String {
        self.dir.join(format!("{host}.lldp")).to_string_lossy().into_owned()
    }

    /// Cables a host to a switch: its interface `fab0`, the switch's port by the host's name.
    pub(crate) fn cable(&self, host: &str, switch: &str) {
        let (inside, outside) = (self.namespace(host), self.namespace(switch));
        let port = format!("to-{host}");
        // Each end knows the other by a number of the other's network. lldpd takes it for one of its own, and an
        // interface that happens to have it for what the cable is made of: so no number is there twice.
        let number: u32 = host.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
        let (near, far) = ((100 + number).to_string(), (200 + number).to_string());
        let made = ip(&[
            "-n", &outside, "link", "add", &port, "index", &near, "type", "veth", "peer", "name", "fab0",
            "index", &far, "netns", &inside,
        ]);
        assert!(ok(made), "a cable from {host} to {switch}");
        self.plug(host, switch);
        assert!(ok(ip(&["-n", &inside, "link", "set", "fab0", "up"])));
    }

    fn plug(&self, host: &str, switch: &str) {
        let (switch, port) = (self.namespace(switch), format!("to-{host}"));
        assert!(ok(ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])));
    }

    /// Pulls a host's cable out of one switch and plugs it into another.
    pub(crate) fn move_cable(&self, host: &str, from: &str, to: &str) {
        let port = format!("to-{host}");
        let moved = ip(&["-n", &self.namespace(from), "link", "set", &port, "netns", &self.namespace(to)]);
        assert!(ok(moved), "the cable of {host}");
        self.plug(host, to);
    }

    /// Cables two switches to each other.
    pub(crate) fn trunk(&self, a: &str, b: &str) {
        let (a, b) = (self.namespace(a), self.namespace(b));
        assert!(ok(ip(&[
            "-n", &a, "link", "add", "trunk", "index", "300", "type", "veth", "peer", "name", "trunk",
            "index", "400", "netns", &b
        ])));
        for switch in [&a, &b] {
            assert!(ok(ip(&["-n", switch, "link", "set", "trunk", "master", "br0", "up"])));
        }
    }
}
