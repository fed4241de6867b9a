use super::*;
use crate::document::Document;
use proptest::prelude::*;

#[test]
fn frames_are_taken_apart() {
    let framed = Framed::split(b"\0\x01\x02\x03\x04rest").unwrap();
    assert_eq!(framed, Framed { id: 0x0102_0304, body: b"rest" });
    for bytes in [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\x01x", b"{\"a\":1}"] {
        assert!(Framed::split(bytes).is_err(), "{bytes:?}");
    }
    assert_eq!(message_indexes(b"\0x"), Ok((vec![0], &b"x"[..])));
    assert_eq!(message_indexes(b"\x04\x02\x00x"), Ok((vec![1, 0], &b"x"[..])));
    for bytes in [&b""[..], b"\x01", b"\x02", b"\x02\x01", b"\xfe\xff\xff\xff\x0f"] {
        assert!(message_indexes(bytes).is_err(), "{bytes:?}");
    }
    assert_eq!(Schema::Json.decode(b"[1]"), Ok(Document::List(vec![Document::Int(1)])));
    assert!(Schema::Json.decode(b"\xff").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        drop(Framed::split(&bytes));
        drop(message_indexes(&bytes));
    }
}
