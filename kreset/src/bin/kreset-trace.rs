//! kreset-trace (bring-up).
use std::path::PathBuf;
use kreset::{facts::Decoder, kernel::{apply::{Attached, Attachment}, btf::Btf, offsets::resolve}};
use kreset_common::settings::Settings;
fn main() -> anyhow::Result<()> {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux")?;
    let btf = Btf::parse(&bytes)?;
    let resolved = resolve(&btf)?;
    let t = std::time::Instant::now();
    let mut a = Attached::new(&Attachment {
        offsets: resolved.offsets,
        settings: Settings { netns: 0, probe_read: 1, packets: 1, debug: 0, hash_storage: 0, silence_jiffies: 125 },
        ports: vec![(9092 >> 6, 1 << (9092 & 63))],
        reset_reason: true,
        packets: Some(PathBuf::from("/sys/fs/cgroup/unified")),
        ring_bytes: None,
    })?;
    println!("attached {:?}", t.elapsed());
    println!("seeded {} {:?}", a.seed()?, t.elapsed());
    let d = Decoder { hz: 250, reasons: Default::default() };
    loop {
        while let Some(r) = a.ring().next() { println!("{:#?}", d.decode(&r)); }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
