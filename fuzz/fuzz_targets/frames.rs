//! The content of a frame between nodes, of any bytes: a length and a checksum that fit are put around it. The first
//! byte chooses the connection that it comes over.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oribi_cluster::{
    Boot, ClusterId, NodeIdentity,
    transport::{Channel, Decoder, Hello, Received, Refusal},
};
use oribi_model::NodeId;

fuzz_target!(|data: &[u8]| {
    let Some((choice, content)) = data.split_first() else { return };
    let channel = Channel::ALL[usize::from(*choice) % Channel::ALL.len()];
    let mut decoder = Decoder::new(channel);
    let bytes = decoder.buffer();
    bytes.extend_from_slice(&((content.len() + 4) as u32).to_le_bytes());
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(&crc32c::crc32c(content).to_le_bytes());
    while let Ok(Some(received)) = decoder.next_frame() {
        let Received::Frame(frame) = received else { continue };
        let _ = Refusal::decode(&frame.body);
        oribi_cluster::fuzz_bodies(&frame.body);
        if let Ok(hello) = Hello::decode(&frame.body) {
            let own = NodeIdentity { cluster: ClusterId(1), node: NodeId(1), boot: Boot(1) };
            let _ = Hello::accept(own, &hello);
        }
    }
});
