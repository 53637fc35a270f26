//! What is compared: nothing, kreset, and what people use today for the same question.

use std::{
    fmt, fs,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use aya::Ebpf;
use nix::sys::signal::Signal;

use crate::{
    bench::{arena::OTHER, floor},
    util::{child::Child, process::Observed},
};

named_enum! {
    /// One of those that are compared.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Subject {
        /// No tracer: what the others are measured against.
        Off = "off",
        /// No tracer, once more: how far two samples of the same lie apart.
        OffAgain = "off, again",
        /// Programs that return at once, where kreset's are.
        Floor = "programs that return at once",
        /// `kreset-trace` with what it takes by itself.
        Kreset = "kreset",
        /// `kreset-trace --packet-evidence off`.
        KresetWithoutPackets = "kreset, packet evidence off",
        /// `kreset-trace` that traces another port.
        KresetElsewhere = "kreset, other port traced",
        /// tcpdump with a filter for RSTs of the port.
        Tcpdump = "tcpdump",
        /// The same with a line out at once.
        TcpdumpLines = "tcpdump -l",
        /// The same on all interfaces, as kreset watches them.
        TcpdumpAny = "tcpdump -l -i any",
        /// bpftrace on the same two tracepoints.
        Bpftrace = "bpftrace",
        /// bcc's tcpstates, in its libbpf form.
        Tcpstates = "tcpstates",
        /// bcc's tcplife, in its libbpf form.
        Tcplife = "tcplife",
    }
}

impl Subject {
    /// Whether it is `kreset-trace`.
    pub const fn is_kreset(self) -> bool {
        matches!(
            self,
            Self::Kreset | Self::KresetWithoutPackets | Self::KresetElsewhere
        )
    }

    fn command(self, paths: &Paths, port: u16, output: &Path) -> Option<Command> {
        let mut command = match self {
            Self::Off | Self::OffAgain | Self::Floor => return None,
            Self::Kreset | Self::KresetWithoutPackets | Self::KresetElsewhere => {
                let mut command = Command::new(&paths.tracer);
                let traced = if self == Self::KresetElsewhere {
                    OTHER
                } else {
                    port
                };
                command.args(["--port", &traced.to_string(), "--format", "json"]);
                command.arg("--output").arg(output);
                // Should this program die without ending it.
                command.args(["--duration", "10m"]);
                if self == Self::KresetWithoutPackets {
                    command.args(["--packet-evidence", "off"]);
                }
                command
            }
            Self::Tcpdump | Self::TcpdumpLines | Self::TcpdumpAny => {
                let mut command = Command::new("tcpdump");
                let interface = if self == Self::TcpdumpAny {
                    "any"
                } else {
                    "lo"
                };
                command.args(["-n", "-i", interface]);
                if self != Self::Tcpdump {
                    command.arg("-l");
                }
                command.arg(format!("tcp port {port} and tcp[tcpflags] & tcp-rst != 0"));
                command
            }
            Self::Bpftrace => {
                let mut command = Command::new("bpftrace");
                command.args(["-e", &bpftrace_script(port)]);
                command
            }
            Self::Tcpstates => {
                let mut command = Command::new("tcpstates");
                command.args(["-T", "-L", &port.to_string()]);
                command
            }
            Self::Tcplife => {
                let mut command = Command::new("tcplife");
                command.args(["-T", "-L", &port.to_string()]);
                command
            }
        };
        command.stdin(Stdio::null());
        Some(command)
    }

    /// BPF programs that it holds once it is attached.
    const fn programs(self) -> usize {
        match self {
            Self::Bpftrace => 2,
            Self::Tcpstates | Self::Tcplife => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who, and between whom; the tracepoints give a RST's ends as socket addresses
/// (`tcp_send_reset`, since 6.10) or as fields of their own.
fn bpftrace_script(port: u16) -> String {
    let [high, low] = port.to_be_bytes();
    let end = |name: &str| {
        (4..8)
            .map(|byte| format!("args->{name}[{byte}]"))
            .chain([format!("args->{name}[2] * 256 + args->{name}[3]")])
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "tracepoint:tcp:tcp_send_reset \
         /(args->saddr[2] == {high} && args->saddr[3] == {low}) || (args->daddr[2] == {high} && args->daddr[3] == {low})/ \
         {{ time(\"%H:%M:%S \"); printf(\"sent %s %d %d.%d.%d.%d:%d %d.%d.%d.%d:%d state %d reason %d\\n\", \
         comm, pid, {}, {}, args->state, args->reason); }} \
         tracepoint:tcp:tcp_receive_reset /args->sport == {port} || args->dport == {port}/ \
         {{ time(\"%H:%M:%S \"); printf(\"received %s %d %s:%d %s:%d\\n\", \
         comm, pid, ntop(args->saddr), args->sport, ntop(args->daddr), args->dport); }}",
        end("saddr"),
        end("daddr"),
    )
}

/// The program and the directory that subjects use.
#[derive(Debug)]
pub struct Paths {
    /// The program `kreset-trace`.
    pub tracer: PathBuf,
    /// A directory in memory for what they write.
    pub scratch: PathBuf,
}

/// One that is attached; ended when dropped.
#[derive(Debug)]
pub struct Running {
    subject: Subject,
    child: Option<Child>,
    /// Programs that this process holds itself.
    floor: Option<Ebpf>,
    output: PathBuf,
    complaints: PathBuf,
    attached_in: Duration,
}

/// How long a subject may take to attach, or to end.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(1);

impl Running {
    /// Starts `subject` on `port`, and waits until it is attached.
    pub fn start(subject: Subject, paths: &Paths, port: u16) -> Result<Self> {
        let output = paths.scratch.join("output");
        let complaints = paths.scratch.join("complaints");
        let mut running = Self {
            subject,
            child: None,
            floor: None,
            attached_in: Duration::ZERO,
            complaints,
            output,
        };
        let _none_yet = fs::remove_file(&running.output);
        if subject == Subject::Floor {
            running.floor = Some(floor::attach()?);
        }
        let Some(mut command) = subject.command(paths, port, &running.output) else {
            return Ok(running);
        };
        if !subject.is_kreset() {
            command.stdout(File::create(&running.output)?);
        }
        command.stderr(File::create(&running.complaints)?);
        let began = Instant::now();
        let name = command.get_program().display().to_string();
        let child = Child::spawn(&mut command);
        running.child = Some(child.with_context(|| format!("{name} is not installed"))?);
        while !running.is_attached()? {
            if began.elapsed() > PATIENCE {
                bail!(
                    "{name} did not attach within {PATIENCE:?}: {}",
                    running.last_words()
                );
            }
            thread::sleep(STEP);
        }
        running.attached_in = began.elapsed();
        if subject.programs() > 0 {
            // Programs are loaded before they are attached, and nothing reports the attachment.
            thread::sleep(Duration::from_millis(300));
        }
        Ok(running)
    }

    fn is_attached(&mut self) -> Result<bool> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.ended()?
        {
            bail!("{} ends with {status}: {}", self.subject, self.last_words());
        }
        Ok(match self.subject {
            Subject::Off | Subject::OffAgain | Subject::Floor => true,
            Subject::Kreset | Subject::KresetWithoutPackets | Subject::KresetElsewhere => {
                fs::metadata(&self.output).is_ok_and(|it| it.len() > 0)
            }
            Subject::Tcpdump | Subject::TcpdumpLines | Subject::TcpdumpAny => {
                self.complained().contains("listening on")
            }
            Subject::Bpftrace | Subject::Tcpstates | Subject::Tcplife => {
                let observed = self.observed().context("it runs")?;
                observed.programs()?.len() >= self.subject.programs()
            }
        })
    }

    fn complained(&self) -> String {
        fs::read_to_string(&self.complaints).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let complained = self.complained();
        let last = complained.lines().rfind(|line| !line.trim().is_empty());
        last.unwrap_or("without a word").to_owned()
    }

    /// The process, where there is one.
    pub fn observed(&self) -> Option<Observed> {
        self.child.as_ref().map(|child| Observed::new(child.id()))
    }

    /// The process that holds its programs, where there are any.
    pub fn holder(&self) -> Option<Observed> {
        match self.floor {
            Some(_) => Some(Observed::new(std::process::id())),
            None => self.observed(),
        }
    }

    /// From its start until it was attached.
    pub const fn attached_in(&self) -> Duration {
        self.attached_in
    }

    /// Waits until it has used no more CPU time than idling takes: it has worked off what came.
    pub fn settle(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(100);
        let Some(observed) = self.observed() else {
            return Ok(());
        };
        let began = Instant::now();
        let mut before = observed.cpu()?;
        while began.elapsed() < PATIENCE {
            thread::sleep(LOOK);
            let now = observed.cpu()?;
            if now.saturating_sub(before) < LOOK / 100 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does, and returns the file with what it said.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.floor = None;
        if let Some(mut child) = self.child.take() {
            child.signal(Signal::SIGINT)?;
            child.wait(PATIENCE)?;
        }
        Ok(self.output)
    }
}

/// Lines of a file that `wanted` picks.
pub fn count_lines(file: &Path, mut wanted: impl FnMut(&str) -> bool) -> Result<u64> {
    let Ok(file) = File::open(file) else {
        return Ok(0);
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut count) = (String::new(), 0);
    while reader.read_line(&mut line)? > 0 {
        count += u64::from(wanted(&line));
        line.clear();
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::arena::TRACED;

    #[test]
    fn what_bpftrace_is_asked_knows_the_port_in_both_orders() {
        let script = bpftrace_script(29_092);
        assert!(
            script.contains("args->saddr[2] == 113 && args->saddr[3] == 164"),
            "{script}"
        );
        assert!(script.contains("args->sport == 29092"), "{script}");
    }

    #[test]
    fn only_what_is_wanted_counts() {
        let file = std::env::temp_dir().join(format!("kreset-bench-lines-{}", std::process::id()));
        fs::write(&file, "a\nb\na\n").expect("written");
        let count = count_lines(&file, |line| line == "a\n").expect("read");
        fs::remove_file(&file).expect("removed");
        assert_eq!(count, 2);
        assert_eq!(count_lines(&file, |_| true).expect("no file, no lines"), 0);
    }

    #[test]
    fn the_port_of_others_is_not_traced() {
        let paths = Paths {
            tracer: "kreset-trace".into(),
            scratch: "/nowhere".into(),
        };
        let command = Subject::KresetElsewhere
            .command(&paths, TRACED, Path::new("/nowhere/output"))
            .expect("a command");
        let arguments: Vec<_> = command.get_args().collect();
        assert!(
            arguments.contains(&OTHER.to_string().as_ref()),
            "{arguments:?}"
        );
        assert!(
            !arguments.contains(&TRACED.to_string().as_ref()),
            "{arguments:?}"
        );
    }
}
