//! What strangers show and what tokens may hold: headers, patterns of names, filters of topics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oribi_access::{
    Access, Certificate, Digest, Glob, Passport, Rights, ShownCertificate, Token, TopicRules,
    check_filter, from_header,
};
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let _ = from_header(bytes);
    let _ = Digest::of_shown(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.split('\n');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Ok(glob) = Glob::new(first) {
        // A star does not reach what is everybody's.
        assert!(!(glob.fits_name(second) && second.starts_with('_') && !first.starts_with('_')));
        assert!(!glob.is_any() || glob.fits(second));
    }
    let client = parts.next().unwrap_or_default();
    if check_filter(first).is_ok()
        && let Some(rules) = TopicRules::new(&[first.to_owned()], "dev7", client)
    {
        let allowed = rules.allow(second);
        // Without wildcards only the topic itself fits.
        assert!(!allowed || first.contains(['+', '#', '%']) || first == second);
    }
    as_device(first, second, client);
});

/// A device that shows a certificate has its own name in patterns, whatever that is.
fn as_device(identity: &str, topic: &str, client_id: &str) {
    let identity = identity.to_owned();
    let certificate = Arc::new(Certificate { identity, issuer: [0; 32], serial: Vec::new() });
    let glob = |text: &str| Glob::new(text).expect("it is short and has no escape");
    let rights = Rights {
        topics: vec!["s/%u".to_owned()],
        clients: vec![glob("%u-*")],
        certificate: Some(glob("*")),
        ..Rights::default()
    };
    let (created_by, note) = Default::default();
    let token = Token {
        id: 1,
        version: 1,
        name: "t".to_owned(),
        digest: None,
        previous: None,
        rights,
        expires_ns: None,
        created_ns: 0,
        created_by,
        note,
    };
    let shown = ShownCertificate { certificate: certificate.clone(), is_of_token: true };
    let (token, usage) = (Arc::new(token), Arc::default());
    let access =
        Access::Of(Arc::new(Passport { token, shown: None, certificate: Some(shown), usage }));
    let Some(rules) = access.topics(client_id) else { return };
    assert!(client_id.starts_with(&format!("{}-", certificate.identity)));
    assert!(!rules.allow(topic) || topic == format!("s/{}", certificate.identity));
}
