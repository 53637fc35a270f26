//! Carries out a plan: loads, injects, attaches.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Btf, Ebpf, EbpfError, include_bytes_aligned,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf},
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, FEntry, Iter, ProgramError,
        cgroup_skb::CgroupSkbAttachType,
    },
    util::nr_cpus,
};
use kreset_common::{counter, tables};
use thiserror::Error;
use zerocopy::IntoBytes as _;

pub use super::types::KernelTypes;
use super::{
    btf::BtfError,
    loader::loader,
    log::KernelLog,
    plan::Plan,
    programs::{Hook, Program, Way},
    skips::Skips,
};
use crate::util::{heap, ports::PortSet};

/// The kernel side, as the build script made it.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kreset"));

/// Why attaching failed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The object or a map was refused.
    #[error("cannot load the BPF object: {0}")]
    Load(#[from] EbpfError),
    /// The file of the kernel's type information cannot be read.
    #[error("the kernel's type information cannot be read: {0}")]
    ReadTypes(#[source] io::Error),
    /// The kernel's type information is not what it should be.
    #[error("the kernel's type information cannot be read: {0}")]
    Types(#[source] BtfError),
    /// The loader does not take the part of it that it needs.
    #[error("the kernel's type information cannot be used: {0}")]
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
    #[error("the BPF object has no {0}")]
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
    /// A program that a run can do without ([`Program::feature`]) does not load.
    #[error("program {program}: {reason}")]
    Optional {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// The iterator over open files failed.
    #[error("the iterator over open files: {0}")]
    Seed(io::Error),
    /// A program's descriptor cannot be kept.
    #[error("program statistics: {0}")]
    Skips(io::Error),
}

/// Everything attached. Dropping it detaches: all links belong to this process.
pub struct Attached {
    /// Holds the links; `None` once detached.
    ebpf: Option<Ebpf>,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
    /// How many sockets listen, by network namespace and port.
    listening: HashMap<MapData, [u32; 2], [u64; 2]>,
    skips: Skips,
    /// Whether the iterator over open files was loaded, if the plan has it.
    seeder: Result<(), ApplyError>,
    /// Entries of the table that [`Plan::table`] is for.
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
    /// Loads and attaches.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a part; nothing stays attached then.
    pub fn new(plan: &Plan, ports: &PortSet, types: &KernelTypes) -> Result<Self, ApplyError> {
        let (mut ebpf, skips, seeder) = {
            let btf = types.for_loader()?;
            let mut ebpf = load(plan, &btf)?;
            if plan.settings.port_range_count == 0 {
                fill_ports(&mut ebpf, ports)?;
            }
            for program in &plan.programs {
                attach(&mut ebpf, &btf, program, plan)?;
            }
            let seeder = load_seeder(&mut ebpf, &btf, plan);
            let skips = skips(&ebpf, plan)?;
            (ebpf, skips, seeder)
        };
        // The ring buffer and the kernel's types are not in memory at once.
        heap::trim();

        let ring = take_map(&mut ebpf, "RECORDS")?;
        let counters = take_map(&mut ebpf, "COUNTERS")?;
        let listening = take_map(&mut ebpf, "LISTENING")?;
        let log = if plan.settings.debug == 0 {
            None
        } else {
            KernelLog::new(&mut ebpf)
        };
        Ok(Self {
            ebpf: Some(ebpf),
            ring,
            counters,
            listening,
            skips,
            seeder,
            table: for_all_cpus(plan.table),
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
    pub fn seed(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        let seeded = self.run_seeder(plan);
        self.skipped_before = self.counter(counter::SKIPPED)?;
        seeded
    }

    fn run_seeder(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        let Some(name) = seeder(plan) else {
            return Ok(());
        };
        std::mem::replace(&mut self.seeder, Ok(()))?;
        let refused = |source| ApplyError::Program { name, source };
        let ebpf = self.ebpf.as_mut().ok_or(ApplyError::Missing(name))?;
        let program: &mut Iter = program(ebpf, name)?;
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

    /// How many sockets listen on a port of a network namespace, on any address; `None` where
    /// none has since it is watched, or that cannot be read.
    #[must_use]
    pub fn listeners(&self, netns: u32, port: u16) -> Option<u32> {
        // How many, and the latest one's address.
        let [count, _] = self.listening.get(&[netns, port.into()], 0).ok()?;
        Some(u32::try_from(count).unwrap_or(u32::MAX))
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

    /// Connections of which it is not known how they ended.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the read.
    pub fn unobserved(&self) -> Result<u64, ApplyError> {
        self.counter(counter::UNOBSERVED)
    }

    /// Detaches all programs: nothing is produced any more. The ring keeps what
    /// it holds.
    pub fn detach(&mut self) {
        drop(self.ebpf.take());
    }
}

/// Loads the object and makes its maps. Programs are loaded as they are attached.
fn load(plan: &Plan, btf: &Btf) -> Result<Ebpf, ApplyError> {
    let mut loader = loader();
    let (offsets, settings) = (plan.offsets.as_bytes(), plan.settings.as_bytes());
    loader
        .btf(Some(btf))
        .override_global("OFFSETS", offsets, true)
        .override_global("SETTINGS", settings, true);
    for (name, entries) in tables::TABLES {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        loader.map_max_entries(name, for_all_cpus(entries));
    }
    if plan.settings.hash_storage != 0 {
        loader.map_max_entries("CONNECTIONS_BY_ADDRESS", for_all_cpus(plan.table));
    }
    Ok(loader.load(OBJECT)?)
}

/// How many entries a table needs so that it has room for `entries` in use; see [`tables`].
fn for_all_cpus(entries: u32) -> u32 {
    // Where their number cannot be read, the table is as good as without this.
    let cpus = nr_cpus().map_or(1, |cpus| u32::try_from(cpus).unwrap_or(u32::MAX));
    entries.saturating_add(tables::KEPT_BY_CPU.saturating_mul(cpus))
}

/// The loaded programs of the hooks that [`Skips`] is for.
fn skips(ebpf: &Ebpf, plan: &Plan) -> Result<Skips, ApplyError> {
    let descriptors = |program: &Program| {
        program
            .names()
            .map(|name| {
                let loaded = ebpf.program(name).ok_or(ApplyError::Missing(name))?;
                let descriptor = loaded
                    .fd()
                    .map_err(|source| ApplyError::Program { name, source })?;
                Ok(descriptor.as_fd())
            })
            .collect()
    };
    let hooks: Vec<Vec<BorrowedFd<'_>>> = plan
        .programs
        .iter()
        .filter(|program| program.counts_skips)
        .map(|program| descriptors(program))
        .collect::<Result<_, ApplyError>>()?;
    Skips::of(&hooks).map_err(ApplyError::Skips)
}

/// The plan's iterator over open files.
fn seeder(plan: &Plan) -> Option<&'static str> {
    let mut programs = plan.programs.iter();
    let seeder = programs.find(|it| it.hook == Hook::OpenFiles)?;
    Some(seeder.name)
}

/// Loads it with the others: what the loader needs for that is not made again when it runs.
fn load_seeder(ebpf: &mut Ebpf, btf: &Btf, plan: &Plan) -> Result<(), ApplyError> {
    let Some(name) = seeder(plan) else {
        return Ok(());
    };
    let program: &mut Iter = program(ebpf, name)?;
    program
        .load("task_file", btf)
        .map_err(|source| ApplyError::Program { name, source })
}

/// Loads and attaches one program, and its twin. Those that seed run later.
fn attach(ebpf: &mut Ebpf, btf: &Btf, program: &Program, plan: &Plan) -> Result<(), ApplyError> {
    match program.hook {
        Hook::Tracepoint { target, .. } => program.names().try_for_each(|name| {
            tracepoint(ebpf, btf, name, target).map_err(|error| match error {
                ApplyError::Program { name, source } if program.feature.is_some() => {
                    ApplyError::Optional {
                        program: name,
                        reason: format!("{target} cannot be hooked: {}", reason(&source)),
                    }
                }
                other => other,
            })
        }),
        Hook::FunctionEntry { target, .. } => function_entry(ebpf, btf, program.name, target),
        Hook::Packets(way) => match &plan.cgroup {
            Some(cgroup) => {
                packets(ebpf, program.name, way, cgroup).map_err(|error| ApplyError::Packets {
                    reason: error.to_string(),
                })
            }
            None => Ok(()),
        },
        Hook::OpenFiles => Ok(()),
    }
}

fn function_entry(
    ebpf: &mut Ebpf,
    btf: &Btf,
    name: &'static str,
    target: &str,
) -> Result<(), ApplyError> {
    let program: &mut FEntry = program(ebpf, name)?;
    program
        .load(target, btf)
        .and_then(|()| program.attach())
        .map(drop)
        .map_err(|source| ApplyError::FunctionEntries {
            reason: format!(
                "the entry of {target} cannot be hooked: {}",
                reason(&source)
            ),
        })
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

fn fill_ports(ebpf: &mut Ebpf, ports: &PortSet) -> Result<(), ApplyError> {
    const NAME: &str = "PORTS";
    let refused = |source| ApplyError::Map { name: NAME, source };
    let map = ebpf.map_mut(NAME).ok_or(ApplyError::Missing(NAME))?;
    let mut bitmap = Array::<_, u64>::try_from(map).map_err(refused)?;
    for (word, bits) in ports.words() {
        bitmap.set(word, bits, 0).map_err(refused)?;
    }
    Ok(())
}

fn packets(ebpf: &mut Ebpf, name: &'static str, way: Way, cgroup: &Path) -> Result<(), ApplyError> {
    let cgroup_file = File::open(cgroup).map_err(|error| ApplyError::Packets {
        reason: format!("{}: {error}", cgroup.display()),
    })?;
    let way = match way {
        Way::In => CgroupSkbAttachType::Ingress,
        Way::Out => CgroupSkbAttachType::Egress,
    };
    let refused = |source| ApplyError::Program { name, source };
    let program: &mut CgroupSkb = program(ebpf, name)?;
    program.load().map_err(refused)?;
    // A link: it ends with this process, and stands beside others' links.
    program
        .attach(cgroup_file.as_fd(), way, CgroupAttachMode::Single)
        .map_err(refused)?;
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

fn take_map<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, ApplyError>
where
    M: TryFrom<aya::maps::Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(ApplyError::Missing(name))?;
    M::try_from(map).map_err(|source| ApplyError::Map { name, source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aya_obj::{Object, generated::bpf_map_type::BPF_MAP_TYPE_LRU_HASH};

    use super::*;

    /// Without its entry there a table loses entries on machines with many processors.
    #[test]
    fn every_table_that_evicts_is_made_larger_by_what_processors_keep() {
        let object = Object::parse(OBJECT).unwrap();
        let tables: BTreeMap<_, _> = object
            .maps
            .iter()
            .filter(|(_, map)| map.map_type() == BPF_MAP_TYPE_LRU_HASH as u32)
            .map(|(name, map)| (name.as_str(), map.max_entries()))
            .filter(|(name, _)| *name != "CONNECTIONS_BY_ADDRESS")
            .collect();
        let known = tables::TABLES.map(|(name, entries)| (name, u32::try_from(entries).unwrap()));
        assert_eq!(tables, BTreeMap::from(known));
        assert!(for_all_cpus(1_024) >= 1_024 + tables::KEPT_BY_CPU);
        assert_eq!(for_all_cpus(u32::MAX), u32::MAX);
    }
}
