//! Those who follow a job's output: that it comes to them, that it ends, and that they leave nothing behind.

use phalanx_common::wire::client_v1::{Reply, Request};
use phalanx_common::wire::v1::LogFrame;
use phalanx_common::wire::{ClientHello, StreamHeader, StreamKind};
use phalanx_net::frames;
use phalanx_net::identity_file::Identity;
use phalanx_net::transport::MORE_STREAMS;

use crate::lab::Lab;
use crate::peer::{self, hello};
use crate::support::Running;

#[test]
fn followers_of_a_silent_job_that_leave_make_room_for_others() {
    let Some(lab) = Lab::joined(1) else { return };
    lab.run(&["submit", "--grace", "1", "--", "sh", "-c", "echo here; exec sleep 600"]).assert_code(0);
    let job = lab.only_job();
    let user = Identity::load(&lab.dir.join("user.json")).expect("an identity");
    lab.within("head", async || {
        // More than a worker may have streams for.
        for _ in 0..4 {
            let connected = peer::connect(&user).await;
            let (_, _control) = hello(&connected.connection, &ClientHello::own()).await;
            let mut streams = Vec::new();
            for _ in 0..MORE_STREAMS / 2 {
                let header = StreamHeader { kind: StreamKind::Request, version: 1 };
                let (mut send, mut receive) =
                    frames::open(&connected.connection, header).await.expect("a stream");
                let request = Request::Logs { job: job.clone(), generation: None, rank: None, follow: true };
                send.write(&request).await.expect("a request");
                let reply = receive.read::<Reply>().await.expect("an answer");
                assert!(matches!(reply, Reply::Log(LogFrame::Chunk { .. })), "{reply:?}");
                streams.push((send, receive));
            }
            connected.connection.close(0u32.into(), b"");
        }
    });
    assert_eq!(lab.run(&["logs", &job]).assert_code(0).out(), "[0] here\n");
    lab.run(&["stop", &job]).assert_code(0);
}

#[test]
fn who_follows_sees_the_end_of_a_job_that_a_worker_does_not_hold_in_its_new_life() {
    let Some(mut lab) = Lab::joined(2) else { return };
    let script = "trap '' TERM; echo $RANK; touch began-$RANK; while :; do sleep 0.2; done";
    let args = ["submit", "--nodes", "2", "--ranks-per-node", "1", "--grace", "4"];
    lab.run(&[&args[..], &["--", "sh", "-c", script]].concat()).assert_code(0);
    for rank in ["began-0", "began-1"] {
        lab.wait_for_file(rank, "");
    }
    let job = lab.only_job();
    let follower = Running::start(lab.phalanx(&["logs", "-f", &job]));
    lab.kill("node1");
    // The other rank has its grace, in which this node is there and has no pod.
    lab.start_worker("node1");
    assert_eq!(follower.finish().sorted(), ["[0] 0", "[1] 1"]);
}

#[test]
fn who_follows_one_rank_of_a_job_that_waits_sees_it_once_it_is_placed() {
    let Some(mut lab) = Lab::served(1) else { return };
    lab.run(&["submit", "-n", "2", "--", "sh", "-c", "echo $RANK is here"]).assert_code(0);
    let job = lab.only_job();
    let follower = Running::start(lab.phalanx(&["logs", "-f", "--rank", "1", &job]));
    lab.join("node1");
    assert_eq!(follower.finish().assert_code(0).out(), "1 is here\n");
}
