//! Tokens in the catalog.

use super::{super::tokens::CERTIFICATE_PATTERNS_MAX, *};
use oribi_access::{Digest, Glob, Previous, Rights, Secret, Token};

fn token(name: &str, digest: Digest) -> Token {
    Token {
        id: 0,
        version: 0,
        name: name.into(),
        digest: Some(digest),
        previous: None,
        rights: Rights::default(),
        expires_ns: None,
        created_ns: 1,
        created_by: "test".into(),
        note: String::new(),
    }
}

fn digest() -> Digest {
    Secret::make().unwrap().digest()
}

#[test]
fn tokens_are_found_by_their_secrets_until_they_are_revoked() {
    let (first, second) = (digest(), digest());
    let create = Change::CreateTokens { tokens: vec![token("a", first), token("b", second)] };
    let made = Catalog::default().apply(&create).unwrap();
    assert_eq!(made.token_of(&first).unwrap().name, "a");
    assert_eq!((made.token("a").unwrap().id, made.token("b").unwrap().id), (1, 2));
    assert_eq!(made.apply(&create).unwrap().token_count(), 2);
    let other = Change::CreateTokens { tokens: vec![token("c", digest()), token("a", digest())] };
    assert!(made.apply(&other).unwrap_err().contains("\"a\""));

    let third = digest();
    let before = Token::clone(made.token("a").unwrap());
    let previous = Some(Previous { digest: first, until_ns: 9 });
    let next = Token { version: 2, digest: Some(third), previous, ..before.clone() };
    let rotated = made.apply(&Change::ChangeToken { token: next.clone() }).unwrap();
    assert_eq!(rotated.token_of(&first), rotated.token_of(&third));
    assert!(rotated.token_epoch() > made.token_epoch());
    assert!(rotated.apply(&Change::ChangeToken { token: before }).is_err());
    assert!(rotated.apply(&Change::ChangeToken { token: next }).is_ok());

    let gone = rotated.apply(&Change::RevokeToken { name: "a".into() }).unwrap();
    assert!([first, third].iter().all(|digest| gone.token_of(digest).is_none()));
    let again = gone.apply(&Change::CreateTokens { tokens: vec![token("a", digest())] }).unwrap();
    assert_eq!(again.token("a").unwrap().id, 3);
}

#[test]
fn tokens_survive_a_file_and_take_no_room_where_there_are_none() {
    let text = serde_json::to_string(&Catalog::default()).unwrap();
    assert!(!text.contains("tokens"));
    let secret = digest();
    let create = Change::CreateTokens { tokens: vec![token("a", secret)] };
    let made = Catalog::default().apply(&create).unwrap();
    let mut read: Catalog = serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
    read.reindex();
    assert_eq!(read.token_of(&secret), made.token_of(&secret));
}

#[test]
fn a_certificate_is_the_token_that_fits_it_best() {
    let with = |name: &str, pattern: &str| {
        let rights = Rights { certificate: Some(Glob::new(pattern).unwrap()), ..Rights::default() };
        Token { rights, ..token(name, digest()) }
    };
    let tokens = vec![
        with("all", "*"),
        with("plant", "*.plant"),
        with("one", "dev7.plant"),
        with("two", "dev7.plant"),
        with("star", "\\*"),
        token("none", digest()),
    ];
    let made = Catalog::default().apply(&Change::CreateTokens { tokens }).unwrap();
    let of = |catalog: &Catalog, identity: &str| {
        catalog.token_of_certificate(identity).map(|token| token.name.clone()).unwrap_or_default()
    };
    for (identity, name) in
        [("dev7.plant", "one"), ("dev8.plant", "plant"), ("dev", "all"), ("*", "star"), ("", "all")]
    {
        assert_eq!(of(&made, identity), name, "{identity}");
    }
    let mut read: Catalog = serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
    read.reindex();
    assert_eq!(of(&read, "dev7.plant"), "one");
    let gone = made.apply(&Change::RevokeToken { name: "one".into() }).unwrap();
    assert_eq!(of(&gone, "dev7.plant"), "two");
    let before = Token::clone(gone.token("two").unwrap());
    let next = Token { version: 2, rights: Rights::default(), ..before };
    let changed = gone.apply(&Change::ChangeToken { token: next }).unwrap();
    assert_eq!(of(&changed, "dev7.plant"), "plant");
    let many = (0..CERTIFICATE_PATTERNS_MAX).map(|at| with(&format!("t{at}"), "x*")).collect();
    let refused = made.apply(&Change::CreateTokens { tokens: many }).unwrap_err();
    assert!(refused.contains("256"), "{refused}");
}
