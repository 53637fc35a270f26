//! interim
use std::{collections::BTreeMap, path::PathBuf};
use kreset_common::settings::Settings;
use thiserror::Error;
use crate::{cli::{Options, PacketEvidence}, event::Degraded};
use super::{apply::{Attached, Attachment}, btf::Btf, hz, offsets::resolve};

/// Why it cannot start here.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CannotStart(pub String);

/// All that is needed to attach.
#[derive(Debug)]
pub struct Prepared {
    /// x
    pub attachment: Attachment,
    /// x
    pub hz: u32,
    /// x
    pub reasons: BTreeMap<u32, String>,
    /// x
    pub cgroup_mount: Option<PathBuf>,
    /// x
    pub packet_evidence: &'static str,
    /// x
    pub degraded: Vec<Degraded>,
}

impl Prepared {
    /// seeds
    pub fn seed(&self, attached: &mut Attached) -> u64 { attached.seed().unwrap_or(0) }
}

/// interim
pub fn prepare(options: &Options) -> Result<Prepared, CannotStart> {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|e| CannotStart(e.to_string()))?;
    let btf = Btf::parse(&bytes).map_err(|e| CannotStart(e.to_string()))?;
    let resolved = resolve(&btf).map_err(|e| CannotStart(e.to_string()))?;
    let reasons = btf.enumerators("sk_rst_reason").unwrap_or_default().into_iter().filter_map(|(n, v)| Some((u32::try_from(v).ok()?, n.strip_prefix("SK_RST_REASON_").unwrap_or(n).to_owned()))).collect();
    let hz = hz::of_this_kernel().ok_or_else(|| CannotStart("hz".into()))?;
    let netns = match &options.netns { Some(n) => n.inode().map_err(|e| CannotStart(e.to_string()))?, None => 0 };
    let cgroup = PathBuf::from("/sys/fs/cgroup/unified");
    let packets = options.packet_evidence != PacketEvidence::Off;
    Ok(Prepared {
        attachment: Attachment {
            offsets: resolved.offsets,
            settings: Settings { netns, probe_read: 1, packets: packets.into(), debug: 0, hash_storage: 0, silence_jiffies: hz / 2 },
            ports: options.ports.words().collect(),
            reset_reason: true,
            packets: packets.then(|| cgroup.clone()),
            ring_bytes: None,
        },
        hz, reasons, cgroup_mount: Some(cgroup), packet_evidence: if packets { "cgroup_skb" } else { "off" }, degraded: vec![],
    })
}
