//! `cargo xtask test`

use std::{
    process::Command,
    slice,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    arch::Architecture,
    dist, ebpf, exec, fleet, kernels,
    lab::TRACER_VARIABLE,
    lint,
    phases::Phases,
    setup, soak,
    workspace::{self, Tests},
};

/// Privileged test programs that run at once. They wait most of their time, each in network
/// namespaces of its own.
const AT_ONCE: usize = 2;
/// How long the soak takes.
const SOAK_MINUTES: u64 = 5;

/// Tests of filters of system calls and of namespaces, which an emulated program does not get.
const OF_THE_KERNEL: [&str; 5] = [
    "cli::top::tests::a_panic",
    "kernel::loader::tests::only_the_thread",
    "kernel::netns::",
    "run::confine::",
    "sink::tests::a_full_disk",
];

/// The packages of the programs that are shipped.
const SHIPPED: [&str; 3] = ["kreset", "kreset-common", "kreset-ebpf"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also soak the tracer for five minutes with an attacker
    ///
    /// Of 80,000 resets in an hour nine were not accounted for, so that a soak fails now and then.
    #[arg(long)]
    soak: bool,
    /// Run only the unit tests of what is shipped, compiled for this architecture; an emulator
    /// runs them if it is not this machine's
    #[arg(long, value_name = "ARCH", conflicts_with = "soak")]
    arch: Option<Architecture>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(architecture) = arguments.arch {
        return compiled_for(architecture);
    }
    let mut phases = Phases::default();
    let outcome = run_in(&mut phases, arguments);
    print!("\n{phases}");
    outcome
}

fn run_in(phases: &mut Phases, arguments: &Arguments) -> Result<()> {
    phases.run("setup", || {
        let emulator = Architecture::native()?.emulator();
        let programs = [&fleet::PACKAGES[..], &dist::CHECKERS, &[emulator]].concat();
        setup::run_with(setup::Purpose::Kafka, &programs)
    })?;
    phases.run("lints", lint::host_side)?;
    phases.run("BPF object", ebpf::check)?;
    let tests = workspace::tests()?;
    phases.run("compile tests", || compile(&tests))?;
    phases.run("tests without root", || {
        exec::run(named(&mut workspace::cargo("test"), &tests.plain).args(["--lib", "--bins"]))
    })?;
    phases.run("tests in documentation", || {
        exec::run(workspace::cargo("test").arg("--doc"))
    })?;
    phases.run("packages", dist::check)?;
    phases.run("tests with root, guest", || {
        privileged(&tests.privileged, arguments.soak)
    })
}

/// Runs the unit tests of what is shipped as static programs of that architecture.
fn compiled_for(architecture: Architecture) -> Result<()> {
    let emulator = (!architecture.is_native()).then(|| architecture.program_emulator());
    setup::run_with(setup::Purpose::Build, emulator.as_slice())?;
    architecture.set_up()?;
    let mut cargo = exec::cargo();
    architecture.prepare(&mut cargo);
    cargo
        .args(["test", "--locked", "--no-fail-fast", "--lib"])
        .args(["--target", architecture.static_target()])
        .args(SHIPPED.iter().flat_map(|package| ["--package", package]));
    if !architecture.is_native() {
        eprintln!(
            "test: left out, as an emulated program gets no filters and no namespaces: {}",
            OF_THE_KERNEL.join(", ")
        );
        let skips = OF_THE_KERNEL.iter().flat_map(|name| ["--skip", name]);
        cargo.args(["--", "--quiet"]).args(skips);
    }
    exec::run(&mut cargo)
}

/// Compiles all programs and tests.
fn compile(tests: &Tests) -> Result<()> {
    exec::run(&mut workspace::build())?;
    let mut command = workspace::cargo("test");
    named(&mut command, &tests.plain);
    named(&mut command, &tests.privileged);
    exec::run(command.args(["--lib", "--bins", "--no-run"]))
}

/// Runs a soak, if asked to, and then the tests with the kernel, as root, and beside them the tracer
/// in a guest with an old kernel.
///
/// The guest runs at low priority on what the others leave of the processors, and its clock does not
/// depend on how much that is; the others wait most of their time. The tests would starve a soak, so
/// that its receivers come too late.
///
/// Cargo compiled as the user who called, and runs as root what it compiled.
fn privileged(tests: &[String], soak: bool) -> Result<()> {
    // Asks for a password once, if at all, and not in two threads.
    exec::run(exec::as_root(&[])?.arg("true"))?;
    let tracer = exec::target_directory()?.join("debug/kreset-trace");
    let runner = exec::runner(&exec::as_root(&[(TRACER_VARIABLE, tracer.as_os_str())])?)?;
    // The programs with the most tests come last in the alphabet.
    let left = Mutex::new(tests.iter().rev());
    let failed = Mutex::new(Vec::new());
    let note = |name, outcome: Result<()>| {
        if let Err(error) = outcome {
            eprintln!("test: {error:#}");
            lock(&failed).push(name);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| note("guest", shown("guest", &mut kernels::oldest_with_entries())));
        if soak {
            let command = soak::of_tests(SOAK_MINUTES);
            note("soak", command.and_then(|mut it| shown("soak", &mut it)));
        }
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(test) = next(&left) {
                    note(test.as_str(), one(test, &runner));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs one test program to its end, and shows its output then.
fn one(test: &String, runner: &str) -> Result<()> {
    let mut command = workspace::cargo("test");
    command.args(["--quiet", "--config", runner]);
    named(&mut command, slice::from_ref(test));
    shown(test, &mut command)
}

/// Runs a command to its end, and shows its output then, under `name`.
fn shown(name: &str, command: &mut Command) -> Result<()> {
    let began = Instant::now();
    let output = command
        .output()
        .with_context(|| format!("`{}` did not start", exec::show(command)))?;
    let shown = [output.stdout, output.stderr].concat();
    println!(
        "{name}: {} s\n{}",
        began.elapsed().as_secs(),
        String::from_utf8_lossy(&shown)
    );
    ensure!(output.status.success(), "`{}` failed", exec::show(command));
    Ok(())
}

fn next<T>(left: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(left).next()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Selects test programs by name.
fn named<'a>(command: &'a mut Command, tests: &[String]) -> &'a mut Command {
    command.args(tests.iter().flat_map(|name| ["--test", name]))
}
