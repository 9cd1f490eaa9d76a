//! Who is let in and who is believed, over real QUIC on loopback.
#![expect(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use std::time::Duration;

use phalanx_common::id::NodeId;
use phalanx_common::identity::Principal;
use phalanx_common::wire::ALPN_CONTROL;
use phalanx_common::wire::join_v1::{self, JoinReply};
use phalanx_net::authority::Authority;
use phalanx_net::classify::{Peer, Refusal, classify, of_connection};
use phalanx_net::identity_file::Identity;
use phalanx_net::join::{self, Pending};
use phalanx_net::token::Token;
use phalanx_net::{certificate, connect, tls, transport};
use quinn::Endpoint;
use ring::rand::SystemRandom;
use support::{BOUND, DAY, authority, endpoint, identity, now};

const HOUR: Duration = Duration::from_secs(3600);

fn worker() -> Principal {
    Principal::Worker { node: NodeId::new("n1") }
}

/// Takes one connection and says who it is; closes it as a coordinator would if it is refused.
async fn admit(endpoint: Endpoint, ca: &Authority) -> Result<Peer, String> {
    let incoming = endpoint.accept().await.unwrap();
    let connection = incoming.await.map_err(|error| error.to_string())?;
    let peer = of_connection(&connection, &ca.cluster());
    if let Err(refusal) = &peer {
        connection.close(transport::CLOSED_REFUSED, refusal.to_string().as_bytes());
        endpoint.wait_idle().await;
    } else {
        connection.closed().await;
    }
    peer.map_err(|refusal| refusal.to_string())
}

/// Connects with this identity; the reason the coordinator gives once the handshake looked finished.
async fn come(identity: &Identity) -> Result<String, connect::Error> {
    let tls = identity.tls().unwrap();
    let connected = connect::connect(&tls, &identity.coordinators, &transport::member()).await?;
    let closed = tokio::time::timeout(Duration::from_millis(300), connected.connection.closed()).await;
    connected.connection.close(0u32.into(), b"");
    Ok(closed.map(|why| connect::Lost(&why).to_string()).unwrap_or_default())
}

/// Both sides at once: what the client was told, and what the coordinator made of it.
async fn meet(
    server: (Endpoint, &Authority),
    identity: &Identity,
) -> (Result<String, connect::Error>, Result<Peer, String>) {
    let both = async { tokio::join!(come(identity), admit(server.0, server.1)) };
    tokio::time::timeout(BOUND, both).await.unwrap()
}

#[tokio::test]
async fn a_worker_and_a_user_of_the_cluster_are_known_by_their_certificates() {
    let ca = authority();
    let ann = Principal::Submitter { name: "ann".into(), unix_user: "ann".into() };
    for principal in [worker(), ann, Principal::Operator { name: "root".into() }] {
        let (endpoint, address) = endpoint(&ca, &Principal::Coordinator, now());
        let identity = identity(&ca, &principal, now(), &address.to_string());
        let (told, peer) = meet((endpoint, &ca), &identity).await;
        assert_eq!(told.unwrap(), "");
        match peer.unwrap() {
            Peer::Worker { node, expires } => {
                assert_eq!((Principal::Worker { node }, expires), (principal, identity.expires));
            }
            Peer::Client { principal: seen, expires } => {
                assert_eq!((seen, expires), (principal, identity.expires));
            }
            Peer::Joiner => panic!("a certificate was shown"),
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused_and_its_owner_told_so() {
    let (ours, theirs) = (authority(), authority());
    let (endpoint, address) = endpoint(&ours, &Principal::Coordinator, now());
    let foreign = identity(&theirs, &worker(), now(), &address.to_string());
    // The foreigner does not believe our coordinator either: that is what it notices first.
    let (told, peer) = meet((endpoint, &ours), &foreign).await;
    let told = told.unwrap_err().to_string();
    assert!(told.contains(&format!("not of cluster {}", theirs.cluster())), "{told}");
    assert!(peer.is_err(), "{peer:?}");
}

#[tokio::test]
async fn a_workers_certificate_is_never_a_coordinators() {
    let ca = authority();
    let (endpoint, address) = endpoint(&ca, &worker(), now());
    let identity = identity(&ca, &worker(), now(), &address.to_string());
    let (told, peer) = meet((endpoint, &ca), &identity).await;
    let told = told.unwrap_err().to_string();
    assert!(told.contains("not a coordinator's"), "{told}");
    assert!(peer.is_err());
}

#[tokio::test]
async fn a_coordinator_certificate_that_is_not_valid_now_names_both_clocks() {
    let ca = authority();
    for at in [now() - DAY - HOUR, now() + 2 * HOUR] {
        let (endpoint, address) = endpoint(&ca, &Principal::Coordinator, at);
        let identity = identity(&ca, &worker(), now(), &address.to_string());
        let (told, _) = meet((endpoint, &ca), &identity).await;
        let told = told.unwrap_err().to_string();
        assert!(told.contains("this host's clock says 20") && told.contains("compare the clocks"), "{told}");
    }
}

#[tokio::test]
async fn an_expired_client_certificate_is_refused_with_a_word_on_clocks() {
    let ca = authority();
    let (endpoint, address) = endpoint(&ca, &Principal::Coordinator, now());
    let identity = identity(&ca, &worker(), now() - DAY - HOUR, &address.to_string());
    let (told, peer) = meet((endpoint, &ca), &identity).await;
    let told = told.unwrap_or_else(|error| error.to_string());
    assert!(told.contains("expired") && told.contains("clock"), "{told}");
    assert!(peer.is_err());
}

#[test]
fn every_other_pair_of_protocol_and_certificate_is_refused() {
    let ca = authority();
    let der = |ca: &Authority, principal: &Principal| {
        let keys = phalanx_net::authority::Keys::generate().unwrap();
        ca.issue_for(principal, &keys, now(), DAY, &SystemRandom::new()).unwrap()
    };
    let classify = |alpn: &[u8], certificate: Option<&[u8]>| classify(alpn, certificate, &ca.cluster());
    let ours = der(&ca, &worker());
    assert_eq!(classify(join_v1::ALPN, None), Ok(Peer::Joiner));
    assert_eq!(classify(join_v1::ALPN, Some(&ours)), Err(Refusal::NeedlessCertificate));
    assert_eq!(classify(ALPN_CONTROL, None), Err(Refusal::NoCertificate));
    assert_eq!(classify(b"h3", Some(&ours)), Err(Refusal::Protocol));
    assert_eq!(classify(b"", None), Err(Refusal::Protocol));
    let theirs = der(&authority(), &worker());
    assert_eq!(classify(ALPN_CONTROL, Some(&theirs)), Err(Refusal::OtherCluster));
    let coordinator = der(&ca, &Principal::Coordinator);
    assert_eq!(classify(ALPN_CONTROL, Some(&coordinator)), Err(Refusal::Coordinator));
    let broken = Refusal::Certificate(certificate::Error::Broken);
    assert_eq!(classify(ALPN_CONTROL, Some(&ours[1..])), Err(broken));
    let no_name = Refusal::Certificate(certificate::Error::NoPrincipal);
    assert_eq!(classify(ALPN_CONTROL, Some(ca.certificate())), Err(no_name));
}

/// A coordinator that takes one join with this token, and what became of it.
async fn coordinator(endpoint: Endpoint, ca: &Authority, token: &Token) -> Result<String, String> {
    let connection = endpoint.accept().await.unwrap().await.map_err(|error| error.to_string())?;
    assert_eq!(of_connection(&connection, &ca.cluster()), Ok(Peer::Joiner));
    let pending = tokio::time::timeout(join::WITHIN, Pending::read(&connection))
        .await
        .map_err(|_| "slow".to_owned())?
        .map_err(|error| format!("{error:?}"))?;
    if !pending.signed_by(&token.key()) {
        pending.answer(&JoinReply::Refused { why: "wrong signature".into() }).await.unwrap();
        return Err("wrong signature".into());
    }
    let csr = pending.request.csr.clone();
    let certificate = ca.issue(&worker(), &csr, now(), DAY, &SystemRandom::new()).unwrap();
    let host = pending.request.host_name.clone();
    let ca = ca.certificate().to_vec();
    pending.answer(&JoinReply::Accepted { certificate, ca }).await.unwrap();
    Ok(host)
}

async fn join_with(
    ca: &Authority,
    at_coordinator: &Token,
    at_node: &Token,
) -> (Result<Identity, join::Error>, Result<String, String>) {
    let (endpoint, address) = endpoint(ca, &Principal::Coordinator, now());
    let addresses = [address.to_string()];
    let both = async {
        tokio::join!(join::join(&addresses, at_node, "host-1"), coordinator(endpoint, ca, at_coordinator))
    };
    tokio::time::timeout(BOUND, both).await.unwrap()
}

#[tokio::test]
async fn a_node_with_a_token_gets_a_certificate_for_its_own_key() {
    let ca = authority();
    let token = Token::generate(&SystemRandom::new(), ca.pin()).unwrap();
    let (identity, host) = join_with(&ca, &token, &token).await;
    let identity = identity.unwrap();
    assert_eq!((identity.cluster.clone(), identity.principal.clone()), (ca.cluster(), worker()));
    assert_eq!(host.unwrap(), "host-1");
    // And the identity works: over a file, on a new connection.
    let dir = std::env::temp_dir().join(format!("phalanx-net-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("identity.json");
    identity.save(&path).unwrap();
    let (endpoint, address) = endpoint(&ca, &Principal::Coordinator, now());
    let mut identity = Identity::load(&path).unwrap();
    identity.coordinators = vec![address.to_string()];
    let (told, peer) = meet((endpoint, &ca), &identity).await;
    assert_eq!(told.unwrap(), "");
    assert!(matches!(peer, Ok(Peer::Worker { .. })));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_token_of_another_cluster_meets_a_ca_that_does_not_match() {
    let (ours, theirs) = (authority(), authority());
    let token = Token::generate(&SystemRandom::new(), theirs.pin()).unwrap();
    let (identity, _) = join_with(&ours, &token, &token).await;
    let error = identity.unwrap_err().to_string();
    assert!(error.contains("CA does not match the token"), "{error}");
}

#[tokio::test]
async fn a_wrong_secret_does_not_sign_for_a_token() {
    let ca = authority();
    let (real, forged) = (
        Token::generate(&SystemRandom::new(), ca.pin()).unwrap(),
        Token::generate(&SystemRandom::new(), ca.pin()).unwrap(),
    );
    let (identity, verdict) = join_with(&ca, &real, &forged).await;
    assert_eq!(identity.unwrap_err().to_string(), "the coordinator refuses: wrong signature");
    assert_eq!(verdict, Err("wrong signature".to_owned()));
}

/// A connection that may join but says `bytes` instead.
async fn joiner_that_says(ca: &Authority, bytes: Vec<u8>) -> Result<String, String> {
    let token = Token::generate(&SystemRandom::new(), ca.pin()).unwrap();
    let (endpoint, address) = endpoint(ca, &Principal::Coordinator, now());
    let talk = async {
        let tls = tls::joiner(ca.pin()).unwrap();
        let connected = connect::connect(&tls, &[address.to_string()], &transport::member()).await.unwrap();
        let (mut send, _recv) = connected.connection.open_bi().await.unwrap();
        // The coordinator may have closed the connection before all of it is gone.
        let _ = send.write_all(&bytes).await;
        connected.connection.closed().await
    };
    let both = async {
        tokio::select! {
            verdict = coordinator(endpoint, ca, &token) => verdict,
            closed = talk => Err(format!("closed first: {closed}")),
        }
    };
    tokio::time::timeout(BOUND, both).await.unwrap()
}

#[tokio::test]
async fn garbage_oversized_and_slow_join_requests_are_cut_off() {
    let ca = authority();
    let header = [5, 1, 0];
    let garbage = joiner_that_says(&ca, vec![0xff; 64]).await;
    assert!(garbage.unwrap_err().contains("Header"));
    let no_message = joiner_that_says(&ca, [&header[..], &[8, 0, 0, 0], &[0xff; 8]].concat()).await;
    assert!(no_message.unwrap_err().contains("Frame"));
    let oversized = [&header[..], &(200_000u32).to_le_bytes(), &vec![0; 200_000]].concat();
    assert!(joiner_that_says(&ca, oversized).await.unwrap_err().contains("TooLarge"));
    let begun = [&header[..], &(100u32).to_le_bytes(), &[0; 3]].concat();
    assert_eq!(joiner_that_says(&ca, begun).await, Err("slow".to_owned()));
}

#[tokio::test]
async fn a_request_signed_for_one_session_is_worth_nothing_in_another() {
    let ca = authority();
    let token = Token::generate(&SystemRandom::new(), ca.pin()).unwrap();
    // What a relay can take from one session: request and signature.
    let (endpoint_1, address) = endpoint(&ca, &Principal::Coordinator, now());
    let addresses = [address.to_string()];
    let stolen = async {
        let connection = endpoint_1.accept().await.unwrap().await.unwrap();
        let pending = Pending::read(&connection).await.unwrap();
        assert!(pending.signed_by(&token.key()));
        pending.request.clone()
    };
    let joining = join::join(&addresses, &token, "host-1");
    let request = tokio::time::timeout(BOUND, async {
        tokio::select! { request = stolen => request, joined = joining => panic!("{joined:?}") }
    })
    .await
    .unwrap();
    let mut bytes = vec![5, 1, 0];
    phalanx_common::wire::codec::encode(&request, &mut bytes).unwrap();
    let (endpoint_2, address) = endpoint(&ca, &Principal::Coordinator, now());
    let relay = async {
        let tls = tls::joiner(ca.pin()).unwrap();
        let connected = connect::connect(&tls, &[address.to_string()], &transport::member()).await.unwrap();
        let (mut send, mut recv) = connected.connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        recv.read_to_end(1 << 16).await
    };
    let (_, verdict) =
        tokio::time::timeout(BOUND, async { tokio::join!(relay, coordinator(endpoint_2, &ca, &token)) })
            .await
            .unwrap();
    assert_eq!(verdict, Err("wrong signature".to_owned()));
}

#[tokio::test]
async fn where_nobody_answers_the_port_is_asked_about_and_bad_names_are_told_apart() {
    // A socket that reads nothing: packets vanish as behind a firewall.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let tls = tls::joiner([0; 32]).unwrap();
    let addresses = [address.to_string(), "no such host:7429".to_owned(), "127.0.0.1:x".to_owned()];
    let error = connect::connect(&tls, &addresses, &transport::member()).await.unwrap_err().to_string();
    assert!(error.contains(&format!("is {address}/udp open")), "{error}");
    assert!(error.contains("no such host:7429: not an address"), "{error}");
    assert!(error.contains("127.0.0.1:x: not an address"), "{error}");
}

#[tokio::test]
async fn the_second_address_is_used_when_the_first_is_silent() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let ca = authority();
    let (endpoint, address) = endpoint(&ca, &Principal::Coordinator, now());
    let mut identity = identity(&ca, &worker(), now(), &silent.local_addr().unwrap().to_string());
    identity.coordinators.push(format!("localhost:{}", address.port()));
    let (told, peer) = meet((endpoint, &ca), &identity).await;
    assert_eq!(told.unwrap(), "");
    assert!(peer.is_ok());
}

#[test]
fn an_identity_file_that_others_may_read_or_that_is_broken_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = std::env::temp_dir().join(format!("phalanx-net-file-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("identity.json");
    let missing = Identity::load(&path).unwrap_err().to_string();
    assert!(missing.starts_with("there is no identity file"), "{missing}");
    let identity = identity(&authority(), &worker(), now(), "127.0.0.1:1");
    identity.save(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(Identity::load(&path).unwrap(), identity);
    assert!(!format!("{identity:?}").contains("PRIVATE"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let open = Identity::load(&path).unwrap_err().to_string();
    assert!(open.contains("mode 640") && open.contains("chmod 600"), "{open}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, identity.reveal().replace("\"version\": 1", "\"version\": 2")).unwrap();
    assert!(Identity::load(&path).unwrap_err().to_string().contains("its version is 2"));
    std::fs::write(&path, "{").unwrap();
    assert!(Identity::load(&path).unwrap_err().to_string().contains("not the JSON of an identity"));
    std::fs::remove_dir_all(&dir).unwrap();
}
