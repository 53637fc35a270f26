//! What happens where the kernel or the rights lack something: verdicts stay
//! right with less evidence, or the tracer refuses in one sentence.

use std::{
    ffi::CStr,
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use kreset_lab::driver::Tracer;
use rustix::{
    fs::{XattrFlags, setxattr},
    mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount},
    process::{Resource, Rlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets},
};

use crate::{clock, say, scenario, system::CGROUP, tracer};

const BTF: &str = "/sys/kernel/btf/vmlinux";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// `nobody`.
const USER: u32 = 65_534;
/// The broker's port of all of these, one after the other.
const PORT: u16 = 9_119;

/// What is right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    /// It starts, and names an abort.
    Starts,
    /// It refuses.
    Refuses,
}

/// Tries each.
pub(crate) fn run_all() -> Result<()> {
    rights()?;
    file_capabilities()?;
    clock::steps()?;
    types()?;
    unmount(CGROUP, UnmountFlags::DETACH).context("unmount cgroup2")?;
    attempt("no cgroup v2", Right::Starts, tracer::command())?;
    mount(
        "cgroup2",
        CGROUP,
        "cgroup2",
        MountFlags::empty(),
        None::<&CStr>,
    )
    .context("mount cgroup2")?;
    // There is no way back.
    if fs::write(LOCKDOWN, "confidentiality").is_ok() {
        attempt("lockdown=confidentiality", Right::Starts, tracer::command())?;
    } else {
        say(&[
            "limit",
            "lockdown=confidentiality",
            "WRONG",
            "this kernel has no lockdown",
        ]);
    }
    Ok(())
}

/// As another user, with capabilities that only some of the programs take.
fn rights() -> Result<()> {
    // What systemd calls LimitMEMLOCK=infinity: who cannot raise it needs it
    // raised before 5.11.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, unlimited).context("RLIMIT_MEMLOCK")?;
    let both = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
    for (name, held, right) in [
        ("no capability", CapabilitySet::empty(), Right::Refuses),
        ("CAP_BPF", CapabilitySet::BPF, Right::Refuses),
        ("CAP_PERFMON", CapabilitySet::PERFMON, Right::Refuses),
        ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, Right::Refuses),
        ("CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE, Right::Refuses),
        (
            "CAP_DAC_READ_SEARCH",
            CapabilitySet::DAC_READ_SEARCH,
            Right::Refuses,
        ),
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN, Right::Starts),
        ("CAP_BPF,CAP_PERFMON", both, Right::Starts),
        (
            "CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN",
            both.union(CapabilitySet::NET_ADMIN),
            Right::Starts,
        ),
    ] {
        attempt(name, right, as_user(held)?)?;
    }
    Ok(())
}

/// The tracer as a user of its own with `held`, as ambient capabilities.
fn as_user(held: CapabilitySet) -> Result<Command> {
    let mut command = tracer::command();
    command.uid(USER).gid(USER);
    // Inherited by the child, where it outlives the change of user.
    rustix::thread::set_keep_capabilities(true).context("PR_SET_KEEPCAPS")?;
    let raise = move || {
        rustix::thread::set_capabilities(
            None,
            CapabilitySets {
                effective: held,
                permitted: held,
                inheritable: held,
            },
        )?;
        for capability in held {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec; only system calls are made.
    unsafe {
        command.pre_exec(raise);
    }
    Ok(command)
}

/// The tracer as another user, who gets its capabilities from the file. Such a
/// process may not look at itself through `/proc` as others may.
fn file_capabilities() -> Result<()> {
    const COPY: &str = "/tmp/kreset-trace";
    fs::copy(tracer::PROGRAM, COPY).context("a copy")?;
    fs::set_permissions(COPY, fs::Permissions::from_mode(0o755)).context("its mode")?;
    let held = CapabilitySet::BPF
        .union(CapabilitySet::PERFMON)
        .union(CapabilitySet::NET_ADMIN)
        .bits();
    // Kernel: `struct vfs_cap_data`, revision 2, and `VFS_CAP_FLAGS_EFFECTIVE`.
    let words = [0x0200_0001, held as u32, 0, (held >> 32) as u32, 0];
    let attribute: Vec<u8> = words
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    setxattr(COPY, "security.capability", &attribute, XattrFlags::empty())
        .context("security.capability")?;
    let mut command = tracer::command_of(COPY);
    command.uid(USER).gid(USER);
    attempt("capabilities of the file", Right::Starts, command)
}

/// Without BTF, with a broken one, and with one that lacks fields.
fn types() -> Result<()> {
    fs::write("/tmp/empty", []).context("a file")?;
    with_btf("no BTF", Path::new("/tmp/empty"), Right::Refuses)?;

    let mut lacking = fs::read(BTF).context(BTF)?;
    for name in [
        "bytes_sent",
        "first_tx_mstamp",
        "srtt_us",
        "icsk_probes_out",
        "saw_tstamp",
    ] {
        rename(&mut lacking, name);
    }
    fs::write("/tmp/lacking", &lacking).context("a file")?;
    with_btf(
        "BTF without optional fields",
        Path::new("/tmp/lacking"),
        Right::Starts,
    )?;

    rename(&mut lacking, "lsndtime");
    fs::write("/tmp/lacking", &lacking).context("a file")?;
    with_btf(
        "BTF without a needed field",
        Path::new("/tmp/lacking"),
        Right::Refuses,
    )
}

fn with_btf(name: &str, file: &Path, right: Right) -> Result<()> {
    mount_bind(file, BTF).context("mount a file over the kernel's BTF")?;
    let outcome = attempt(name, right, tracer::command());
    unmount(BTF, UnmountFlags::DETACH).context("unmount it")?;
    outcome
}

/// Gives a member of BTF another name.
fn rename(btf: &mut [u8], name: &str) {
    let wanted = format!("\0{name}\0");
    let offsets: Vec<usize> = btf
        .windows(wanted.len())
        .enumerate()
        .filter_map(|(at, found)| (found == wanted.as_bytes()).then_some(at + 1))
        .collect();
    for offset in offsets {
        btf[offset] = b'X';
    }
}

fn attempt(name: &str, right: Right, command: Command) -> Result<()> {
    match tracer::start(command)? {
        Err(refused) => {
            let ok = right == Right::Refuses && refused.is_orderly();
            let outcome = if ok { "ok" } else { "WRONG" };
            let status = refused.status.unwrap_or(-1);
            let complaint = format!("exit {status}: {}", refused.complaint);
            say(&["limit", name, outcome, &complaint]);
        }
        Ok(tracer) => {
            let state = state(&tracer);
            let client = scenario::abort(PORT, false)?;
            let event = tracer::wait_for(&tracer, Duration::from_secs(10), |event| {
                tracer::is_of_client(event, client)
            });
            let verdict = event.map_or_else(|| "no event".to_owned(), |event| event.answer());
            let ok = right == Right::Starts
                && ["broker_originated/aborted", "indeterminate"].contains(&verdict.as_str());
            let outcome = if ok { "ok" } else { "WRONG" };
            say(&[
                "limit",
                name,
                outcome,
                &format!("{state}; an abort is {verdict}"),
            ]);
            let _summary = tracer::end(tracer)?;
        }
    }
    Ok(())
}

/// The source in use, what is degraded, and what is left of its rights.
fn state(tracer: &Tracer) -> String {
    let start = tracer::wait_for(tracer, Duration::ZERO, |event| event.kind == "start");
    let start = start.unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&start.line).unwrap_or_default();
    let degraded: Vec<&str> = json["degraded"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|degraded| degraded["feature"].as_str())
        .collect();
    let status = fs::read_to_string(format!("/proc/{}/status", tracer.id())).unwrap_or_default();
    let field = |name: &str| {
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        value.unwrap_or("?").to_owned()
    };
    format!(
        "packet evidence {}, without {}; capabilities {} no_new_privs {} seccomp {}",
        json["packet_evidence"].as_str().unwrap_or("?"),
        if degraded.is_empty() {
            "nothing".to_owned()
        } else {
            degraded.join(" ")
        },
        field("CapPrm"),
        field("NoNewPrivs"),
        field("Seccomp"),
    )
}
