//! Proxies instead of the router: two connections where the client sees one.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{process::Process, scratch::Scratch};
use crate::{
    Lab, PORT, Side,
    error::Result,
    net::BROKER_V4,
    util::program::{self, HAPROXY, NGINX},
};

/// Where clients reach the proxy.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1));

/// How long HAProxy may take to start.
const START: Duration = Duration::from_secs(30);

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HAProxy in TCP mode.
    Haproxy,
    /// nginx with its stream module.
    Nginx,
}

/// Starts HAProxy at an address of its own on the broker's host, before a broker that listens at
/// port `behind`, which tracers do not see. `SIGUSR2` has it start another
/// worker, and end the one before, which closes what connections it has left after half a second.
pub(crate) fn start_beside(
    lab: &Lab,
    scratch: &Scratch,
    address: Ipv4Addr,
    behind: u16,
) -> Result<Process> {
    let file = scratch.write(
        "haproxy-beside.cfg",
        format!(
            "global\n\
             \tlog stdout format raw local0\n\
             \thard-stop-after 500ms\n\
             defaults\n\
             \tmode tcp\n\
             \tlog global\n\
             \toption tcplog\n\
             \ttimeout connect 5s\n\
             \ttimeout client 1h\n\
             \ttimeout server 1h\n\
             listen kafka\n\
             \tbind {address}:{PORT}\n\
             \tserver broker {BROKER_V4}:{behind}\n"
        ),
    )?;
    let mut command = program::command(HAPROXY)?;
    command.arg("-W").arg("-f").arg(file);
    let host = lab.network().host(Side::Broker);
    let mut process = Process::start(lab, host, "haproxy", &mut command)?;
    process.wait_for("a worker of HAProxy", 0, START, |line| {
        line.contains("Loading success")
    })?;
    Ok(process)
}

/// Starts a proxy in the router that ends connections which were silent for `idle`.
pub(crate) fn start(lab: &Lab, scratch: &Scratch, kind: Kind, idle: Duration) -> Result<Process> {
    let ms = idle.as_millis();
    let mut command = match kind {
        Kind::Haproxy => {
            let file = scratch.write(
                "haproxy.cfg",
                format!(
                    "global\n\
                     \tlog stdout format raw local0\n\
                     defaults\n\
                     \tmode tcp\n\
                     \tlog global\n\
                     \toption tcplog\n\
                     \ttimeout connect 5s\n\
                     \ttimeout client {ms}ms\n\
                     \ttimeout server {ms}ms\n\
                     listen kafka\n\
                     \tbind {ADDRESS}:{PORT}\n\
                     \tserver broker {BROKER_V4}:{PORT}\n"
                ),
            )?;
            let mut command = program::command(HAPROXY)?;
            command.arg("-db").arg("-f").arg(file);
            command
        }
        Kind::Nginx => {
            let directory = scratch.path().display();
            let file = scratch.write(
                "nginx.conf",
                format!(
                    "load_module modules/ngx_stream_module.so;\n\
                     daemon off;\n\
                     master_process off;\n\
                     pid {directory}/nginx.pid;\n\
                     error_log stderr info;\n\
                     events {{}}\n\
                     stream {{\n\
                     \tproxy_timeout {ms}ms;\n\
                     \tserver {{\n\
                     \t\tlisten {ADDRESS}:{PORT};\n\
                     \t\tproxy_pass {BROKER_V4}:{PORT};\n\
                     \t}}\n\
                     }}\n"
                ),
            )?;
            let mut command = program::command(NGINX)?;
            // Modules are looked for below the prefix.
            command.args(["-p", "/usr/share/nginx", "-c"]).arg(file);
            command
        }
    };
    let name = match kind {
        Kind::Haproxy => "haproxy",
        Kind::Nginx => "nginx",
    };
    let process = Process::start(lab, lab.network().router(), name, &mut command)?;
    lab.network().router().wait_for_listener(PORT, lab.stop())?;
    Ok(process)
}
