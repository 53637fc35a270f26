//! The signature of the checksums, by OpenSSH: everyone who checks it has the program.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{exec, files, setup};

/// What is signed, so that the signature of one thing is not valid for another
/// (`PROTOCOL.sshsig`).
const NAMESPACE: &str = "file";

/// Writes `SHA256SUMS.sig` next to `SHA256SUMS` in `out`, and checks it as users will.
///
/// `key` is the file of a private key, or of a public key whose private key an agent has.
pub(super) fn sign(out: &Path, key: &Path) -> Result<()> {
    setup::programs(&[("ssh-keygen", "openssh-client")])?;
    let sums = out.join("SHA256SUMS");
    let public = public_key(key)?;
    exec::run(
        Command::new("ssh-keygen")
            .args(["-Y", "sign", "-q", "-n", NAMESPACE, "-f"])
            .arg(key)
            .arg(&sums),
    )
    .with_context(|| format!("cannot sign with {}", key.display()))?;
    let allowed = out.join(".allowed_signers");
    files::write(&allowed, format!("release {public}"))?;
    let signed = File::open(&sums).with_context(|| format!("cannot read {}", sums.display()))?;
    let checked = exec::run(
        Command::new("ssh-keygen")
            .args(["-Y", "verify", "-I", "release", "-n", NAMESPACE, "-f"])
            .arg(&allowed)
            .arg("-s")
            .arg(out.join("SHA256SUMS.sig"))
            .stdin(Stdio::from(signed))
            .stdout(Stdio::null()),
    );
    std::fs::remove_file(&allowed).context("cannot remove the list of signers")?;
    checked
}

/// The public half of a private key, or the key itself if it is public.
fn public_key(key: &Path) -> Result<String> {
    let text = files::read_text(key)?;
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
        return Ok(text);
    }
    exec::output(Command::new("ssh-keygen").arg("-y").arg("-f").arg(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_these_bytes_alone() -> Result<()> {
        let directory = exec::target_directory()?.join(format!("sign-{}", std::process::id()));
        super::super::fresh(&directory)?;
        let key = directory.join("key");
        exec::run(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key),
        )?;
        files::write(&directory.join("SHA256SUMS"), "0  file\n")?;
        sign(&directory, &key)?;
        assert!(directory.join("SHA256SUMS.sig").exists());
        let error = sign(&directory, &directory.join("none")).expect_err("there is no such key");
        assert!(format!("{error:#}").contains("none"), "{error:#}");
        std::fs::remove_dir_all(&directory)?;
        Ok(())
    }
}
