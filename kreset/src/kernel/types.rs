//! The kernel's types that programs attach to, as the loader takes them.

use std::{fs, path::Path};

use aya::{Btf as LoaderBtf, Endianness};

use super::{
    apply::ApplyError,
    btf::{Attachable, Btf, only},
    facts::BTF,
    programs::{Hook, PROGRAMS},
};

/// The type behind the iterator over open files.
const OPEN_FILES: &str = "bpf_iter_task_file";

/// The types that programs attach to, each with its id in the running kernel.
///
/// aya looks types up by name in a BTF that it has parsed. All of the kernel's take 17 MB as it
/// keeps them (6.18), and 22 MB while it parses them; of those that programs attach to it needs
/// nothing but names and ids, which takes 5 MB for as long as programs are attached.
#[derive(Debug)]
pub struct KernelTypes(Vec<(Attachable, String, u32)>);

impl KernelTypes {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// If the kernel has none, or they cannot be read.
    pub fn load() -> Result<Self, ApplyError> {
        Self::read(Path::new(BTF))
    }

    fn read(path: &Path) -> Result<Self, ApplyError> {
        let bytes = fs::read(path).map_err(ApplyError::ReadTypes)?;
        let btf = Btf::parse(&bytes).map_err(ApplyError::Types)?;
        let mut found: Vec<(Attachable, String, u32)> = Vec::new();
        for program in PROGRAMS {
            let (kind, name) = match program.hook {
                Hook::Tracepoint { target, .. } => {
                    (Attachable::Typedef, format!("btf_trace_{target}"))
                }
                Hook::FunctionEntry { target, .. } => (Attachable::Function, target.to_owned()),
                Hook::OpenFiles => (Attachable::Function, OPEN_FILES.to_owned()),
                Hook::Packets(_) => continue,
            };
            if found.iter().any(|it| it.0 == kind && it.1 == name) {
                continue;
            }
            // What the kernel does not have, no plan attaches to.
            if let Some(id) = btf.id(kind, &name).map_err(ApplyError::Types)? {
                found.push((kind, name, id));
            }
        }
        Ok(Self(found))
    }

    /// As the loader takes them: with nothing but fillers between them, so that each has its id.
    pub(super) fn for_loader(&self) -> Result<LoaderBtf, ApplyError> {
        Ok(LoaderBtf::parse(&only(&self.0), Endianness::Little)?)
    }
}

#[cfg(test)]
mod tests {
    use aya::Btf as LoaderBtf;

    use super::*;

    /// aya has no way to ask that is public but for the lookup itself.
    fn id(btf: &LoaderBtf, kind: Attachable, name: &str) -> Option<u32> {
        let kind = match kind {
            Attachable::Typedef => aya_obj::btf::BtfKind::Typedef,
            Attachable::Function => aya_obj::btf::BtfKind::Func,
        };
        btf.id_by_type_name_kind(name, kind).ok()
    }

    #[test]
    fn types_have_the_ids_that_all_of_the_kernels_types_give_them() {
        let whole = LoaderBtf::from_sys_fs().expect("this kernel describes its types (BTF)");
        let types = KernelTypes::load().expect("the same");
        let few = types.for_loader().expect("what was written can be read");
        assert!(!types.0.is_empty());
        for (kind, name, expected) in &types.0 {
            assert_eq!(id(&few, *kind, name), Some(*expected), "{name}");
            assert_eq!(id(&whole, *kind, name), Some(*expected), "{name}");
        }
    }
}
