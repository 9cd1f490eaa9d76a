//! A cluster without a single IPv4 address but loopback's.

use crate::lab::{Family, Lab};
use crate::support::{Running, binary, python};

fn cluster() -> Option<Lab> {
    let mut lab = Lab::of(Family::V6, 2)?;
    lab.serve();
    lab.login();
    lab.join_all();
    Some(lab)
}

#[test]
fn a_job_over_two_nodes_meets_at_a_numeric_ipv6_address() {
    let Some(lab) = cluster() else { return };
    let meet = "import ipaddress, os, socket, sys, time\n\
        rank, address = int(os.environ['RANK']), os.environ['MASTER_ADDR']\n\
        place = (str(ipaddress.IPv6Address(address)), int(os.environ['MASTER_PORT']))\n\
        if rank == 0:\n\
        \tserver = socket.create_server(place, family=socket.AF_INET6)\n\
        \tpeer, of = server.accept()\n\
        \tpeer.sendall(b'welcome')\n\
        \tprint('met', of[0], 'at', address)\n\
        else:\n\
        \tfor _ in range(200):\n\
        \t\ttry: peer = socket.create_connection(place, timeout=5); break\n\
        \t\texcept OSError: time.sleep(0.1)\n\
        \tprint(peer.recv(7).decode(), 'to', peer.getsockname()[0], 'on', os.environ['GLOO_SOCKET_IFNAME'])\n";
    let done = lab.run(&["run", "--nodes", "2", "--ranks-per-node", "1", "--", "python3", "-c", meet]);
    assert_eq!(
        done.assert_code(0).sorted(),
        ["[0] met fd78::12 at fd78::11", "[1] welcome to fd78::12 on data0"]
    );
    let nodes = lab.operate(&["nodes"]).out();
    assert!(nodes.contains(" fd78::11 ") && nodes.contains(" fd78::12 "), "{nodes}");
    // A client elsewhere, by each way to write the address.
    for coordinator in ["fd77::1", "[fd77::1]", "[fd77::1]:7429"] {
        let args = ["run", "--coordinator", coordinator, "-n", "1", "--", "true"];
        let mut command = lab.on("node2", &binary().to_string_lossy(), &args);
        command.env("PHALANX_IDENTITY", lab.dir.join("user.json"));
        Running::start(command).finish().assert_code(0);
    }
}

#[test]
fn pytorchs_gloo_meets_and_sums_over_ipv6() {
    let Some(python) = python() else {
        crate::support::skipped("PHALANX_TEST_PYTHON names no interpreter with PyTorch");
        return;
    };
    let Some(lab) = cluster() else { return };
    let sum = "import os, torch, torch.distributed as dist\n\
        dist.init_process_group('gloo')\n\
        ones = torch.ones(1)\n\
        dist.all_reduce(ones)\n\
        print('sum', int(ones), 'at', os.environ['MASTER_ADDR'])\n\
        dist.destroy_process_group()\n";
    let python = python.to_string_lossy();
    let done = lab.run(&["run", "--nodes", "2", "--ranks-per-node", "1", "--", &python, "-c", sum]);
    assert_eq!(done.assert_code(0).sorted(), ["[0] sum 2 at fd78::11", "[1] sum 2 at fd78::11"]);
}
