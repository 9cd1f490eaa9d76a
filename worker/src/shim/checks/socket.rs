//! `tcpSocket` and `httpGet` probes: a connection that is opened, and perhaps a question on it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::EpollFlags;
use phalanx_common::health::MAX_MESSAGE;
use phalanx_worker_core::prober::Answer;
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of an answer that are read.
const READ: usize = 4 * MAX_MESSAGE;

/// A connection on its way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// The request, if there is a question.
    request: Option<Vec<u8>>,
    connected: bool,
    answer: Vec<u8>,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come when the socket is ready for this.
    Waits(EpollFlags),
    Done(Answer),
}

/// The request of a probe.
pub(super) fn request(path: &str, address: SocketAddr, headers: &[(String, String)]) -> Vec<u8> {
    let given = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    let defaults = [
        ("Host", address.to_string()),
        ("User-Agent", concat!("phalanx-probe/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("Accept", "*/*".to_owned()),
        ("Connection", "close".to_owned()),
    ];
    let own = defaults.iter().filter(|(name, _)| !given(name)).map(|(name, value)| (*name, value.as_str()));
    for (name, value) in own.chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
        text += &format!("{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(address: SocketAddr, request: Option<Vec<u8>>) -> io::Result<Connection> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            other => other?,
        }
        let stream = TcpStream::from(socket);
        Ok(Connection { stream, address, request, connected: false, answer: Vec::new() })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Goes on as far as it can.
    pub(super) fn go_on(&mut self) -> Progress {
        match self.try_go_on() {
            Ok(progress) => progress,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Waits(EpollFlags::EPOLLIN),
            Err(error) => {
                let what = if self.connected { "no answer from" } else { "cannot connect to" };
                Progress::Done(Answer::Bad(format!("{what} {}: {error}", self.address)))
            }
        }
    }

    /// What is known of an answer that did not come to its end.
    pub(super) fn as_far(&self) -> Option<Answer> {
        status(&self.answer).and_then(|_| judge(&self.answer, true))
    }

    fn try_go_on(&mut self) -> io::Result<Progress> {
        if !self.connected {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            // Without an error and without a peer it is still on its way.
            if self.stream.peer_addr().is_err() {
                return Ok(Progress::Waits(EpollFlags::EPOLLOUT));
            }
            self.connected = true;
        }
        let Some(request) = &mut self.request else { return Ok(Progress::Done(Answer::Good)) };
        while !request.is_empty() {
            match self.stream.write(request) {
                Ok(wrote) => drop(request.drain(..wrote)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Waits(EpollFlags::EPOLLOUT));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut bytes = [0; READ];
        loop {
            let at_end = match self.stream.read(&mut bytes) {
                Ok(got) => {
                    self.answer.extend_from_slice(&bytes[..got]);
                    got == 0 || self.answer.len() >= READ
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
                // A server may reset what it has answered.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !self.answer.is_empty() => {
                    true
                }
                Err(error) => match judge(&self.answer, false) {
                    Some(answer) => return Ok(Progress::Done(answer)),
                    None => return Err(error),
                },
            };
            if let Some(answer) = judge(&self.answer, at_end) {
                return Ok(Progress::Done(answer));
            }
        }
    }
}

/// What an answer says, once that is known: 200 to 399 is good, and of any other as much is waited for as is told.
fn judge(answer: &[u8], at_end: bool) -> Option<Answer> {
    let status = status(answer);
    match status {
        Some(Some(code)) if (200..400).contains(&code) => return Some(Answer::Good),
        _ if !at_end => return None,
        _ => {}
    }
    let told = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        text[..text.floor_char_boundary(MAX_MESSAGE / 2)].to_owned()
    };
    Some(Answer::Bad(match status {
        Some(Some(code)) => {
            let body =
                answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| told(&answer[at + 4..]));
            match body.filter(|body| !body.is_empty()) {
                Some(body) => format!("HTTP status {code}: {body}"),
                None => format!("HTTP status {code}"),
            }
        }
        _ if answer.is_empty() => "the connection was closed without an answer".to_owned(),
        _ => format!("this is no HTTP answer: {}", told(answer)),
    }))
}

/// The code of the status line; `None`: it is not whole, `Some(None)`: it is none.
fn status(answer: &[u8]) -> Option<Option<u16>> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&answer[..end]).ok();
    let code = line.filter(|line| line.starts_with("HTTP/1.")).and_then(|line| line.split(' ').nth(1));
    Some(code.and_then(|code| code.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_from_200_to_399_is_good_and_the_rest_is_told() {
        let answer = |text: &str| judge(text.as_bytes(), true);
        assert_eq!(judge(b"HTTP/1.1 20", false), None);
        assert_eq!(judge(b"HTTP/1.1 204 No Content\r\n", false), Some(Answer::Good));
        assert_eq!(answer("HTTP/1.0 399 x\r\n\r\n"), Some(Answer::Good));
        let bad = |message: &str| Some(Answer::Bad(message.into()));
        assert_eq!(answer("HTTP/1.1 503 Busy\r\nA: b\r\n\r\nloading\n"), bad("HTTP status 503: loading"));
        assert_eq!(answer("HTTP/1.1 400\r\n\r\n"), bad("HTTP status 400"));
        assert_eq!(answer("SSH-2.0-x\r\n"), bad("this is no HTTP answer: SSH-2.0-x"));
        assert_eq!(answer(""), bad("the connection was closed without an answer"));
    }

    #[test]
    fn a_header_that_is_given_stands_in_place_of_ours() {
        let headers = [("host".to_owned(), "a".to_owned()), ("X-B".to_owned(), "c".to_owned())];
        let text = String::from_utf8(request("/x", ([127, 0, 0, 1], 80).into(), &headers)).unwrap();
        assert!(text.starts_with("GET /x HTTP/1.1\r\nUser-Agent: phalanx-probe/"), "{text}");
        assert!(text.contains("Connection: close\r\nhost: a\r\nX-B: c\r\n\r\n"), "{text}");
    }
}
