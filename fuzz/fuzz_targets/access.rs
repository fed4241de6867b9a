//! What strangers show and what tokens may hold: headers, patterns of names, filters of topics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oribi_access::{Digest, Glob, TopicRules, check_filter, from_header};

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
});
