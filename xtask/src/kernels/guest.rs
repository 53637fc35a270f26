//! Boots a kernel and reads its console.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::arch::Architecture;

/// A guest that prints nothing for this long hangs: alone it is never silent for a minute, but
/// it runs at low priority, beside whatever else runs.
const SILENCE: Duration = Duration::from_mins(15);

/// The guest's clock counts its instructions, a nanosecond each; while the guest only waits, its clock
/// goes on to the next timer at once. So no verdict depends on how busy this machine is, and no
/// silence takes time.
const CLOCK: &str = "shift=0,sleep=off";

/// What to boot.
pub(crate) struct Guest<'a> {
    pub(crate) architecture: Architecture,
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
}

/// A child process that is killed when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Guest<'_> {
    /// Runs it to its end and returns its lines without their `@kreset`.
    ///
    /// Without KVM: emulation runs everywhere, in containers as well.
    pub(crate) fn run(&self, options: &str) -> Result<Vec<String>> {
        let began = Instant::now();
        let (emulator, _) = self.architecture.emulator();
        let (machine, console): (&[&str], _) = match self.architecture {
            // On a busy machine the emulated timer ticks too late for the kernel's own check of it,
            // which ends in a panic ("IO-APIC + timer doesn't work", `setup_IO_APIC`).
            Architecture::X86 => (&["-cpu", "max"], "ttyS0 no_timer_check"),
            // Pointer authentication as the architecture specifies it takes most of the time.
            Architecture::Arm => (
                &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
                "ttyAMA0",
            ),
        };
        let mut child = Command::new("nice")
            .arg(emulator)
            .args(machine)
            .args(["-accel", "tcg", "-m", "768", "-smp", "1"])
            .args(["-icount", CLOCK])
            .args([
                "-nographic",
                "-nodefaults",
                "-serial",
                "stdio",
                "-no-reboot",
                "-net",
                "none",
            ])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .args([
                "-append",
                &format!("console={console} quiet panic=-1 {options}"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{emulator} did not start"))?;
        let console = child.stdout.take().context("no console")?;
        let _ended = Ended(child);

        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                if sender
                    .send(String::from_utf8_lossy(&line).trim_end().to_owned())
                    .is_err()
                {
                    return;
                }
            }
        });
        let (mut said, mut rest) = (Vec::new(), Vec::new());
        loop {
            match lines.recv_timeout(SILENCE) {
                Ok(line) => match line.split_once("@kreset\t") {
                    Some((_, result)) => said.push(result.to_owned()),
                    None => rest.push(line),
                },
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!(
                        "the guest printed nothing for {SILENCE:?}; its console:\n{}",
                        tail(&rest)
                    );
                }
            }
        }
        if said.last().map(String::as_str) != Some("end") {
            bail!(
                "the guest ended early; its lines: {said:#?}; its console:\n{}",
                tail(&rest)
            );
        }
        println!(
            "booted, ran and powered off in {:.1} s",
            began.elapsed().as_secs_f64()
        );
        Ok(said)
    }
}

fn tail(lines: &[String]) -> String {
    lines[lines.len().saturating_sub(40)..].join("\n")
}
