//! Carries out a plan: loads, injects, attaches.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, MapError, PerCpuArray, RingBuf},
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, FEntry, Iter, ProgramError,
        cgroup_skb::CgroupSkbAttachType,
    },
};
use kreset_common::counter;
use thiserror::Error;
use zerocopy::IntoBytes as _;

use super::{
    log::KernelLog,
    plan::{Plan, Program},
    skips::Skips,
};

/// The kernel side, as the build script made it.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kreset"));

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
    #[error("program {name}: {}", reason(source))]
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
    /// The packet programs do not attach; everything else may.
    #[error("packet programs: {reason}")]
    Packets {
        /// What the kernel said.
        reason: String,
    },
    /// The programs on function entries do not load; everything else may.
    #[error("programs on function entries: {reason}")]
    FunctionEntries {
        /// What the kernel said.
        reason: String,
    },
    /// The iterator over open files failed.
    #[error("the iterator over open files: {0}")]
    Seed(io::Error),
    /// A program's descriptor cannot be kept.
    #[error("the programs' own counts: {0}")]
    Skips(io::Error),
}

/// The kernel's description of its types, as the loader takes it. Reading it is
/// a large part of a start: once is enough.
#[derive(Debug)]
pub struct KernelTypes(Btf);

impl KernelTypes {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// If the kernel has none, or it cannot be read.
    pub fn load() -> Result<Self, ApplyError> {
        Ok(Self(Btf::from_sys_fs()?))
    }
}

/// Everything attached. Dropping it detaches: all links belong to this process.
pub struct Attached {
    /// Holds the links; `None` once detached.
    ebpf: Option<Ebpf>,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
    skips: Skips,
    /// See [`Plan::table`].
    table: u32,
    /// Seen of connections that began while programs were being attached.
    skipped_before: u64,
    log: Option<KernelLog>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl Attached {
    /// Loads and attaches; `ports` are the words of the port bitmap.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a part; nothing stays attached then.
    pub fn new(plan: &Plan, ports: &[(u32, u64)], types: &KernelTypes) -> Result<Self, ApplyError> {
        let KernelTypes(btf) = types;
        let mut loader = EbpfLoader::new();
        let (offsets, settings) = (plan.offsets.as_bytes(), plan.settings.as_bytes());
        loader
            .btf(Some(btf))
            .override_global("OFFSETS", offsets, true)
            .override_global("SETTINGS", settings, true);
        if plan.settings.hash_storage != 0 {
            loader.map_max_entries("CONNECTIONS_BY_ADDRESS", plan.table);
        }
        let mut ebpf = loader.load(OBJECT)?;
        fill_ports(&mut ebpf, ports)?;

        // The packets come first: a connection that begins between two
        // attachments must not look as if it had none.
        if let Some(cgroup) = &plan.cgroup {
            attach_packets(&mut ebpf, cgroup).map_err(|error| ApplyError::Packets {
                reason: error.to_string(),
            })?;
        }
        attach_function_entries(&mut ebpf, btf, plan)?;
        for program in &plan.programs {
            if let Some(hook) = hook(*program) {
                tracepoint(&mut ebpf, btf, program.name(), hook)?;
            }
        }
        let skips = skips(&ebpf, plan)?;

        let ring = RingBuf::try_from(take_map(&mut ebpf, "RECORDS")?).map_err(|source| {
            ApplyError::Map {
                name: "RECORDS",
                source,
            }
        })?;
        let counters =
            PerCpuArray::try_from(take_map(&mut ebpf, "COUNTERS")?).map_err(|source| {
                ApplyError::Map {
                    name: "COUNTERS",
                    source,
                }
            })?;
        let log = if plan.settings.debug == 0 {
            None
        } else {
            KernelLog::new(&mut ebpf)
        };
        Ok(Self {
            ebpf: Some(ebpf),
            ring,
            counters,
            skips,
            table: plan.table,
            skipped_before: 0,
            log,
        })
    }

    /// Makes entries for the connections and listeners that are there already,
    /// if the plan has a program for that. From here on every change of state is
    /// expected to be seen.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the iterator.
    pub fn seed(&mut self, plan: &Plan, types: &KernelTypes) -> Result<(), ApplyError> {
        let seeded = self.run_seeder(plan, types);
        self.skipped_before = self.counter(counter::SKIPPED)?;
        seeded
    }

    fn run_seeder(&mut self, plan: &Plan, types: &KernelTypes) -> Result<(), ApplyError> {
        let seeders = [Program::Seed, Program::SeedByProbe];
        let Some(seeder) = seeders.iter().find(|seeder| plan.programs.contains(seeder)) else {
            return Ok(());
        };
        let name = seeder.name();
        let refused = |source| ApplyError::Program { name, source };
        let ebpf = self.ebpf.as_mut().ok_or(ApplyError::Missing(name))?;
        let program: &mut Iter = program(ebpf, name)?;
        program.load("task_file", &types.0).map_err(refused)?;
        let link = program.attach().map_err(refused)?;
        let link = program.take_link(link).map_err(refused)?;
        let mut file = link
            .into_file()
            .map_err(|error| ApplyError::Seed(io::Error::other(error)))?;
        io::copy(&mut file, &mut io::sink()).map_err(ApplyError::Seed)?;
        Ok(())
    }

    /// The ring buffer of records.
    pub const fn ring(&mut self) -> &mut RingBuf<MapData> {
        &mut self.ring
    }

    /// Writes what the kernel side has logged, if it was asked to log.
    pub fn log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
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
            .map_err(|source| ApplyError::Map {
                name: "COUNTERS",
                source,
            })
    }

    /// How often the kernel ran no program for something that a program was there
    /// for, at most: for changes of state of traced connections, and for calls of
    /// other hooks, of traced connections or not.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the read.
    pub fn skipped(&mut self) -> Result<u64, ApplyError> {
        let states = self.counter(counter::SKIPPED)?;
        Ok(states.saturating_sub(self.skipped_before) + self.skips.count())
    }

    /// Connections that were traced and are not remembered: they got no memory,
    /// or others took it.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the read.
    pub fn untracked(&self) -> Result<u64, ApplyError> {
        let in_table = self
            .counter(counter::TABLE_MADE)?
            .saturating_sub(self.counter(counter::TABLE_FREED)?);
        let evicted = in_table.saturating_sub(self.table.into());
        Ok(self.counter(counter::UNTRACKED)? + evicted)
    }

    /// Detaches all programs: nothing is produced any more. The ring keeps what
    /// it holds.
    pub fn detach(&mut self) {
        drop(self.ebpf.take());
    }
}

/// The tracepoint of a program; `None` for those that hook otherwise.
const fn hook(program: Program) -> Option<&'static str> {
    match program {
        Program::ReceiveReset | Program::ReceiveResetAgain => Some("tcp_receive_reset"),
        Program::SendReset
        | Program::SendAgain
        | Program::SendResetReason
        | Program::SendAgainReason => Some("tcp_send_reset"),
        Program::SetState | Program::SetStateAgain => Some("inet_sock_set_state"),
        Program::PacketsIn
        | Program::PacketsOut
        | Program::ResetEnters
        | Program::ConnectEnds
        | Program::AcceptEnds
        | Program::Seed
        | Program::SeedByProbe => None,
    }
}

/// The function of a program on a function entry.
const fn function(program: Program) -> Option<&'static str> {
    match program {
        Program::ResetEnters => Some("tcp_reset"),
        Program::ConnectEnds => Some("tcp_finish_connect"),
        Program::AcceptEnds => Some("tcp_child_process"),
        _ => None,
    }
}

/// The programs of the hooks that [`Skips`] is for. A received RST that nobody
/// saw is found where its socket closes.
fn skips(ebpf: &Ebpf, plan: &Plan) -> Result<Skips, ApplyError> {
    let mut hooks = BTreeMap::<&str, Vec<BorrowedFd<'_>>>::new();
    for program in &plan.programs {
        let hook = match program {
            Program::SendReset
            | Program::SendAgain
            | Program::SendResetReason
            | Program::SendAgainReason => hook(*program),
            _ => function(*program),
        };
        let Some(hook) = hook else {
            continue;
        };
        let name = program.name();
        let loaded = ebpf.program(name).ok_or(ApplyError::Missing(name))?;
        let descriptor = loaded
            .fd()
            .map_err(|source| ApplyError::Program { name, source })?;
        hooks.entry(hook).or_default().push(descriptor.as_fd());
    }
    let hooks: Vec<_> = hooks.into_values().collect();
    Skips::of(&hooks).map_err(ApplyError::Skips)
}

fn attach_function_entries(ebpf: &mut Ebpf, btf: &Btf, plan: &Plan) -> Result<(), ApplyError> {
    for planned in &plan.programs {
        let Some(function) = function(*planned) else {
            continue;
        };
        let program: &mut FEntry = program(ebpf, planned.name())?;
        program
            .load(function, btf)
            .and_then(|()| program.attach())
            .map_err(|source| ApplyError::FunctionEntries {
                reason: format!(
                    "the entry of {function} cannot be hooked: {}",
                    reason(&source)
                ),
            })?;
    }
    Ok(())
}

/// An error of aya's on one line: without the verifier's log, which has many.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } => {
            format!("the kernel refuses to load it ({io_error})")
        }
        ProgramError::SyscallError(error) => {
            format!("{} failed ({})", error.call, error.io_error)
        }
        other => other.to_string(),
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

fn attach_packets(ebpf: &mut Ebpf, cgroup: &Path) -> Result<(), ApplyError> {
    let cgroup_file = File::open(cgroup).map_err(|error| ApplyError::Packets {
        reason: format!("{}: {error}", cgroup.display()),
    })?;
    let ways = [
        (Program::PacketsIn.name(), CgroupSkbAttachType::Ingress),
        (Program::PacketsOut.name(), CgroupSkbAttachType::Egress),
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
