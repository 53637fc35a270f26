//! Picks the next step, from facts alone.

use std::ops::RangeInclusive;

use super::{
    facts::{Facts, Linker, Llvm},
    step::{LINKER_VERSION, Step},
};

/// The versions of LLVM that this version of bpf-linker can be built against.
const LINKER_LLVM: RangeInclusive<u32> = 21..=23;

/// The distribution's compiler, its cargo, and the source of `core`.
const DISTRIBUTION_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is missing.
    Ready,
    /// Take this step.
    Take(Step),
    /// Setup cannot go on; a sentence that says what the user can do.
    Stuck(String),
}

/// Picks the next step. One that was `tried` is not picked again.
pub(super) fn next(facts: &Facts, tried: &[Step]) -> Next {
    if facts.kernel_side {
        if !facts.toolchain {
            return toolchain(facts, tried);
        }
        if let Linker::Missing(llvm) = &facts.linker {
            return linker(llvm.as_ref(), facts.apt, tried);
        }
    }
    programs(&facts.missing, facts.apt, tried)
}

fn toolchain(facts: &Facts, tried: &[Step]) -> Next {
    if !facts.rustup {
        return Next::Stuck(
            "rustup is not installed: install it from https://rustup.rs".to_owned(),
        );
    }
    let mut ways = Vec::new();
    if let Some((name, installed)) = &facts.asked {
        ways.push(nightly_step(name, *installed));
        let stuck = format!(
            "the Rust toolchain `{name}` cannot build the kernel side: unset {} to use another one",
            kreset_toolchain::TOOLCHAIN_VARIABLE
        );
        return first_untried(ways, tried, stuck);
    }
    if facts.nightly {
        ways.push(nightly_step("nightly", true));
    }
    if facts.distribution {
        ways.push(Step::LinkDistribution);
    }
    if !facts.nightly {
        ways.push(nightly_step("nightly", false));
    }
    if facts.apt {
        ways.push(packages(DISTRIBUTION_PACKAGES));
    }
    let stuck = format!(
        "no Rust toolchain for the kernel side could be installed: make `rustup toolchain install \
         nightly --component rust-src` work, or on Debian `apt-get install {}`",
        DISTRIBUTION_PACKAGES.join(" ")
    );
    first_untried(ways, tried, stuck)
}

fn nightly_step(toolchain: &str, installed: bool) -> Step {
    let toolchain = toolchain.to_owned();
    if installed {
        Step::AddSource { toolchain }
    } else {
        Step::InstallToolchain { toolchain }
    }
}

fn linker(llvm: Option<&Llvm>, apt: bool, tried: &[Step]) -> Next {
    let Some(Llvm { major, prefix }) = llvm else {
        return Next::Stuck(
            "the Rust toolchain for the kernel side does not run or has no LLVM: reinstall it"
                .to_owned(),
        );
    };
    if !LINKER_LLVM.contains(major) {
        return Next::Stuck(format!(
            "bpf-linker {LINKER_VERSION} does not support LLVM {major}, which the Rust toolchain for \
             the kernel side has: choose another toolchain with {}",
            kreset_toolchain::TOOLCHAIN_VARIABLE
        ));
    }
    let stuck = match prefix {
        Some(prefix) => format!(
            "bpf-linker did not build against LLVM {major} in {}: install a C++ compiler, or a \
             built bpf-linker with `cargo binstall bpf-linker@{LINKER_VERSION}`",
            prefix.display()
        ),
        None => format!(
            "building bpf-linker needs the development files of LLVM {major} (Debian: \
             llvm-{major}-dev): install them, or a built bpf-linker with `cargo binstall \
             bpf-linker@{LINKER_VERSION}`"
        ),
    };
    let way = match prefix {
        Some(prefix) => Some(Step::InstallLinker {
            llvm: *major,
            prefix: prefix.clone(),
        }),
        None if apt => Some(packages([format!("llvm-{major}-dev")])),
        None => None,
    };
    first_untried(way, tried, stuck)
}

/// Picks the step that installs packages.
pub(super) fn programs(missing: &[&str], apt: bool, tried: &[Step]) -> Next {
    if missing.is_empty() {
        return Next::Ready;
    }
    let way = apt.then(|| packages(missing.iter().copied()));
    let stuck = format!(
        "not installed: {}; install them as root with `apt-get install {}`, or the packages of \
         your distribution with the same programs",
        missing.join(", "),
        missing.join(" ")
    );
    first_untried(way, tried, stuck)
}

/// Picks the step that installs a nightly compiler.
pub(super) fn nightly(installed: bool, tried: &[Step]) -> Next {
    if installed {
        return Next::Ready;
    }
    let stuck =
        "no nightly compiler could be installed: make `rustup toolchain install nightly` work";
    first_untried([nightly_step("nightly", false)], tried, stuck.to_owned())
}

fn packages<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Step {
    Step::InstallPackages(names.into_iter().map(Into::into).collect())
}

fn first_untried(ways: impl IntoIterator<Item = Step>, tried: &[Step], stuck: String) -> Next {
    ways.into_iter()
        .find(|way| !tried.contains(way))
        .map_or(Next::Stuck(stuck), Next::Take)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which nothing is missing.
    fn complete() -> Facts {
        Facts {
            kernel_side: true,
            rustup: true,
            asked: None,
            toolchain: true,
            nightly: true,
            distribution: false,
            linker: Linker::Installed,
            missing: Vec::new(),
            apt: true,
        }
    }

    fn without_toolchain() -> Facts {
        Facts {
            toolchain: false,
            linker: Linker::Missing(None),
            ..complete()
        }
    }

    fn without_linker(prefix: Option<&str>) -> Facts {
        Facts {
            linker: Linker::Missing(Some(Llvm {
                major: 22,
                prefix: prefix.map(Into::into),
            })),
            ..complete()
        }
    }

    fn add_source() -> Step {
        Step::AddSource {
            toolchain: "nightly".to_owned(),
        }
    }

    fn install_nightly() -> Step {
        Step::InstallToolchain {
            toolchain: "nightly".to_owned(),
        }
    }

    /// All steps on a machine where none of them changes anything, and the final message.
    fn all_ways(facts: &Facts) -> (Vec<Step>, String) {
        let mut tried = Vec::new();
        loop {
            match next(facts, &tried) {
                Next::Take(step) => tried.push(step),
                Next::Stuck(reason) => return (tried, reason),
                Next::Ready => panic!("ready without a change after {tried:?}"),
            }
        }
    }

    #[test]
    fn nothing_is_done_where_nothing_is_missing() {
        assert_eq!(next(&complete(), &[]), Next::Ready);
    }

    #[test]
    fn the_tools_of_the_kernel_side_are_not_needed_where_its_object_is_shipped() {
        let facts = Facts {
            kernel_side: false,
            rustup: false,
            linker: Linker::Missing(None),
            ..without_toolchain()
        };
        assert_eq!(next(&facts, &[]), Next::Ready);
    }

    #[test]
    fn an_installed_nightly_gets_the_source_of_core_before_the_distribution_is_asked() {
        let (tried, reason) = all_ways(&without_toolchain());
        assert_eq!(tried, [add_source(), packages(DISTRIBUTION_PACKAGES)]);
        assert!(reason.contains("rustup toolchain install nightly"));
    }

    #[test]
    fn a_compiler_of_the_distribution_that_is_there_saves_a_download() {
        let facts = Facts {
            nightly: false,
            distribution: true,
            ..without_toolchain()
        };
        assert_eq!(next(&facts, &[]), Next::Take(Step::LinkDistribution));
    }

    #[test]
    fn a_nightly_is_installed_where_there_is_none() {
        let facts = Facts {
            nightly: false,
            ..without_toolchain()
        };
        let (tried, _) = all_ways(&facts);
        assert_eq!(tried, [install_nightly(), packages(DISTRIBUTION_PACKAGES)]);
    }

    #[test]
    fn packages_once_installed_are_linked() {
        let facts = Facts {
            distribution: true,
            ..without_toolchain()
        };
        let tried = [add_source(), packages(DISTRIBUTION_PACKAGES)];
        assert_eq!(next(&facts, &tried), Next::Take(Step::LinkDistribution));
    }

    #[test]
    fn without_apt_the_packages_are_named() {
        let facts = Facts {
            apt: false,
            missing: vec!["nftables"],
            ..complete()
        };
        let (tried, reason) = all_ways(&facts);
        assert!(tried.is_empty());
        assert!(reason.contains("nftables"), "{reason}");

        let facts = Facts {
            apt: false,
            ..without_linker(None)
        };
        let (tried, reason) = all_ways(&facts);
        assert!(tried.is_empty());
        assert!(reason.contains("llvm-22-dev"), "{reason}");
        assert!(reason.contains("cargo binstall bpf-linker"), "{reason}");
    }

    #[test]
    fn a_toolchain_asked_for_is_the_only_one_tried() {
        for (installed, step) in [
            (
                true,
                Step::AddSource {
                    toolchain: "nightly-2026-05-20".to_owned(),
                },
            ),
            (
                false,
                Step::InstallToolchain {
                    toolchain: "nightly-2026-05-20".to_owned(),
                },
            ),
        ] {
            let facts = Facts {
                asked: Some(("nightly-2026-05-20".to_owned(), installed)),
                distribution: true,
                ..without_toolchain()
            };
            let (tried, reason) = all_ways(&facts);
            assert_eq!(tried, [step]);
            assert!(reason.contains("unset KRESET_BPF_TOOLCHAIN"), "{reason}");
        }
    }

    #[test]
    fn without_rustup_nothing_is_tried() {
        let facts = Facts {
            rustup: false,
            ..without_toolchain()
        };
        let (tried, reason) = all_ways(&facts);
        assert!(tried.is_empty());
        assert!(reason.contains("https://rustup.rs"), "{reason}");
    }

    #[test]
    fn the_linker_is_built_against_the_llvm_of_the_toolchain() {
        assert_eq!(
            next(&without_linker(None), &[]),
            Next::Take(packages(["llvm-22-dev"]))
        );
        let prefix = "/usr/lib/llvm-22";
        let (tried, reason) = all_ways(&without_linker(Some(prefix)));
        assert_eq!(
            tried,
            [Step::InstallLinker {
                llvm: 22,
                prefix: prefix.into()
            }]
        );
        assert!(reason.contains(prefix), "{reason}");
    }

    #[test]
    fn an_llvm_that_the_linker_does_not_know_is_said_so() {
        let facts = Facts {
            linker: Linker::Missing(Some(Llvm {
                major: 99,
                prefix: None,
            })),
            ..complete()
        };
        let (tried, reason) = all_ways(&facts);
        assert!(tried.is_empty());
        assert!(reason.contains("LLVM 99"), "{reason}");
    }
}
