//! Bytes as what lies on disk, with checksums that are not looked at. `ORIBI_FUZZ_DECODER` is
//! `form_` and the name of the form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oribi_store::forms::{Form, read};
use std::sync::LazyLock;

static FORM: LazyLock<Form> = LazyLock::new(|| {
    let wanted = std::env::var("ORIBI_FUZZ_DECODER").unwrap_or_default();
    let found = Form::ALL.iter().find(|(name, _)| wanted.strip_prefix("form_") == Some(name));
    found.expect("ORIBI_FUZZ_DECODER names a form").1
});

fuzz_target!(|bytes: &[u8]| {
    read(*FORM, bytes);
});
