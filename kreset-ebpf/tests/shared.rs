//! What programs on several CPUs write at once.

use std::{fs, path::Path};

use kreset_common::record::{LATEST_HEAD, Packets, REQUEST_HEAD, packets_flag as seen};
use kreset_ebpf::shared::{SharedPackets, array};
use zerocopy::FromBytes as _;

/// Bytes that differ from each of their neighbours.
fn patterned() -> Packets {
    let mut bytes = [0; size_of::<Packets>()];
    for (byte, value) in bytes.iter_mut().zip((1..=251).cycle()) {
        *byte = value;
    }
    Packets::read_from_bytes(&bytes).expect("all bytes are valid")
}

#[test]
fn the_shared_form_reads_what_the_record_has() {
    let plain = patterned();
    let mut same = plain;
    let shared = SharedPackets::of(&mut same);
    assert_eq!(shared.flags.get(), plain.flags);
    assert_eq!(shared.latest_out_len.get(), plain.latest_out_len);
    assert_eq!(shared.alert_out.get(), plain.alert_out);
    assert_eq!(shared.response_len.get(), plain.response_len);
    assert_eq!(array(&shared.length_end), plain.length_end);
    assert_eq!(array(&shared.request_head), plain.request_head);
    assert_eq!(array(&shared.response_head), plain.response_head);
    assert_eq!(shared.latest_in.get(), plain.latest_in);
    assert_eq!(shared.latest_out.get(), plain.latest_out);
}

#[test]
fn the_record_has_what_the_shared_form_wrote() {
    let before = patterned();
    let mut plain = before;
    let shared = SharedPackets::of(&mut plain);
    shared.flags.set(seen::PENDING);
    shared.flags.add(seen::RESET | seen::SASL);
    shared.flags.clear(seen::SASL);
    assert!(shared.flags.has(seen::RESET | seen::PENDING));
    assert!(!shared.flags.has(seen::RESET | seen::SASL));
    shared.request_head[REQUEST_HEAD - 1].set(7);
    shared.latest_in.set([9; LATEST_HEAD]);
    let mut expected = before;
    expected.flags = seen::PENDING | seen::RESET;
    expected.request_head[REQUEST_HEAD - 1] = 7;
    expected.latest_in = [9; LATEST_HEAD];
    assert_eq!(plain, expected);
}

/// Another CPU may write a value of a map at any time, so a program that had it for itself by
/// its type would be wrong. Only counters, of which each CPU has its own, are.
#[test]
fn no_program_has_a_mutable_reference_to_a_value_of_a_map() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = 0;
    for directory in [source.clone(), source.join("hooks")] {
        for entry in fs::read_dir(directory).expect("the source") {
            let path = entry.expect("an entry").path();
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            files += 1;
            assert!(!text.contains("'static mut "), "{}", path.display());
            let values = text.matches("get_ptr_mut(").count();
            let counters = text.matches("COUNTERS.get_ptr_mut(").count();
            assert_eq!(values, counters, "{}", path.display());
        }
    }
    assert!(files > 20, "{files} files");
}
