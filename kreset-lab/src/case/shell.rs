//! A shell on the client's host, while a scenario's network stays up.

use std::{
    env,
    io::{self, Write as _},
    process::Command,
    time::Duration,
};

use crate::{
    Lab, Side,
    error::{Context as _, Result},
};

/// How much longer tracers live while a person looks around.
pub(super) const LONGEST: Duration = Duration::from_hours(24);

/// Runs the user's shell in the client's namespace, and waits until it ends.
pub(super) fn open(lab: &Lab) -> Result<()> {
    let network = lab.network();
    let [client, broker] = Side::BOTH.map(|side| network.host(side).name());
    let welcome = format!(
        "This is the client's host, 10.77.1.2; the broker is 10.77.2.2:9092.\n\
         On the others: ip netns exec {} ..., ip netns exec {broker} ...\n\
         When this shell ends, what happened until then is judged, and all of it goes away.",
        network.router().name(),
    );
    writeln!(io::stderr(), "{welcome}").context(|| "write to the terminal".to_owned())?;
    let shell = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = Command::new(&shell);
    command
        .env("KRESET_LAB_CLIENT", client)
        .env("KRESET_LAB_BROKER", broker)
        .env("PS1", "kreset-lab client# ");
    let mut child = network.host(Side::Client).enter(|| {
        command
            .spawn()
            .context(|| format!("run {}", shell.display()))
    })?;
    child.wait().context(|| "wait for the shell".to_owned())?;
    Ok(())
}
