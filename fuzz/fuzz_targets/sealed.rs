//! Secrets of connectors as they are kept: what was sealed opens at its place alone, and nothing else opens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oribi_cluster::secured::ClusterKey;
use std::sync::LazyLock;

static KEY: LazyLock<ClusterKey> = LazyLock::new(|| {
    ClusterKey::from_text(&"07".repeat(32)).expect("it has 64 hexadecimal digits")
});

fuzz_target!(|text: &str| {
    let _ = ClusterKey::from_text(text);
    // Nobody who lacks the key makes what opens.
    assert!(KEY.open("connector n password", text).is_err());
    let (place, secret) = text.split_once('\n').unwrap_or((text, ""));
    let sealed = KEY.seal(place, secret).expect("the system has random bytes");
    assert_eq!(KEY.open(place, &sealed).as_deref(), Ok(secret));
    assert!(KEY.open(&format!("{place} "), &sealed).is_err());
    let id = KEY.id();
    assert!(KEY.open(place, &format!("v1:{id}:{text}")).is_err());
});
