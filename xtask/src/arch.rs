//! The processor architectures that programs and packages are made for.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    exec,
    setup::{self, Program},
};

/// A processor architecture, as `uname -m` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    #[value(name = "x86_64", alias = "amd64")]
    X86,
    #[value(name = "aarch64", alias = "arm64")]
    Arm,
}

impl Architecture {
    pub(crate) const ALL: [Self; 2] = [Self::X86, Self::Arm];

    /// This machine's.
    pub(crate) fn native() -> Result<Self> {
        let name = std::env::consts::ARCH;
        let Ok(architecture) = Self::from_str(name, false) else {
            bail!("unsupported architecture {name}: expected x86_64 or aarch64");
        };
        Ok(architecture)
    }

    /// Of those asked for, or this machine's if none was.
    pub(crate) fn or_native(asked: &[Self]) -> Result<Vec<Self>> {
        if asked.is_empty() {
            return Ok(vec![Self::native()?]);
        }
        Ok(asked.to_vec())
    }

    pub(crate) fn is_native(self) -> bool {
        Self::native().is_ok_and(|native| native == self)
    }

    /// The name that rpm and the kernel use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "aarch64",
        }
    }

    /// The name that Debian, Go and OCI images use.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86 => "amd64",
            Self::Arm => "arm64",
        }
    }

    /// Rust's target whose programs need no other file: for guests without a C library, and for
    /// hosts with an older one.
    pub(crate) const fn static_target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-musl",
            Self::Arm => "aarch64-unknown-linux-musl",
        }
    }

    /// The emulator of a whole machine, and its package.
    pub(crate) const fn emulator(self) -> Program {
        match self {
            Self::X86 => ("qemu-system-x86_64", "qemu-system-x86"),
            Self::Arm => ("qemu-system-aarch64", "qemu-system-arm"),
        }
    }

    /// The emulator of its programs on another architecture's kernel, and its package.
    pub(crate) const fn program_emulator(self) -> Program {
        match self {
            Self::X86 => ("qemu-x86_64-static", "qemu-user-static"),
            Self::Arm => ("qemu-aarch64-static", "qemu-user-static"),
        }
    }

    /// The C compiler for it on this machine, and its package.
    const fn compiler(self) -> Program {
        match self {
            Self::X86 => ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
            Self::Arm => ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        }
    }

    /// A header of its C library that a dependency's C sources include, and its package, which
    /// the compiler's only recommends.
    const fn header(self) -> (&'static str, &'static str) {
        match self {
            Self::X86 => (
                "/usr/x86_64-linux-gnu/include/stdint.h",
                "libc6-dev-amd64-cross",
            ),
            Self::Arm => (
                "/usr/aarch64-linux-gnu/include/stdint.h",
                "libc6-dev-arm64-cross",
            ),
        }
    }

    /// Installs what static programs for it are built with.
    pub(crate) fn set_up(self) -> Result<()> {
        if !self.is_native() {
            setup::programs(&[self.compiler()])?;
            let (header, package) = self.header();
            if !Path::new(header).exists() {
                setup::packages(&[package])?;
            }
        }
        let target = self.static_target();
        exec::run(Command::new("rustup").args(["target", "add", target])).with_context(|| {
            format!("static programs need the target {target}, which rustup could not install")
        })
    }

    /// Tells cargo how to compile C for it, how to link, and how to run what it compiled.
    pub(crate) fn prepare(self, cargo: &mut Command) {
        let target = self.static_target().replace('-', "_");
        let of_cargo = |key: &str| format!("CARGO_TARGET_{}_{key}", target.to_uppercase());
        // The C sources of dependencies use no C library but for its headers, so any compiler of
        // the architecture builds them.
        if self.is_native() {
            cargo.env(format!("CC_{target}"), "cc");
            return;
        }
        cargo
            .env(format!("CC_{target}"), self.compiler().0)
            // Rust brings a linker for every architecture, and musl itself.
            .env(of_cargo("LINKER"), "rust-lld")
            .env(of_cargo("RUNNER"), self.program_emulator().0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_an_architecture_are_taken() {
        for (name, architecture) in [
            ("x86_64", Architecture::X86),
            ("amd64", Architecture::X86),
            ("aarch64", Architecture::Arm),
            ("arm64", Architecture::Arm),
        ] {
            assert_eq!(Architecture::from_str(name, false), Ok(architecture));
        }
        Architecture::from_str("riscv64", false).expect_err("not supported");
    }

    #[test]
    fn another_architecture_has_its_compiler_linker_and_emulator() {
        let foreign = match Architecture::native().expect("a supported machine") {
            Architecture::X86 => Architecture::Arm,
            Architecture::Arm => Architecture::X86,
        };
        let mut cargo = Command::new("cargo");
        foreign.prepare(&mut cargo);
        let set: Vec<_> = cargo
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
            .collect();
        assert!(
            set.iter()
                .any(|(name, value)| name.ends_with("_MUSL_LINKER") && *value == "rust-lld")
        );
        assert!(
            set.iter()
                .any(|(name, value)| name.ends_with("_MUSL_RUNNER")
                    && *value == foreign.program_emulator().0)
        );
        assert!(
            set.iter()
                .any(|(name, value)| name.starts_with("CC_") && value.starts_with(foreign.name()))
        );
    }
}
