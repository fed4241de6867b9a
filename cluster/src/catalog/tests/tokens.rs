//! Tokens in the catalog.

use super::*;
use oribi_access::{Digest, Previous, Rights, Secret, Token};

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
