use kreset_common::offsets::ABSENT;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::*;

/// World-readable on every kernel built with BTF. Where it is missing, kreset
/// cannot run either: these tests then fail rather than pass unseen.
fn running_kernel() -> Vec<u8> {
    std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel describes its types (BTF)")
}

#[test]
fn the_running_kernel_has_every_field() {
    let bytes = running_kernel();
    let resolved = resolve(&Btf::parse(&bytes).unwrap()).unwrap();
    assert_eq!(resolved.missing, []);
    let words = <[u32]>::ref_from_bytes(resolved.offsets.as_bytes()).unwrap();
    assert!(words.iter().all(|word| *word != ABSENT), "{resolved:?}");
}
