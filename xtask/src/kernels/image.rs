//! Takes the kernel out of an image that can be booted.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{exec, files, setup};

/// Writes the kernel in `image` to `to`: an ELF file of amd64, the bytes in memory of arm64.
pub(super) fn unpack(image: &Path, to: &Path) -> Result<()> {
    let bytes = files::read(image)?;
    let payload = payload(&bytes)
        .with_context(|| format!("{} ends before its kernel does", image.display()))?;
    let Some((program, package)) = decompressor(payload) else {
        if payload.len() == bytes.len() {
            // Some of arm64 are not compressed.
            fs::copy(image, to)?;
            return Ok(());
        }
        bail!("{} is compressed in an unknown way", image.display());
    };
    setup::programs(&[(program, package)])?;
    let packed = to.with_extension("packed");
    fs::write(&packed, payload)?;
    let result = exec::run(
        Command::new(program)
            .args(["-d", "-c"])
            .stdin(File::open(&packed)?)
            .stdout(File::create(to)?),
    );
    fs::remove_file(packed)?;
    result
}

/// The part of an image that is the compressed kernel; all of it where it has no header.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let word = image.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*word)).ok()
    };
    // `struct setup_header` of Documentation/arch/x86/boot.rst, since protocol 2.08.
    if image.get(0x202..0x206) == Some(b"HdrS") {
        let sectors = usize::from(*image.get(0x1f1)?) + 1;
        let start = sectors * 512 + word(0x248)?;
        let payload = image.get(start..)?.get(..word(0x24c)?)?;
        // Its size when unpacked follows (scripts/Makefile.lib, `size_append`), but not that of
        // gzip, which ends with it.
        let is_gzip = payload.starts_with(&[0x1f, 0x8b]);
        return payload.get(..payload.len().checked_sub(if is_gzip { 0 } else { 4 })?);
    }
    // drivers/firmware/efi/libstub/zboot-header.S
    if image.get(4..8) == Some(b"zimg") {
        return image.get(word(8)?..)?.get(..word(12)?);
    }
    Some(image)
}

/// The program that unpacks `packed`, and its package.
fn decompressor(packed: &[u8]) -> Option<(&'static str, &'static str)> {
    const FORMATS: [(&[u8], &str, &str); 4] = [
        (&[0x1f, 0x8b], "gzip", "gzip"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz", "xz-utils"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd"),
        (&[0x02, 0x21, 0x4c, 0x18], "lz4", "lz4"),
    ];
    FORMATS
        .iter()
        .find(|(start, ..)| packed.starts_with(start))
        .map(|(_, program, package)| (*program, *package))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKED: &[u8] = b"\x28\xb5\x2f\xfdpacked";

    fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn the_kernel_is_found_behind_either_header() {
        let mut bzimage = vec![0; 0x800];
        put(&mut bzimage, 0x1f1, &[1]);
        put(&mut bzimage, 0x202, b"HdrS");
        put(&mut bzimage, 0x248, &16_u32.to_le_bytes());
        // With the four bytes that are not part of it.
        put(&mut bzimage, 0x24c, &14_u32.to_le_bytes());
        put(&mut bzimage, 2 * 512 + 16, PACKED);
        assert_eq!(payload(&bzimage), Some(PACKED));
        assert_eq!(decompressor(PACKED), Some(("zstd", "zstd")));

        let mut zboot = vec![0; 0x100];
        put(&mut zboot, 0, b"MZ\0\0zimg");
        put(&mut zboot, 8, &0x40_u32.to_le_bytes());
        put(&mut zboot, 12, &10_u32.to_le_bytes());
        put(&mut zboot, 0x40, PACKED);
        assert_eq!(payload(&zboot), Some(PACKED));
        put(&mut zboot, 12, &0x100_u32.to_le_bytes());
        assert_eq!(payload(&zboot), None, "cut short");

        let plain = b"MZ\0\0not packed";
        assert_eq!(payload(plain), Some(&plain[..]));
        assert_eq!(decompressor(plain), None);
    }
}
