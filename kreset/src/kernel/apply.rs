//! Carries out a plan: loads, injects, attaches. The only file that calls aya.

use std::{fs::File, io, os::fd::AsFd, path::PathBuf};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, MapError, PerCpuArray, RingBuf},
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, Iter, ProgramError,
        cgroup_skb::CgroupSkbAttachType,
    },
};
use kreset_common::{counter, offsets::Offsets, settings::Settings};
use thiserror::Error;
use zerocopy::IntoBytes as _;

/// The kernel side, as the build script made it.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kreset"));

/// Bytes of the ring buffer; see `kreset-ebpf/src/ring.rs`.
const CONNECTIONS_WITHOUT_STORAGE: u32 = 65_536;

/// Why attaching failed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The object or a map was refused.
    #[error("the kernel side does not load: {0}")]
    Load(#[from] EbpfError),
    /// The kernel's type information cannot be read.
    #[error("the kernel's type information cannot be read: {0}")]
    Btf(#[from] aya::BtfError),
    /// A program was refused.
    #[error("program {name}: {source}")]
    Program {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        source: ProgramError,
    },
    /// A map was refused.
    #[error("map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        source: MapError,
    },
    /// The object lacks a part: it is of another build.
    #[error("the kernel side has no {0}")]
    Missing(&'static str),
    /// The cgroup cannot be opened.
    #[error("{path}: {source}")]
    Cgroup {
        /// Mount point of cgroup v2.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The iterator over open files failed.
    #[error("the iterator over open files: {0}")]
    Seed(io::Error),
}

/// What to load and attach.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Injected before load.
    pub offsets: Offsets,
    /// Injected before load.
    pub settings: Settings,
    /// Words of the port bitmap that are not zero.
    pub ports: Vec<(u32, u64)>,
    /// `tcp_send_reset` has a reason (since 6.10).
    pub reset_reason: bool,
    /// Mount point of cgroup v2, for packet evidence.
    pub packets: Option<PathBuf>,
    /// Bytes of the ring buffer, if not the default.
    pub ring_bytes: Option<u32>,
}

/// Everything attached. Dropping it detaches: all links belong to this process.
pub struct Attached {
    /// Holds the links; `None` once detached.
    ebpf: Option<Ebpf>,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl Attached {
    /// Loads and attaches.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a part; nothing stays attached then.
    pub fn new(wanted: &Attachment) -> Result<Self, ApplyError> {
        let btf = Btf::from_sys_fs()?;
        let mut loader = EbpfLoader::new();
        let (offsets, settings) = (wanted.offsets.as_bytes(), wanted.settings.as_bytes());
        loader
            .btf(Some(&btf))
            .override_global("OFFSETS", offsets, true)
            .override_global("SETTINGS", settings, true);
        if wanted.settings.hash_storage != 0 {
            loader.map_max_entries("CONNECTIONS_BY_ADDRESS", CONNECTIONS_WITHOUT_STORAGE);
        }
        if let Some(bytes) = wanted.ring_bytes {
            loader.map_max_entries("RECORDS", bytes);
        }
        let mut ebpf = loader.load(OBJECT)?;
        fill_ports(&mut ebpf, &wanted.ports)?;

        // The packets come first: a connection that begins between two
        // attachments must not look as if it had none.
        if let Some(cgroup) = &wanted.packets {
            attach_packets(&mut ebpf, cgroup)?;
        }
        tracepoint(&mut ebpf, &btf, "set_state", "inet_sock_set_state")?;
        let send_reset = if wanted.reset_reason { "send_reset_reason" } else { "send_reset" };
        tracepoint(&mut ebpf, &btf, send_reset, "tcp_send_reset")?;
        tracepoint(&mut ebpf, &btf, "receive_reset", "tcp_receive_reset")?;

        let ring = RingBuf::try_from(take_map(&mut ebpf, "RECORDS")?)
            .map_err(|source| ApplyError::Map { name: "RECORDS", source })?;
        let counters = PerCpuArray::try_from(take_map(&mut ebpf, "COUNTERS")?)
            .map_err(|source| ApplyError::Map { name: "COUNTERS", source })?;
        Ok(Self { ebpf: Some(ebpf), ring, counters })
    }

    /// Makes entries for the connections and listeners that are there already.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the iterator (before 5.11).
    pub fn seed(&mut self) -> Result<u64, ApplyError> {
        const NAME: &str = "seed";
        let refused = |source| ApplyError::Program { name: NAME, source };
        let btf = Btf::from_sys_fs()?;
        let ebpf = self.ebpf.as_mut().ok_or(ApplyError::Missing(NAME))?;
        let program: &mut Iter = program(ebpf, NAME)?;
        program.load("task_file", &btf).map_err(refused)?;
        let link = program.attach().map_err(refused)?;
        let link = program.take_link(link).map_err(refused)?;
        let mut file = link
            .into_file()
            .map_err(|error| ApplyError::Seed(io::Error::other(error)))?;
        io::copy(&mut file, &mut io::sink()).map_err(ApplyError::Seed)?;
        self.counter(counter::SEEDED)
    }

    /// The ring buffer of records.
    pub const fn ring(&mut self) -> &mut RingBuf<MapData> {
        &mut self.ring
    }

    /// Sum of a counter over all CPUs; see [`kreset_common::counter`].
    ///
    /// # Errors
    ///
    /// If the kernel refuses the read.
    pub fn counter(&self, index: u32) -> Result<u64, ApplyError> {
        self.counters
            .get(&index, 0)
            .map(|values| values.iter().sum())
            .map_err(|source| ApplyError::Map { name: "COUNTERS", source })
    }

    /// Detaches all programs: nothing is produced any more. The ring keeps what
    /// it holds.
    pub fn detach(&mut self) {
        drop(self.ebpf.take());
    }
}

fn fill_ports(ebpf: &mut Ebpf, ports: &[(u32, u64)]) -> Result<(), ApplyError> {
    const NAME: &str = "PORTS";
    let refused = |source| ApplyError::Map { name: NAME, source };
    let map = ebpf.map_mut(NAME).ok_or(ApplyError::Missing(NAME))?;
    let mut bitmap = Array::<_, u64>::try_from(map).map_err(refused)?;
    for (word, bits) in ports {
        bitmap.set(*word, bits, 0).map_err(refused)?;
    }
    Ok(())
}

fn attach_packets(ebpf: &mut Ebpf, cgroup: &PathBuf) -> Result<(), ApplyError> {
    let cgroup_file =
        File::open(cgroup).map_err(|source| ApplyError::Cgroup { path: cgroup.clone(), source })?;
    let ways = [
        ("packets_in", CgroupSkbAttachType::Ingress),
        ("packets_out", CgroupSkbAttachType::Egress),
    ];
    for (name, way) in ways {
        let refused = |source| ApplyError::Program { name, source };
        let program: &mut CgroupSkb = program(ebpf, name)?;
        program.load().map_err(refused)?;
        // A link: it ends with this process, and stands beside others' links.
        program
            .attach(cgroup_file.as_fd(), way, CgroupAttachMode::Single)
            .map_err(refused)?;
    }
    Ok(())
}

fn tracepoint(
    ebpf: &mut Ebpf,
    btf: &Btf,
    name: &'static str,
    hook: &str,
) -> Result<(), ApplyError> {
    let refused = |source| ApplyError::Program { name, source };
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.load(hook, btf).map_err(refused)?;
    program.attach().map_err(refused)?;
    Ok(())
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, ApplyError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(ApplyError::Missing(name))?
        .try_into()
        .map_err(|source| ApplyError::Program { name, source })
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, ApplyError> {
    ebpf.take_map(name).ok_or(ApplyError::Missing(name))
}
