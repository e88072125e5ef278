//! A network namespace: another host, joined to this one by a cable that can be unplugged.

use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::server::Server;
use crate::worker::{Work, Worker};

/// Dropping it removes it.
pub(crate) struct Namespace {
    /// The name of the namespace, and of its end of the cable on this host.
    name: String,
    /// The address of this host on the cable.
    address: String,
    /// Where packets for the other host go during a partition: nowhere, not to a gateway.
    nowhere: String,
}

/// How many namespaces this program has made.
static NUMBER: AtomicU32 = AtomicU32::new(0);

// === impl Namespace ===

impl Namespace {
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let id = process::id();
        // The name of an interface has 15 characters at most.
        let name = format!("tb{id}n{number}");
        // A network of two hosts. Programs that run at the same time have others.
        let (network, host) = (id % 250, 4 * (number % 60) + 1);
        let address = format!("10.213.{network}.{host}");
        let peer = format!("10.213.{network}.{}", host + 1);
        ip(&format!("netns add {name}"));
        let nowhere = format!("blackhole 10.213.{network}.{}/30 metric 4096", host - 1);
        let namespace = Self {
            name,
            address,
            nowhere,
        };
        let Self {
            name,
            address,
            nowhere,
        } = &namespace;
        ip(&format!("route add {nowhere}"));
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {name}"
        ));
        ip(&format!("addr add {address}/30 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} addr add {peer}/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        namespace
    }

    /// Makes a server listen to the other host. Returns its URL there.
    pub(crate) fn listen(&self, server: &Server) -> String {
        let address = &self.address;
        server.command::<()>("CONFIG SET protected-mode no");
        server.command::<()>(&format!("CONFIG SET bind {address} port 6379"));
        format!("redis://{address}:6379")
    }

    /// Starts a worker on the other host.
    pub(crate) fn start(&self, work: &Work) -> Worker {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command.arg(std::env::current_exe().expect("this program"));
        work.start_by(command)
    }

    /// Loses all packets of both directions, or carries them again.
    pub(crate) fn set_partitioned(&self, is_partitioned: bool) {
        let state = if is_partitioned { "down" } else { "up" };
        ip(&format!("link set {} {state}", self.name));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for arguments in [
            format!("netns delete {}", self.name),
            format!("route delete {}", self.nowhere),
        ] {
            let mut delete = Command::new("ip");
            delete.args(arguments.split(' '));
            let _ = delete.stderr(Stdio::null()).status();
        }
    }
}

#[track_caller]
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("ip of the Debian package iproute2");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ip {arguments}, which needs root: {errors}"
    );
}
