//! Programs that return at once, attached where kreset attaches its own: what the kernel's
//! calls alone cost, below which no tracer with these hooks gets.

use std::{fs, fs::File};

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType},
};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};

/// `r0 = 1; exit` (RFC 9669): a packet passes, and a tracepoint's value is not looked at.
const RETURN_AT_ONCE: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// Where a program is attached.
#[derive(Clone, Copy)]
enum Hook {
    /// Packets of all control groups.
    Packets(CgroupSkbAttachType),
    /// A tracepoint, by its name.
    Tracepoint(&'static str),
}

impl Hook {
    /// The section that says it in an object file.
    fn section(self) -> String {
        match self {
            Self::Packets(CgroupSkbAttachType::Ingress) => "cgroup_skb/ingress".to_owned(),
            Self::Packets(CgroupSkbAttachType::Egress) => "cgroup_skb/egress".to_owned(),
            Self::Tracepoint(name) => format!("tp_btf/{name}"),
        }
    }
}

/// The programs, as many on each hook as kreset has.
const PROGRAMS: [(&str, Hook); 5] = [
    ("floor_in", Hook::Packets(CgroupSkbAttachType::Ingress)),
    ("floor_out", Hook::Packets(CgroupSkbAttachType::Egress)),
    ("floor_state", Hook::Tracepoint("inet_sock_set_state")),
    ("floor_state_2", Hook::Tracepoint("inet_sock_set_state")),
    ("floor_destroy", Hook::Tracepoint("tcp_destroy_sock")),
];

/// Attaches them; they are detached when the result is dropped.
pub fn attach() -> Result<Ebpf> {
    let mut programs = EbpfLoader::new().load(&object_file()?)?;
    let types = Btf::from_sys_fs()?;
    let root = File::open(root_of_cgroups()?)?;
    for (name, hook) in PROGRAMS {
        let program = programs.program_mut(name).context("it is in the object")?;
        match hook {
            Hook::Packets(direction) => {
                let program: &mut CgroupSkb = program.try_into()?;
                program.load()?;
                // A link always allows others beside it, and takes no flags
                // (`cgroup_bpf_link_attach`).
                program.attach(&root, direction, CgroupAttachMode::Single)?;
            }
            Hook::Tracepoint(tracepoint) => {
                let program: &mut BtfTracePoint = program.try_into()?;
                program.load(tracepoint, &types)?;
                program.attach()?;
            }
        }
    }
    Ok(programs)
}

/// Where cgroup v2 is mounted.
fn root_of_cgroups() -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .and_then(|fields| fields.get(1).map(|it| (*it).to_owned()))
        .context("cgroup v2 is not mounted")
}

/// The object file that a compiler would make of them.
fn object_file() -> Result<Vec<u8>> {
    let mut file = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = file.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    file.append_section_data(license, b"GPL\0", 1);
    for (name, hook) in PROGRAMS {
        let section = hook.section().into_bytes();
        let section = file.add_section(Vec::new(), section, SectionKind::Text);
        let value = file.append_section_data(section, &RETURN_AT_ONCE, 8);
        file.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value,
            size: RETURN_AT_ONCE.len() as u64,
            kind: SymbolKind::Text,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
    }
    Ok(file.write()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_every_program_under_its_name() {
        let bytes = object_file().expect("written");
        let object = names(&bytes);
        for (name, _) in PROGRAMS {
            assert!(object.contains(&name.to_owned()), "{name}: {object:?}");
        }
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        use object::{Object as _, ObjectSymbol};
        let file = object::File::parse(bytes).expect("an object file");
        let symbols = file.symbols().filter(ObjectSymbol::is_definition);
        symbols
            .map(|symbol| symbol.name().expect("a name").to_owned())
            .collect()
    }
}
