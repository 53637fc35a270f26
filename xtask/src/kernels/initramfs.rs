//! Writes the guests' file system: a cpio archive (`newc`, see
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Result;

use super::programs::GuestFile;
use crate::files;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Directories that the guest mounts on.
const DIRECTORIES: [&str; 4] = ["dev", "proc", "sys", "tmp"];

/// Writes an archive with these programs and libraries.
pub(super) fn write(to: &Path, files: &[GuestFile]) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(to, archive(files)?)?;
    Ok(())
}

fn archive(files: &[GuestFile]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let paths: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
    for name in directories(&paths) {
        push(&mut archive, &name, DIRECTORY, &[]);
    }
    for GuestFile { path, source } in files {
        let content = files::read(source)?;
        push(&mut archive, &in_archive(path), PROGRAM, &content);
    }
    push(&mut archive, "TRAILER!!!", 0, &[]);
    Ok(archive)
}

/// What the guest mounts on, and the directories of its files, outer ones first.
fn directories(files: &[&Path]) -> BTreeSet<String> {
    files
        .iter()
        .flat_map(|file| file.ancestors().skip(1))
        .map(in_archive)
        .filter(|name| !name.is_empty())
        .chain(DIRECTORIES.map(str::to_owned))
        .collect()
}

/// Names in an archive begin below its root.
fn in_archive(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
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
    use std::path::Path;

    use super::{directories, push};

    #[test]
    fn a_files_directories_come_before_it_and_outer_ones_first() {
        let files = ["/init", "/lib/x86_64-linux-gnu/libc.so.6"].map(Path::new);
        let directories: Vec<_> = directories(&files).into_iter().collect();
        assert_eq!(
            directories,
            ["dev", "lib", "lib/x86_64-linux-gnu", "proc", "sys", "tmp"]
        );
    }

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
