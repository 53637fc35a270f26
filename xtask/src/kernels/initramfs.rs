//! Writes the guests' file system: a cpio archive (`newc`, see
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::{fs, path::Path};

use anyhow::Result;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Directories that the guest mounts on.
const DIRECTORIES: [&str; 4] = ["dev", "proc", "sys", "tmp"];

/// Writes an archive with these programs in its root.
pub(crate) fn write(to: &Path, programs: &[(&str, &Path)]) -> Result<()> {
    let mut archive = Vec::new();
    for name in DIRECTORIES {
        push(&mut archive, name, DIRECTORY, &[]);
    }
    for (name, program) in programs {
        push(&mut archive, name, PROGRAM, &fs::read(program)?);
    }
    push(&mut archive, "TRAILER!!!", 0, &[]);
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(to, archive)?;
    Ok(())
}

fn push(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let inode = archive.len();
    let header = format!(
        "070701{inode:08x}{mode:08x}{uid:08x}{gid:08x}{links:08x}{time:08x}{size:08x}\
         {major:08x}{minor:08x}{rmajor:08x}{rminor:08x}{name_size:08x}{check:08x}",
        uid = 0,
        gid = 0,
        links = 1,
        time = 0,
        size = content.len(),
        major = 0,
        minor = 0,
        rmajor = 0,
        rminor = 0,
        name_size = name.len() + 1,
        check = 0,
    );
    archive.extend(header.as_bytes());
    archive.extend(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend(content);
    pad(archive);
}

/// Every part begins on a multiple of four.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::push;

    #[test]
    fn parts_are_padded_to_four() {
        let mut archive = Vec::new();
        push(&mut archive, "init", 0o100_755, b"\x7fELF!");
        assert_eq!(
            archive.len(),
            116 + 8,
            "110 + 5 padded to 116, 5 padded to 8"
        );
        assert_eq!(&archive[..6], b"070701");
        assert_eq!(&archive[54..62], b"00000005", "size");
        assert_eq!(&archive[116..121], b"\x7fELF!");
    }
}
