//! `kreset-trace probe` against devices whose timer and place are known. As root (which makes the
//! networks; the probe itself runs without privileges), with the program that `KRESET_TRACE` names.

#![expect(
    clippy::panic,
    reason = "a test that meets what it did not expect has to fail"
)]

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use kreset_lab::{
    Error, Result,
    net::{Namespace, chain::Chain},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use serde_json::Value;

mod broker;
mod shorter_timers;
mod watched;

use broker::Broker;
use shorter_timers::{HALF_CLOSED, UNANSWERED};

const PORT: u16 = 9092;

/// The timers of the devices, seconds.
const TIMER: u32 = 6;

/// A user that may do nothing.
const NOBODY: u32 = 65_534;

/// Copied to where any user may run it.
fn program() -> PathBuf {
    static COPY: Mutex<Option<(tempfile::TempDir, PathBuf)>> = Mutex::new(None);
    let mut copy = COPY.lock().expect("no test panics here");
    if let Some((_, path)) = &*copy {
        return path.clone();
    }
    let given = env::var_os("KRESET_TRACE").expect("KRESET_TRACE names the program");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kreset-trace");
    std::fs::copy(given, &path).expect("a copy");
    std::fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("its owner");
    *copy = Some((directory, path.clone()));
    path
}

/// What a probe said, and how it ended.
#[derive(Debug)]
struct Said {
    exit: Option<i32>,
    event: Value,
    #[expect(dead_code, reason = "shown where a test fails")]
    lines: String,
    took: Duration,
}

impl Said {
    fn text(&self, pointer: &str) -> &str {
        self.event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> Option<f64> {
        self.event.pointer(pointer).and_then(Value::as_f64)
    }

    fn interval(&self) -> (f64, f64) {
        (
            self.number("/survived_idle_ms").unwrap_or(f64::NAN) / 1e3,
            self.number("/fatal_idle_ms").unwrap_or(f64::NAN) / 1e3,
        )
    }

    fn hop(&self) -> Option<u64> {
        self.event.pointer("/location/hop").and_then(Value::as_u64)
    }

    fn has(&self, pointer: &str, expected: impl Into<Value>) {
        let found = self.event.pointer(pointer);
        assert_eq!(found, Some(&expected.into()), "{pointer}: {self:#?}");
    }

    /// The device is on the way of some connections, and others came through.
    fn has_survivors_at(&self, hop: u64) {
        self.has("/location/hop", hop);
        let survivors = self.number("/survivors");
        assert!(survivors.is_some_and(|it| it >= 2.0), "{self:#?}");
    }

    fn exited(&self, code: i32) {
        assert_eq!(self.exit, Some(code), "{self:#?}");
    }

    /// The interval holds the timer. On a machine that is idle it is as narrow as was asked for, a
    /// hundredth of the timer; on one that is busy, as narrow as the probe could keep time.
    fn holds(&self, timer: f64) {
        let (survived, died) = self.interval();
        assert!(survived < timer && timer <= died, "{timer}: {self:#?}");
        assert!(died - survived <= timer / 10.0, "{timer}: {self:#?}");
    }
}

fn ran<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::Io {
        context: "run the program".to_owned(),
        source,
    })
}

/// A probe as `user`.
fn command(user: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .arg("probe")
        .args(arguments)
        .uid(user)
        .gid(user)
        .stdin(Stdio::null());
    command
}

/// Runs a probe on `host` as `user`, and reads what it writes as JSON.
fn run(host: &Namespace, user: u32, arguments: &[&str]) -> Result<Said> {
    let common = ["--format", "json", "--give-up", "3s", "--rate", "100"];
    let arguments = [arguments, &common].concat();
    let began = Instant::now();
    let output = host.enter(|| ran(command(user, &arguments).output()))?;
    let lines = String::from_utf8_lossy(&output.stderr).into_owned();
    let event = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Ok(Said {
        exit: output.status.code(),
        event,
        lines,
        took: began.elapsed(),
    })
}

fn probe_as(user: u32, host: &Namespace, broker: IpAddr, more: &[&str]) -> Result<Said> {
    let broker = SocketAddr::new(broker, PORT).to_string();
    run(host, user, &[&[broker.as_str()], more].concat())
}

const LADDER: [&str; 4] = ["--from", "2s", "--up-to", "12s"];

fn probe(host: &Namespace, broker: IpAddr, more: &[&str]) -> Result<Said> {
    probe_as(NOBODY, host, broker, &[&LADDER, more].concat())
}

/// Keeps a router from saying that a TTL ran out.
const QUIET: &str = "table inet quiet {
    chain sent {
        type filter hook output priority 0;
        icmp type time-exceeded drop
    }
}
";

/// Loses one packet in a hundred.
const LOSSY: &str = "table inet lossy {
    chain passing {
        type filter hook forward priority 10;
        numgen random mod 100 == 0 drop
    }
}
";

const RESETS: &str = "reject with tcp reset";
const DROPS: &str = "drop";

/// Runs `work` for all of `cases`, some side by side: they wait most of the time. More at once
/// would take the processors from each other, and no timer of user space be kept.
fn side_by_side<T: Sync>(cases: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    const AT_ONCE: usize = 4;
    let left = Mutex::new(cases.iter());
    let next = || left.lock().expect("no test panics here").next();
    thread::scope(|scope| {
        let work_on = || -> Result<()> {
            while let Some(case) = next() {
                work(case)?;
            }
            Ok(())
        };
        let workers = [(); AT_ONCE].map(|()| scope.spawn(work_on));
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

/// Every kind of device at each of four routers, in both families.
#[test]
fn timer_behavior_and_hop_are_right_wherever_the_device_is() -> Result<()> {
    let mut cases = Vec::new();
    // Those that take longest begin first.
    for what_then in [DROPS, RESETS] {
        for router in 1..=4 {
            cases.push((what_then, router, router % 2 == 0));
        }
    }
    println!(
        "| device | at hop | family | timer | measured | behavior | hop said | connections | time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    side_by_side(&cases, |&(what_then, router, v6)| {
        let chain = Chain::new(4, false)?;
        chain.device(router, TIMER, what_then)?;
        let broker = Broker::start(&chain, None)?;
        let said = probe(chain.client(), chain.broker_address(v6), &[])?;
        let (survived, died) = said.interval();
        let served = broker.served();
        println!(
            "| {what_then} | {router} | {} | {TIMER} s | {survived:.2} to {died:.2} s | {} | {} to {} | {} | {:.1} s |",
            if v6 { "IPv6" } else { "IPv4" },
            said.text("/behavior"),
            said.hop().unwrap_or_default(),
            said.number("/location/hop_at_most").unwrap_or_default(),
            served.connections,
            said.took.as_secs_f64(),
        );
        said.exited(4);
        said.holds(TIMER.into());
        said.has("/behavior", behavior_of(what_then));
        said.has("/location/hop", router);
        said.has("/location/broker_ttl", 5);
        let address = said.text(&format!("/location/hops/{}/addresses/0", router - 1));
        assert_eq!(address, chain.router_address(router, v6).to_string());
        assert!((12..=24).contains(&served.most), "{served:?}: {said:#?}");
        assert_eq!(served.bytes, 0, "{served:?}");
        Ok(())
    })
}

#[test]
fn no_device_is_none() -> Result<()> {
    let chain = Chain::new(4, false)?;
    let broker = Broker::start(&chain, None)?;
    for way in ["keepalive", "request"] {
        let more = ["--use", way, "--up-to", "5s"];
        let said = probe_as(
            NOBODY,
            chain.client(),
            chain.broker_address(false),
            &[&["--from", "2s"], &more[..]].concat(),
        )?;
        said.exited(0);
        said.has("/result", "none");
        let sent = broker.served();
        assert_eq!(sent.bytes > 0, way == "request", "{sent:?}");
        assert_eq!(sent.resets, 0, "{sent:?}");
    }
    Ok(())
}

#[test]
fn a_broker_that_closes_first_is_told_from_a_device() -> Result<()> {
    let chain = Chain::new(2, false)?;
    chain.device(1, 9, RESETS)?;
    chain.sysctl(1, &HALF_CLOSED)?;
    let broker = Broker::start(&chain, Some(Duration::from_secs(5)))?;
    let with = |limit: &str| {
        probe(
            chain.client(),
            chain.broker_address(false),
            &["--broker-max-idle", limit],
        )
    };
    let own = with("5s")?;
    own.exited(0);
    own.has("/result", "broker_timer");
    // On a busy machine the broker itself is late.
    let closed_after = broker.served().closed_after.expect("it closes");
    own.holds(closed_after.as_secs_f64());
    let other = with("10m")?;
    other.exited(4);
    other.has("/result", "closed");
    Ok(())
}

#[test]
fn silent_routers_equal_paths_and_loss_do_not_confuse_it() -> Result<()> {
    type Case = (&'static str, fn(&Chain) -> Result<()>, fn(&Said, &Chain));
    let cases: [Case; 6] = [
        (
            "a router sends no ICMP",
            |chain| {
                chain.device(3, TIMER, RESETS)?;
                chain.rules(2, QUIET)
            },
            |said, _| {
                said.has("/location/hop", 3);
                said.has("/location/hops/1/addresses", Vec::<Value>::new());
            },
        ),
        (
            "the router behind a device that drops sends no ICMP",
            |chain| {
                chain.device(2, TIMER, DROPS)?;
                chain.rules(3, QUIET)
            },
            |said, _| {
                said.has("/location/hop", 2);
                said.has("/location/hop_at_most", 4);
            },
        ),
        (
            "two equal paths before the device",
            |chain| chain.device(3, TIMER, RESETS),
            |said, chain| {
                said.has("/location/hop", 3);
                let hop = said
                    .event
                    .pointer("/location/hops/1/addresses")
                    .and_then(Value::as_array);
                let both = [2, 0].map(|router| chain.router_address(router, false).to_string());
                let seen: Vec<_> = hop
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                assert_eq!(seen.len(), 2, "{said:#?}");
                assert!(both.iter().all(|it| seen.contains(&it.as_str())));
            },
        ),
        (
            "the device is on one of two equal paths",
            |chain| chain.device(2, TIMER, RESETS),
            |said, _| said.has_survivors_at(2),
        ),
        (
            "a device that drops is on one of two equal paths",
            |chain| chain.device(2, TIMER, DROPS),
            |said, _| {
                said.has("/behavior", "blackholed");
                said.has_survivors_at(2);
            },
        ),
        (
            "one packet in a hundred is lost, and other timers are short",
            |chain| {
                chain.device(2, TIMER, RESETS)?;
                chain.sysctl(2, &UNANSWERED)?;
                chain.sysctl(2, &HALF_CLOSED)?;
                chain.rules(1, LOSSY)
            },
            |said, _| said.has("/location/hop", 2),
        ),
    ];
    side_by_side(&cases, |(name, build, check)| {
        let chain = Chain::new(4, name.contains("equal paths"))?;
        build(&chain)?;
        let _broker = Broker::start(&chain, None)?;
        let said = probe(chain.client(), chain.broker_address(false), &[])?;
        println!(
            "{name}: {:?}, hop {:?}, {:.1} s",
            said.interval(),
            said.hop(),
            said.took.as_secs_f64()
        );
        assert_eq!(said.exit, Some(4), "{name}: {said:#?}");
        if name.contains("one of two equal") {
            // Half of the connections say nothing: it is known less exactly.
            let (survived, died) = said.interval();
            assert!(
                (survived.is_nan() || survived < TIMER.into()) && died >= TIMER.into(),
                "{said:#?}"
            );
        } else {
            said.holds(TIMER.into());
        }
        check(&said, &chain);
        Ok(())
    })
}

/// The behavior that a device of [`Chain::device`] should be said to have.
fn behavior_of(what_then: &str) -> &'static str {
    if what_then == RESETS {
        "reset_on_send"
    } else {
        "blackholed"
    }
}

#[test]
fn privileges_add_the_ttl_of_the_reset() -> Result<()> {
    let chain = Chain::new(4, false)?;
    chain.device(3, TIMER, RESETS)?;
    let _broker = Broker::start(&chain, None)?;
    let said = probe_as(0, chain.client(), chain.broker_address(true), &LADDER)?;
    said.has("/location/reset_distance", 3);
    said.has("/location/handshake_ttl", 60);
    Ok(())
}

#[test]
fn a_keepalive_is_proven_and_an_event_too() -> Result<()> {
    let chain = Chain::new(2, false)?;
    chain.device(1, TIMER, RESETS)?;
    let _broker = Broker::start(&chain, None)?;
    let to = chain.broker_address(false);
    let hold = |more: &[&str]| {
        probe_as(
            NOBODY,
            chain.client(),
            to,
            &[&["--up-to", "10s", "--from", "1s"], more].concat(),
        )
    };
    let good = hold(&["--keepalive", "3s", "--keepalive-interval", "2s"])?;
    good.exited(0);
    good.has("/hold/holds", true);
    good.has("/hold/silent/0/outcome", "reset_on_use");
    let bad = hold(&["--keepalive", "8s", "--keepalive-interval", "2s"])?;
    bad.exited(4);
    let client = hold(&["--like", "librdkafka", "--max-idle", "4s"])?;
    client.has("/hold/kept/0/outcome", "closed_here");

    let measured = probe(chain.client(), to, &["--no-locate"])?;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "{}", measured.event).expect("it is written");
    std::fs::set_permissions(
        file.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("its owner");
    let path = file.path().to_str().expect("a path");
    let again = run(chain.client(), NOBODY, &["--from-event", path])?;
    again.exited(4);
    again.has("/result", "device");
    again.has("/hold/holds", true);
    Ok(())
}

/// The broker's name, where [`name_the_broker`] was called.
const NAME: &str = "broker-2";

/// Gives the broker a name with both of its addresses, on the calling thread and in what it
/// starts.
fn name_the_broker(chain: &Chain) -> Result<()> {
    let failed = |source: io::Error| Error::Io {
        context: "replace /etc/hosts".to_owned(),
        source,
    };
    let mut hosts = tempfile::NamedTempFile::new().map_err(failed)?;
    for v6 in [true, false] {
        writeln!(hosts, "{} {NAME}", chain.broker_address(v6)).map_err(failed)?;
    }
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(hosts.path(), readable).map_err(failed)?;
    let replace = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        let bind = MsFlags::MS_BIND;
        mount(
            Some(hosts.path()),
            "/etc/hosts",
            None::<&str>,
            bind,
            None::<&str>,
        )
    };
    // The mount keeps the file when its name is gone.
    replace().map_err(|error| failed(error.into()))
}

/// Runs a probe of the broker by its name.
fn run_by_name(chain: &Chain, stdout: Stdio, more: &[&str]) -> Result<Output> {
    let silences = ["--from", "1s", "--up-to", "3s"];
    chain.client().enter(|| {
        name_the_broker(chain)?;
        let child = command(NOBODY, &[NAME, "--rate", "100", "--no-locate"])
            .args(silences)
            .args(more)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn();
        ran(child.and_then(std::process::Child::wait_with_output))
    })
}

#[test]
fn many_connections_to_several_addresses_are_meant() -> Result<()> {
    let chain = Chain::new(1, false)?;
    let broker = Broker::start(&chain, None)?;
    let [v4, v6] = [false, true].map(|v6| SocketAddr::new(chain.broker_address(v6), PORT));

    let refused = run_by_name(&chain, Stdio::piped(), &["--connections", "40"])?;
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(
        text.contains("80 connections at once are more than 64"),
        "{text}"
    );
    assert!(text.contains("--yes-many"), "{text}");
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert_eq!(broker.served().connections, 0);

    let one = v6.ip().to_string();
    let chosen = ["--connections", "40", "--address", &one, "--format", "json"];
    let chosen = run_by_name(&chain, Stdio::piped(), &chosen)?;
    let event: Value = serde_json::from_slice(&chosen.stdout).expect("one event");
    assert_eq!(event.pointer("/broker/address"), Some(&Value::from(one)));
    assert_eq!(broker.served().connections, 40);

    let both = ["--connections", "40", "--yes-many"];
    let both = run_by_name(&chain, Stdio::piped(), &both)?;
    assert_eq!(both.status.code(), Some(0), "{both:?}");
    assert_eq!(broker.served().connections, 120);
    assert_eq!(broker.served().most, 80);
    broker.wait_until(|served| served.closed == 120);
    // A pipe gets lines, without colors, each with its address.
    let (out, lines) = (
        String::from_utf8_lossy(&both.stdout),
        String::from_utf8_lossy(&both.stderr),
    );
    assert!(!out.contains(['\u{1b}', '\r']), "{out:?}");
    assert!(!lines.contains(['\u{1b}', '\r']), "{lines:?}");
    for address in [v4, v6] {
        assert!(out.contains(&format!("({address})")), "{address}: {out}");
        let alive = lines
            .lines()
            .filter(|line| line.starts_with(&format!("{address}: silent for ")))
            .filter(|line| line.ends_with(": alive"));
        assert_eq!(alive.count(), 40, "{address}: {lines}");
    }
    Ok(())
}

#[test]
fn a_reader_that_went_away_is_no_failure() -> Result<()> {
    let chain = Chain::new(1, false)?;
    let broker = Broker::start(&chain, None)?;
    let (reader, writer) = UnixStream::pair().expect("a pair");
    drop(reader);
    let stdout = Stdio::from(std::os::fd::OwnedFd::from(writer));
    let output = run_by_name(&chain, stdout, &["--connections", "2"])?;
    let lines = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{lines}");
    assert!(!lines.contains("kreset-trace:"), "{lines}");
    broker.wait_until(|served| served.closed == 4);
    Ok(())
}

/// What is on a terminal after these bytes, without empty lines.
fn screen(bytes: &[u8]) -> Vec<String> {
    let [height, width] = [60, 80].map(|size| NonZeroU16::new(size).expect("it has a size"));
    let mut terminal = vt100::Parser::new(height, width, 0);
    terminal.process(bytes);
    let lines = terminal.screen().rows(0, 80);
    lines.filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn ctrl_c_leaves_nothing_but_results_on_a_terminal() -> Result<()> {
    let chain = Chain::new(1, false)?;
    let broker = Broker::start(&chain, None)?;
    // `script` has a terminal, which turns the byte of Ctrl-C into a signal and shows `^C`.
    let command = format!(
        "stty rows 60 cols 80; exec {} probe {NAME} --from 1s --up-to 10m --connections 4",
        program().display()
    );
    let mut child = chain.client().enter(|| {
        name_the_broker(&chain)?;
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        ran(child)
    })?;
    let mut keyboard = child.stdin.take().expect("a pipe");
    let mut out = child.stdout.take().expect("a pipe");
    let mut bytes = Vec::new();
    let mut is_pressed = false;
    loop {
        let mut more = [0; 4_096];
        match out.read(&mut more).expect("a pipe") {
            0 => break,
            length => bytes.extend(&more[..length]),
        }
        let bars = screen(&bytes);
        let so_far = bars.iter().filter(|line| line.contains("so far 1 alive"));
        if !is_pressed && so_far.count() == 2 {
            keyboard.write_all(b"\x03").expect("it reads");
            is_pressed = true;
        }
    }
    let status = child.wait().expect("it ends");
    let lines = screen(&bytes);
    assert_eq!(status.code(), Some(1), "{lines:#?}");
    let is_bar = |line: &&String| line.contains("round 1") || line.contains("of at most");
    assert_eq!(lines.iter().filter(is_bar).count(), 0, "{lines:#?}");
    for v6 in [false, true] {
        let address = SocketAddr::new(chain.broker_address(v6), PORT);
        let result = format!("PROBE {NAME}:{PORT} ({address})");
        let results = lines.iter().filter(|line| line.contains(&result));
        assert_eq!(results.count(), 1, "{result}: {lines:#?}");
    }
    broker.wait_until(|served| served.closed == 8);
    Ok(())
}

#[test]
fn an_interrupt_gives_what_is_known() -> Result<()> {
    let chain = Chain::new(1, false)?;
    let broker = Broker::start(&chain, None)?;
    let address = SocketAddr::new(chain.broker_address(false), PORT).to_string();
    let mut child = chain.client().enter(|| {
        let child = Command::new(program())
            .args(["probe", &address, "--from", "1s", "--up-to", "10m"])
            .args(["--connections", "8"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        ran(child)
    })?;
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut lines = lines.map_while(std::result::Result::ok);
    assert!(lines.any(|line| line.starts_with("silent for ")));
    broker.wait_until(|served| served.connections == 8);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let _rest = lines.count();
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("stopped before"), "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
    broker.wait_until(|served| served.closed == served.connections);
    assert_eq!(broker.served().resets, 0);
    Ok(())
}
