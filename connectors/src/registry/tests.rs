use super::*;
use oribi_decode::{confluent::Framed, json::read_document};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

/// A registry that has these answers, by path.
struct Registry {
    url: String,
    asked: Arc<AtomicUsize>,
    /// Credentials as they came in.
    authorizations: mpsc::Receiver<String>,
}

fn registry(answers: &[(&str, u16, String)]) -> Registry {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/apis/ccompat/v7/", listener.local_addr().unwrap());
    let answers: HashMap<String, (u16, String)> = answers
        .iter()
        .map(|(path, status, body)| (format!("/apis/ccompat/v7{path}"), (*status, body.clone())))
        .collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let (seen, authorizations) = mpsc::channel();
    let counter = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            answer(stream.unwrap(), &answers, &seen);
        }
    });
    Registry { url, asked, authorizations }
}

fn answer(
    mut stream: impl Read + Write,
    answers: &HashMap<String, (u16, String)>,
    seen: &mpsc::Sender<String>,
) {
    let mut lines = BufReader::new(&mut stream).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let path = first.split(' ').nth(1).unwrap();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            drop(seen.send(value.to_owned()));
        }
    }
    drop(lines);
    let none = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
    let (status, body) = answers.get(path).unwrap_or(&none);
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
}

fn client(registry: &Registry) -> SchemaRegistry {
    SchemaRegistry::new(&RegistryOptions::new(&registry.url)).unwrap()
}

fn asked(registry: &Registry) -> usize {
    registry.asked.load(Ordering::SeqCst)
}

const POINT: &str = r#"{"type":"record","name":"Point","fields":[{"name":"x","type":"long"}]}"#;

fn of_schema(schema: &str, more: &str) -> String {
    format!(r#"{{"schema":{}{more}}}"#, serde_json::to_string(schema).unwrap())
}

#[tokio::test]
async fn a_schema_is_asked_for_once_and_reads_messages() {
    // The answer of a registry that adds members of its own.
    let body = of_schema(POINT, r#","references":[],"guid":"x","maxId":7"#);
    let registry = registry(&[("/schemas/ids/7", 200, body)]);
    let options = RegistryOptions {
        credentials: Some(Credentials { username: "u".into(), password: "p:w".into() }),
        ..RegistryOptions::new(&registry.url)
    };
    assert!(!format!("{options:?}").contains("p:w"));
    let client = SchemaRegistry::new(&options).unwrap();
    let framed = Framed::split(b"\0\0\0\0\x07\x04").unwrap();
    assert!(!client.knows(framed.id));
    let all: Vec<_> = (0..10).map(|_| client.fetch(framed.id)).collect();
    for schema in futures::future::join_all(all).await {
        assert_eq!(schema.unwrap().decode(framed.body), read_document(r#"{"x":2}"#));
    }
    assert!(client.at_hand(7).is_ok());
    assert_eq!(asked(&registry), 1);
    assert_eq!(registry.authorizations.recv().unwrap(), "Basic dTpwOnc=");
}

#[tokio::test]
async fn an_id_of_nothing_is_the_messages_trouble() {
    let registry = registry(&[]);
    let client = client(&registry);
    for _ in 0..3 {
        let error = client.fetch(9).await.unwrap_err();
        assert_eq!(error, RegistryError::NotFound("schema 9".into()));
        assert!(!error.is_retryable());
    }
    assert_eq!(asked(&registry), 1);
}

#[tokio::test]
async fn a_registry_that_is_away_or_refuses_may_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let registry = registry(&[
        ("/schemas/ids/1", 500, "oops".into()),
        ("/schemas/ids/2", 401, "who?".into()),
        ("/schemas/ids/3", 200, "<html>".into()),
    ]);
    let free = {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", gone.local_addr().unwrap())
    };
    for (url, id, part) in [
        (&registry.url, 1, "it answers 500 oops"),
        (&registry.url, 2, "it answers 401 who?"),
        (&registry.url, 3, "none of a registry"),
        (&free, 1, "refused"),
        (&silent, 1, "timeout"),
    ] {
        let options = RegistryOptions { timeout_ms: 300, ..RegistryOptions::new(url) };
        let client = SchemaRegistry::new(&options).unwrap();
        let error = client.fetch(id).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains(part), "{error}");
        assert!(client.fetch(id).await.unwrap_err().is_retryable());
    }
}

#[tokio::test]
async fn references_are_followed_to_their_ends() {
    let refers = |name: &str, subject: &str, version: u32| {
        format!(r#","references":[{{"name":"{name}","subject":"{subject}","version":{version}}}]"#)
    };
    let line = r#"{"type":"record","name":"Line","fields":[{"name":"to","type":"Point"}]}"#;
    let path = r#"{"type":"record","name":"Path","fields":[{"name":"a","type":"Line"}]}"#;
    let proto = "syntax = \"proto3\"; import \"p.proto\"; message M { P p = 1; }";
    let imported = "syntax = \"proto3\"; message P { int32 x = 1; }";
    let of_kind =
        |schema: &str, more: &str| of_schema(schema, &format!(r#","schemaType":"PROTOBUF"{more}"#));
    let registry = registry(&[
        ("/schemas/ids/1", 200, of_schema(path, &refers("Line", "a/line", 2))),
        ("/subjects/a%2Fline/versions/2", 200, of_schema(line, &refers("Point", "point", 1))),
        ("/subjects/point/versions/1", 200, of_schema(POINT, "")),
        ("/schemas/ids/2", 200, of_kind(proto, &refers("p.proto", "p", 1))),
        ("/subjects/p/versions/1", 200, of_kind(imported, "")),
        ("/schemas/ids/3", 200, of_schema(path, &refers("Line", "gone", 1))),
    ]);
    let client = client(&registry);
    let avro = client.fetch(1).await.unwrap();
    assert_eq!(avro.decode(&[4]), read_document(r#"{"a":{"to":{"x":2}}}"#));
    let proto = client.fetch(2).await.unwrap();
    assert_eq!(proto.decode(b"\0\x0a\x02\x08\x05"), read_document(r#"{"p":{"x":5}}"#));
    let error = client.fetch(3).await.unwrap_err();
    assert_eq!(error, RegistryError::NotFound("version 1 of \"gone\"".into()));
}

#[tokio::test]
async fn schemas_that_cannot_be_used_say_why() {
    let loops = r#","references":[{"name":"a","subject":"a","version":1},
        {"name":"b","subject":"b","version":1}]"#;
    let many: Vec<String> =
        (0..100).map(|at| format!(r#"{{"name":"n","subject":"s","version":{at}}}"#)).collect();
    let many = format!(r#","references":[{}]"#, many.join(","));
    let mut answers = vec![
        ("/schemas/ids/1", 200, of_schema("{", "")),
        ("/schemas/ids/2", 200, of_schema("x", r#","schemaType":"THRIFT""#)),
        ("/schemas/ids/3", 200, of_schema(POINT, loops)),
        ("/subjects/a/versions/1", 200, of_schema(POINT, loops)),
        ("/subjects/b/versions/1", 200, of_schema(POINT, loops)),
        ("/schemas/ids/4", 200, of_schema(POINT, &many)),
        ("/schemas/ids/5", 200, of_schema(&" ".repeat(5 << 20), "")),
    ];
    let versions: Vec<String> = (0..100).map(|at| format!("/subjects/s/versions/{at}")).collect();
    answers.extend(versions.iter().map(|path| (&**path, 200, of_schema("\"int\"", ""))));
    let registry = registry(&answers);
    let client = client(&registry);
    for (id, part) in [
        (1, "no JSON"),
        (2, "\"THRIFT\""),
        (3, "defined twice"),
        (4, "more than 64"),
        (5, "too long"),
    ] {
        let error = client.fetch(id).await.unwrap_err();
        assert!(!error.is_retryable() && error.to_string().contains(part), "{id}: {error}");
    }
}

/// A key and a certificate for 127.0.0.1, signed by itself, in PEM.
fn identity() -> (Vec<u8>, Vec<u8>) {
    use openssl::{
        asn1::Asn1Time,
        ec::{EcGroup, EcKey},
        hash::MessageDigest,
        nid::Nid,
        pkey::PKey,
        x509::{X509, X509Name, extension::SubjectAlternativeName},
    };
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "127.0.0.1").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names = SubjectAlternativeName::new()
        .ip("127.0.0.1")
        .build(&certificate.x509v3_context(None, None));
    certificate.append_extension(names.unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    (key.private_key_to_pem_pkcs8().unwrap(), certificate.build().to_pem().unwrap())
}

#[tokio::test]
async fn https_takes_only_who_is_vouched_for() {
    let (key, certificate) = identity();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let identity = native_tls::Identity::from_pkcs8(&certificate, &key).unwrap();
    let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
    let answers = HashMap::from([("/schemas/ids/1".into(), (200, of_schema(POINT, "")))]);
    std::thread::spawn(move || {
        let (seen, _authorizations) = mpsc::channel();
        for stream in listener.incoming() {
            if let Ok(stream) = acceptor.accept(stream.unwrap()) {
                answer(stream, &answers, &seen);
            }
        }
    });
    let pem = String::from_utf8(certificate).unwrap();
    for (ca_pem, is_trusted) in [(Some(pem), true), (None, false)] {
        let options = RegistryOptions { ca_pem, ..RegistryOptions::new(&url) };
        let fetched = SchemaRegistry::new(&options).unwrap().fetch(1).await;
        assert_eq!(fetched.is_ok(), is_trusted, "{fetched:?}");
    }
}

#[test]
fn addresses_and_certificates_are_checked() {
    let new = |url: &str, ca_pem: Option<&str>| {
        let ca_pem = ca_pem.map(str::to_owned);
        SchemaRegistry::new(&RegistryOptions { ca_pem, ..RegistryOptions::new(url) })
    };
    for url in ["", "registry:8081", "http://", "ftp://x", "http://u:p@x/", "http://x/?a=b"] {
        assert!(new(url, None).is_err(), "{url}");
    }
    assert!(new("https://x/apis/ccompat/v7/", None).is_ok());
    assert!(new("https://x", Some("nothing")).is_err());
}
