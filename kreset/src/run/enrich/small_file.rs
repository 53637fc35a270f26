//! Small text files of the kernel's.

use std::{fs, io::Read as _, path::Path};

/// A file that is read; those of the kernel are smaller.
const LONGEST: u64 = 64 << 10;

/// The text of a file, as far as it is not too long for one of the kernel's.
pub(super) fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}
