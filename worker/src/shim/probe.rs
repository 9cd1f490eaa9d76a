//! Probes between the pods of a generation, on the data plane: is the other node alive, whatever its
//! worker and its link to the coordinator do?
//!
//! One datagram asks, one of the same size answers: a magic, a kind, a nonce, and the first half of
//! HMAC-SHA256 (RFC 2104, truncated as its section 5 allows) over kind, nonce, job and generation. What
//! carries no valid tag is dropped without a word.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use phalanx_common::defaults::PROBE_WITHIN;
use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_worker_core::shim::ProbePlan;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

const MAGIC: [u8; 4] = *b"phxp";
const ASKS: u8 = 1;
const ANSWERS: u8 = 2;
const NONCE: usize = 16;
const TAG: usize = 16;
const DATAGRAM: usize = MAGIC.len() + 1 + NONCE + TAG;
/// Asked again after this long: a lost datagram is no lost node.
const EVERY: Duration = Duration::from_millis(250);
/// The verdict comes so long before `PROBE_WITHIN` is over: it has a way to go.
const MARGIN: Duration = Duration::from_millis(250);
/// Datagrams taken at once: a flood must not keep the shim from its ranks.
const AT_ONCE: usize = 32;
/// Peers asked about at the same time.
const MOST_ASKED: usize = 16;

/// The pod's end of the probes.
#[derive(Debug)]
pub(super) struct Probes {
    socket: UdpSocket,
    key: hmac::Key,
    context: Vec<u8>,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    target: NodeId,
    address: SocketAddr,
    nonce: [u8; NONCE],
    next: Instant,
    until: Instant,
}

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) target: NodeId,
    pub(super) heard: bool,
}

impl Probes {
    /// Listens on the plan's port.
    pub(super) fn open(plan: &ProbePlan, job: &JobId, generation: Generation) -> io::Result<Probes> {
        let any: IpAddr = match plan.family {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, plan.port))?;
        socket.set_nonblocking(true)?;
        Ok(Probes {
            socket,
            key: hmac::Key::new(hmac::HMAC_SHA256, &plan.key),
            context: format!("{job} {generation}").into_bytes(),
            asked: Vec::new(),
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Begins to ask the pod at `address`; `None` if it cannot be asked.
    pub(super) fn ask(&mut self, target: NodeId, address: SocketAddr, now: Instant) -> Option<()> {
        self.asked.retain(|asked| asked.target != target);
        let mut nonce = [0; NONCE];
        SystemRandom::new().fill(&mut nonce).ok()?;
        if self.asked.len() >= MOST_ASKED {
            return None;
        }
        self.asked.push(Asked { target, address, nonce, next: now, until: now + PROBE_WITHIN - MARGIN });
        Some(())
    }

    /// When there is something to send or to conclude.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asked.iter().map(|asked| asked.next.min(asked.until)).min()
    }

    /// Sends what is due, and gives up on whom nothing was heard of.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Verdict> {
        let mut silent = Vec::new();
        let mut due = Vec::new();
        self.asked.retain_mut(|asked| {
            if asked.until <= now {
                silent.push(Verdict { target: asked.target.clone(), heard: false });
                return false;
            }
            if asked.next <= now {
                asked.next = now + EVERY;
                due.push((asked.nonce, asked.address));
            }
            true
        });
        for (nonce, address) in due {
            // What cannot be sent (no route, a link that is down) is not heard either.
            let _ = self.socket.send_to(&self.datagram(ASKS, &nonce), address);
        }
        silent
    }

    /// Answers those who ask, and hears those who answer.
    pub(super) fn on_readable(&mut self) -> Vec<Verdict> {
        let mut heard = Vec::new();
        // One byte more, so that what is longer is seen to be.
        let mut bytes = [0; DATAGRAM + 1];
        for _ in 0..AT_ONCE {
            let (len, from) = match self.socket.recv_from(&mut bytes) {
                Ok(received) => received,
                // An ICMP error of an earlier datagram: the next one may be good.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(_) => break,
            };
            let Some((kind, nonce)) = self.read(&bytes[..len]) else { continue };
            if kind == ASKS {
                let _ = self.socket.send_to(&self.datagram(ANSWERS, &nonce), from);
            } else if let Some(at) = self.asked.iter().position(|asked| asked.nonce == nonce) {
                heard.push(Verdict { target: self.asked.swap_remove(at).target, heard: true });
            }
        }
        heard
    }

    fn datagram(&self, kind: u8, nonce: &[u8; NONCE]) -> Vec<u8> {
        let tag = hmac::sign(&self.key, &self.signed(kind, nonce));
        [&MAGIC[..], &[kind], nonce, &tag.as_ref()[..TAG]].concat()
    }

    /// Kind and nonce of a datagram of this generation's; `None` for anything else.
    fn read(&self, bytes: &[u8]) -> Option<(u8, [u8; NONCE])> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (kind, rest) = rest.split_first()?;
        let (nonce, tag) = rest.split_at_checked(NONCE)?;
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        if tag.len() != TAG || ![ASKS, ANSWERS].contains(kind) {
            return None;
        }
        let right = hmac::sign(&self.key, &self.signed(*kind, &nonce));
        // Every byte is looked at, whichever differs first.
        let differs = right.as_ref()[..TAG].iter().zip(tag).fold(0, |differs, (a, b)| differs | (a ^ b));
        (differs == 0).then_some((*kind, nonce))
    }

    fn signed(&self, kind: u8, nonce: &[u8; NONCE]) -> Vec<u8> {
        [b"phalanx-probe/1 ", &[kind][..], nonce, &self.context].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(key: u8, generation: u32) -> (Probes, SocketAddr) {
        // Port 0: whichever is free.
        let plan = ProbePlan { port: 0, family: [127, 0, 0, 1].into(), key: [key; 32] };
        let probes = Probes::open(&plan, &JobId::from_existing("j-1"), Generation(generation)).unwrap();
        let port = probes.socket.local_addr().unwrap().port();
        (probes, ([127, 0, 0, 1], port).into())
    }

    /// Lets both sides act until the asking one has a verdict; its clock is `now` plus what passed.
    fn ask(asking: &mut Probes, other: &mut Probes, address: SocketAddr) -> bool {
        let begun = Instant::now();
        asking.ask(NodeId::new("n2"), address, begun).unwrap();
        loop {
            let mut verdicts = asking.turn(Instant::now());
            other.on_readable();
            verdicts.extend(asking.on_readable());
            if let Some(verdict) = verdicts.pop() {
                assert_eq!(verdict.target, NodeId::new("n2"));
                assert_eq!(asking.deadline(), None);
                return verdict.heard;
            }
            assert!(begun.elapsed() < PROBE_WITHIN, "a verdict comes in time");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_peer_of_the_same_generation_is_heard() {
        let ((mut one, _), (mut two, address)) = (probes(1, 3), probes(1, 3));
        assert!(ask(&mut one, &mut two, address));
    }

    #[test]
    fn another_key_another_generation_and_silence_are_not() {
        let (mut one, _) = probes(1, 3);
        let (mut stranger, address) = probes(2, 3);
        assert!(!ask(&mut one, &mut stranger, address));
        let (mut older, address) = probes(1, 2);
        assert!(!ask(&mut one, &mut older, address));
    }

    #[test]
    fn an_answer_to_another_question_and_garbage_are_dropped() {
        let ((mut one, address), (two, _)) = (probes(1, 3), probes(1, 3));
        one.ask(NodeId::new("n2"), ([127, 0, 0, 1], 9).into(), Instant::now()).unwrap();
        let good = two.datagram(ANSWERS, &[7; NONCE]);
        for bytes in [good.clone(), good[1..].to_vec(), [&good[..], &[0]].concat(), vec![0; DATAGRAM]] {
            two.socket.send_to(&bytes, address).unwrap();
        }
        // The question of a peer comes last and is answered: all before it were read.
        two.socket.send_to(&two.datagram(ASKS, &[8; NONCE]), address).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut answer = [0; DATAGRAM];
        while two.socket.recv(&mut answer).is_err() {
            assert_eq!(one.on_readable(), []);
            assert!(Instant::now() < deadline);
        }
        assert_eq!(two.read(&answer), Some((ANSWERS, [8; NONCE])));
    }
}
