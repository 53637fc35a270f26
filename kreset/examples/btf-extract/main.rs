//! Writes the part of a kernel's BTF that kreset reads: `btf-extract FROM TO`. FROM is BTF, such
//! as `/sys/kernel/btf/vmlinux`, or an uncompressed kernel that contains it.

use std::{env, fs};

use anyhow::{Context as _, Result};
use kreset::kernel::{btf::Btf, facts::Types};

/// The first bytes of BTF: its magic number and its version.
const START: [u8; 3] = [0x9f, 0xeb, 1];

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: btf-extract FROM TO");
    };
    let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
    let extract = find(&bytes)
        .with_context(|| format!("{} contains no BTF of a kernel", from.display()))?
        .extract(&Types::wanted())?;
    fs::write(&to, extract).with_context(|| format!("cannot write {}", to.display()))
}

/// The BTF in a file: its type section may be followed by anything.
fn find(bytes: &[u8]) -> Option<Btf<'_>> {
    memchr::memmem::find_iter(bytes, &START)
        .filter_map(|at| Btf::parse(bytes.get(at..)?).ok())
        .find(|btf| btf.structure("tcp_sock").is_ok())
}
