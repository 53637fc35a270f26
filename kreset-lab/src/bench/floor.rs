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

/// The programs: name, section, and what it is attached to.
const PROGRAMS: [(&str, &str); 5] = [
    ("floor_in", "cgroup_skb/ingress"),
    ("floor_out", "cgroup_skb/egress"),
    ("floor_state", "tp_btf/inet_sock_set_state"),
    ("floor_state_2", "tp_btf/inet_sock_set_state"),
    ("floor_destroy", "tp_btf/tcp_destroy_sock"),
];

/// Attaches them; they are detached when the result is dropped.
pub fn attach() -> Result<Ebpf> {
    let mut programs = EbpfLoader::new().load(&object_file()?)?;
    let types = Btf::from_sys_fs()?;
    let root = File::open(root_of_cgroups()?)?;
    for (name, section) in PROGRAMS {
        let program = programs.program_mut(name).context("it is in the object")?;
        match section.split_once('/') {
            Some(("cgroup_skb", direction)) => {
                let direction = match direction {
                    "ingress" => CgroupSkbAttachType::Ingress,
                    _ => CgroupSkbAttachType::Egress,
                };
                let program: &mut CgroupSkb = program.try_into()?;
                program.load()?;
                // A link always allows others beside it, and takes no flags (`cgroup_bpf_link_attach`).
                program.attach(&root, direction, CgroupAttachMode::Single)?;
            }
            Some((_, tracepoint)) => {
                let program: &mut BtfTracePoint = program.try_into()?;
                program.load(tracepoint, &types)?;
                program.attach()?;
            }
            None => unreachable!("every section has a target"),
        }
    }
    Ok(programs)
}

/// Where the whole of cgroup v2 is mounted.
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
    for (name, section) in PROGRAMS {
        let section = section.as_bytes().to_vec();
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
        let object = aya_obj_names(&bytes);
        for (name, _) in PROGRAMS {
            assert!(object.contains(&name.to_owned()), "{name}: {object:?}");
        }
    }

    fn aya_obj_names(bytes: &[u8]) -> Vec<String> {
        use object::{Object as _, ObjectSymbol as _};
        let file = object::File::parse(bytes).expect("an object file");
        let symbols = file.symbols().filter(|symbol| symbol.is_definition());
        symbols
            .map(|symbol| symbol.name().expect("a name").to_owned())
            .collect()
    }
}
