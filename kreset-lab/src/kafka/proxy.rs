//! Proxies instead of the router: two connections where the client sees one.

use std::{net::IpAddr, time::Duration};

use super::{process::Process, scratch::Scratch};
use crate::{
    Lab, PORT,
    error::Result,
    net::BROKER_V4,
    util::program::{self, HAPROXY, NGINX},
};

/// Where clients reach the proxy.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 1, 1));

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HAProxy in TCP mode.
    Haproxy,
    /// nginx with its stream module.
    Nginx,
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
