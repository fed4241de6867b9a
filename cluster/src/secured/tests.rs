//! Two ends of real connections.

use super::*;
use crate::{Boot, ClusterId, NodeIdentity};
use openssl::{asn1::Asn1Time, hash::MessageDigest, pkey::PKey, x509::X509};
use oribi_model::NodeId;
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CLUSTER: ClusterId = ClusterId(7);

fn identity(node: u32) -> NodeIdentity {
    NodeIdentity { cluster: CLUSTER, node: NodeId(node), boot: Boot(1) }
}

fn secret(byte: char) -> Admission {
    Admission::Secret(JoinSecret::new(&byte.to_string().repeat(40)).unwrap())
}

fn tls(node: u32, admission: Admission) -> NodeTls {
    NodeTls::new(&NodeKey::generate().unwrap(), Some(identity(node)), admission).unwrap()
}

/// What the two ends of a connection know of each other: the one that calls, the one that is called.
async fn met(calling: &NodeTls, called: &NodeTls) -> ((Stream, Peer), (Stream, Peer)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = async {
        let stream = TcpStream::connect(address).await.unwrap();
        calling.connect(stream).await.unwrap()
    };
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        called.accept(stream).await.unwrap()
    };
    tokio::join!(connecting, accepting)
}

#[tokio::test]
async fn both_ends_learn_which_key_the_other_has() {
    let (one, two) = (tls(1, Admission::Nobody), tls(2, Admission::Nobody));
    let ((mut calling, seen_two), (mut called, seen_one)) = met(&one, &two).await;
    assert_eq!((seen_one.pin(), seen_two.pin()), (one.pin(), two.pin()));
    assert!(seen_one.is_named(CLUSTER, NodeId(1)) && seen_two.is_named(CLUSTER, NodeId(2)));
    for (cluster, node) in [(CLUSTER, 2), (ClusterId(8), 1)] {
        assert!(!seen_one.is_named(cluster, NodeId(node)));
    }
    assert_eq!(seen_one.exported(), seen_two.exported());
    calling.write_all(b"rows").await.unwrap();
    calling.flush().await.unwrap();
    let mut rows = [0; 4];
    called.read_exact(&mut rows).await.unwrap();
    assert_eq!(&rows, b"rows");
    // Another connection of the same two has nothing of it.
    let ((_, again), _) = met(&one, &two).await;
    assert_ne!(again.exported(), seen_two.exported());
}

#[tokio::test]
async fn a_connection_goes_on_in_another_runtime() {
    let (one, two) = (tls(1, Admission::Nobody), tls(2, Admission::Nobody));
    let ((mut calling, _), (mut called, _)) = met(&one, &two).await;
    calling.write_all(b"before").await.unwrap();
    calling.flush().await.unwrap();
    let mut first = [0; 3];
    called.read_exact(&mut first).await.unwrap();
    called.get_mut().0.leave().unwrap();
    assert!(called.write_all(b"nowhere").await.is_err());
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            called.get_mut().0.arrive().unwrap();
            let mut rest = [0; 8];
            called.read_exact(&mut rest).await.unwrap();
            rest
        })
    });
    calling.write_all(b"after").await.unwrap();
    calling.flush().await.unwrap();
    assert_eq!((&first, &elsewhere.join().unwrap()), (b"bef", b"oreafter"));
}

#[tokio::test]
async fn a_seal_holds_for_what_was_said_over_one_connection_in_one_direction() {
    let (one, two) = (tls(1, secret('k')), tls(2, secret('k')));
    let ((_, of_two), (_, of_one)) = met(&one, &two).await;
    let seal = one.seal(&of_two, Direction::Asked, None, b"let me in");
    let judge = |peer: &Peer, direction, said: &[u8]| two.judge(peer, direction, None, &seal, said);
    assert_eq!(judge(&of_one, Direction::Asked, b"let me in"), Standing::Proven);
    let wrong = |standing: Standing| matches!(standing, Standing::Unproven(why) if why.contains("not the same"));
    assert!(wrong(judge(&of_one, Direction::Asked, b"let him in")));
    assert!(wrong(judge(&of_one, Direction::Answered, b"let me in")));
    // Somebody in the middle, who passes on what was said to him.
    let (_, (_, again)) = met(&one, &two).await;
    assert!(wrong(judge(&again, Direction::Asked, b"let me in")));
}

#[tokio::test]
async fn who_has_another_secret_or_none_is_told_what_to_do() {
    let standing = async |calling: Admission, called: Admission| {
        let (one, two) = (tls(1, calling), tls(2, called));
        let ((_, of_two), (_, of_one)) = met(&one, &two).await;
        let said = one.seal(&of_two, Direction::Asked, None, b"said");
        let asked = two.judge(&of_one, Direction::Asked, None, &said, b"said");
        let answered = two.seal(&of_one, Direction::Answered, None, b"said");
        (asked, one.judge(&of_two, Direction::Answered, None, &answered, b"said"))
    };
    let proven = (Standing::Proven, Standing::Proven);
    assert_eq!(standing(secret('k'), secret('k')).await, proven);
    assert_eq!(standing(Admission::Loopback, Admission::Loopback).await, proven);
    assert_eq!(standing(Admission::Anybody, Admission::Anybody).await, proven);
    let (asked, answered) = standing(secret('k'), secret('l')).await;
    assert!(matches!(asked, Standing::Unproven(why) if why.contains("not the same")));
    assert_ne!(answered, Standing::Proven);
    let (asked, _) = standing(Admission::Loopback, secret('k')).await;
    assert!(matches!(asked, Standing::Unproven(why) if why.contains("--join-secret-file")));
    for open in [Admission::Loopback, Admission::Anybody] {
        let (asked, answered) = standing(secret('k'), open).await;
        assert!(matches!(asked, Standing::Unproven(why) if why.contains("--join-secret-file")));
        assert!(matches!(answered, Standing::Unproven(why) if why.contains("same secret")));
    }
    assert_ne!(standing(Admission::Nobody, Admission::Nobody).await.0, Standing::Proven);
}

#[tokio::test]
async fn a_pass_holds_until_its_time_at_whoever_has_the_key_that_it_was_made_of() {
    const AGES: u64 = 1 << 33;
    let (key, other) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
    let of = |pass: JoinPass| Admission::Secret(JoinSecret::new(&pass.to_text()).unwrap());
    let standing = async |pass: JoinPass, called: NodeTls| {
        let one = tls(1, of(pass));
        let ((_, of_two), (_, of_one)) = met(&one, &called).await;
        let seal = one.seal(&of_two, Direction::Asked, one.pass(), b"said");
        let asked = called.judge(&of_one, Direction::Asked, one.pass(), &seal, b"said");
        let answered = called.seal(&of_one, Direction::Answered, one.pass(), b"answer");
        (asked, one.judge(&of_two, Direction::Answered, None, &answered, b"answer"))
    };
    let has = |key: &ClusterKey, admission| {
        tls(2, admission).admitting_by(Arc::new(KeyHolder::given(key.clone())))
    };
    let proven = (Standing::Proven, Standing::Proven);
    for admission in [secret('k'), Admission::Nobody, of(JoinPass::new(&key, 1))] {
        assert_eq!(standing(JoinPass::new(&key, AGES), has(&key, admission)).await, proven);
    }
    let refused = async |pass: JoinPass, called: NodeTls, word: &str| {
        let (asked, answered) = standing(pass, called).await;
        assert!(matches!(&asked, Standing::Unproven(why) if why.contains(word)), "{asked:?}");
        answered
    };
    let late = refused(JoinPass::new(&key, 1_000_000_000), has(&key, secret('k')), "2001-09-09");
    // Whoever has that says so to be believed.
    assert_eq!(late.await, Standing::Proven);
    let elsewhere = refused(JoinPass::new(&other, AGES), has(&key, secret('k')), "cluster key");
    assert_ne!(elsewhere.await, Standing::Proven);
    let early = standing(JoinPass::new(&key, AGES), tls(2, secret('k'))).await;
    assert!(matches!(early.0, Standing::Undecided(_)), "{early:?}");
    // A name that was changed on the way, so that it holds for longer.
    let (one, two) = (tls(1, of(JoinPass::new(&key, 1))), has(&key, secret('k')));
    let ((_, of_two), (_, of_one)) = met(&one, &two).await;
    let seal = one.seal(&of_two, Direction::Asked, one.pass(), b"said");
    let longer = tls(3, of(JoinPass::new(&key, AGES))).pass();
    let told = two.judge(&of_one, Direction::Asked, longer, &seal, b"said");
    assert!(matches!(&told, Standing::Unproven(why) if why.contains("not the same")), "{told:?}");
}

#[tokio::test]
async fn whoever_guesses_has_to_wait() {
    let (guessing, right, asked) = (tls(1, secret('a')), tls(2, secret('k')), tls(3, secret('k')));
    let ((_, of_asked), (_, of_guessing)) = met(&guessing, &asked).await;
    let guess = guessing.seal(&of_asked, Direction::Asked, None, b"said");
    for _ in 0..5 {
        let Standing::Unproven(why) =
            asked.judge(&of_guessing, Direction::Asked, None, &guess, b"said")
        else {
            panic!("it is let in")
        };
        assert!(why.contains("not the same"), "{why}");
    }
    let ((_, of_asked), (_, of_right)) = met(&right, &asked).await;
    let seal = right.seal(&of_asked, Direction::Asked, None, b"said");
    let told = asked.judge(&of_right, Direction::Asked, None, &seal, b"said");
    assert!(matches!(&told, Standing::Unproven(why) if why.contains("too many")), "{told:?}");
}

/// Neither a clock that is wrong nor a machine that was off for years keeps a node out.
#[tokio::test]
async fn dates_of_a_certificate_keep_nobody_out() {
    let key = NodeKey::generate().unwrap();
    let private = PKey::private_key_from_pem(&key.to_pem().unwrap()).unwrap();
    for (from, until) in
        [("19700101000000Z", "19700102000000Z"), ("20980101000000Z", "20990101000000Z")]
    {
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_pubkey(&private).unwrap();
        builder.set_not_before(&Asn1Time::from_str_x509(from).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_str_x509(until).unwrap()).unwrap();
        builder.sign(&private, MessageDigest::sha256()).unwrap();
        let certificate = CertificateDer::from(builder.build().to_der().unwrap());
        let signing = PrivateKeyDer::Pkcs8(private.private_key_to_pkcs8().unwrap().into());
        let signing = any_supported_type(&signing).unwrap();
        let shown = Arc::new(CertifiedKey::new(vec![certificate], signing));
        let dated = NodeTls::showing(CertifiedKey::clone(&shown), key.pin(), Admission::Nobody);
        let (dated, other) = (dated.unwrap(), tls(2, Admission::Nobody));
        let (_, (_, seen)) = met(&dated, &other).await;
        assert_eq!(seen.pin(), key.pin());
        let ((_, seen), _) = met(&other, &dated).await;
        assert_eq!(seen.pin(), key.pin());
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let (owner, thief) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let stolen = owner.certified("n1.oribi", None).unwrap();
    let own = thief.certified("n1.oribi", None).unwrap();
    let shown = CertifiedKey::new(stolen.cert, own.key);
    let thief = NodeTls::showing(shown, owner.pin(), Admission::Anybody).unwrap();
    let other = tls(2, Admission::Anybody);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for thief_calls in [true, false] {
        let (calling, called) = if thief_calls { (&thief, &other) } else { (&other, &thief) };
        let connecting = async {
            let stream = TcpStream::connect(address).await.unwrap();
            calling.connect(stream).await.map(|(stream, _)| stream)
        };
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            called.accept(stream).await.map(|(stream, _)| stream)
        };
        let (connected, accepted) = tokio::join!(connecting, accepting);
        let refused = if thief_calls { accepted } else { connected };
        assert!(refused.is_err());
    }
}

#[test]
fn a_key_comes_back_from_what_was_written_and_others_are_refused() {
    let key = NodeKey::generate().unwrap();
    let again = NodeKey::from_pem(&key.to_pem().unwrap()).unwrap();
    assert_eq!(again.pin(), key.pin());
    assert_ne!(NodeKey::generate().unwrap().pin(), key.pin());
    let said = format!("{key:?}");
    assert!(!said.contains("PRIVATE") && said.contains(&key.pin().to_string()), "{said}");
    for wrong in [&b""[..], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(NodeKey::from_pem(wrong).is_err());
    }
}
