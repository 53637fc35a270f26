//! `kreset-trace completions`: scripts that complete the command line in a shell.

use clap::Args;
use clap_complete::{Shell, generate};

use super::command;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Arguments {
    pub(super) fn script(&self) -> String {
        script(self.shell)
    }
}

/// The script for `shell`.
#[must_use]
pub fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut command(), "kreset-trace", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => bash(&script),
        Shell::Zsh => script.replace(
            ":NAME|PATH:_default",
            ":NAME|PATH:{compadd -- /run/netns/*(N\\:t); _files}",
        ),
        Shell::Fish => fish(&script),
        _ => script,
    }
}

/// Names of namespaces are those of `ip netns`, which are files.
fn bash(script: &str) -> String {
    const FILES: &str = "COMPREPLY=($(compgen -f \"${cur}\"))";
    const NAMESPACES: &str = "COMPREPLY=($(compgen -W \"$(ls /run/netns 2>/dev/null)\" -- \"${cur}\") $(compgen -f \"${cur}\"))";
    let mut parts = script.split("--netns)\n");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("--netns)\n");
        out.push_str(&part.replacen(FILES, NAMESPACES, 1));
    }
    // clap_complete 4.6 writes a subcommand's name in two ways where the program's has a
    // hyphen, and then completes nothing after it.
    out.replace("kreset__subcmd__trace__subcmd__", "kreset__trace__subcmd__")
}

fn fish(script: &str) -> String {
    let lines = script.lines().map(|line| {
        if line.contains(" -l netns ") {
            format!("{line} -a '(ls /run/netns 2>/dev/null)'\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::feature::Feature;

    #[test]
    fn every_shell_completes_subcommands_features_and_namespaces() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for word in [
                "probe",
                "completions",
                "every-event",
                Feature::Seeding.name(),
            ] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            assert!(script.contains("/run/netns"), "{shell}");
        }
        assert!(!script(Shell::Bash).contains("kreset__subcmd__trace"));
    }
}
