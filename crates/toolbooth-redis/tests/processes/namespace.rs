//! A network namespace: another host, joined to this one by a cable that can be unplugged.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{self, Command};
use std::sync::Once;

use crate::server::Server;
use crate::worker::{Work, Worker};

/// Dropping it removes it.
pub(crate) struct Namespace {
    /// The name of the namespace, and of its end of the cable on this host.
    name: String,
    network: Network,
}

/// A network of two hosts: the cable. Each has a number below [`NETWORKS`].
#[derive(Clone, Copy)]
struct Network(u32);

/// How many networks of four addresses there are in `10.213.0.0/16`.
const NETWORKS: u32 = 1 << 14;

// === impl Network ===

impl Network {
    /// Reserves a network that no other program uses.
    fn reserve() -> Self {
        let free = (0..NETWORKS).map(Self).find(|network| {
            let nowhere = network.nowhere();
            let added = run_ip(&format!("route add {nowhere}"));
            let is_used = added
                .as_ref()
                .is_err_and(|error| error.contains("File exists"));
            assert!(added.is_ok() || is_used, "{added:?}");
            !is_used
        });
        free.expect("a free network")
    }

    fn release(self) {
        let _ = run_ip(&format!("route delete {}", self.nowhere()));
    }

    /// Where packets for the other host go during a partition: nowhere, not to a gateway. There is
    /// one such route of each network, so it reserves the network, too.
    fn nowhere(self) -> String {
        format!("blackhole {}/30 metric 4096", self.address(0))
    }

    fn address(self, host: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 213, 0, 0).to_bits() + 4 * self.0 + host)
    }
}

// === impl Namespace ===

impl Namespace {
    pub(crate) fn new() -> Self {
        static CLEAN: Once = Once::new();
        CLEAN.call_once(remove_leftovers);
        let network = Network::reserve();
        let namespace = Self {
            // At most the 15 characters of an interface.
            name: format!("tb{}n{}", process::id(), network.0),
            network,
        };
        let name = &namespace.name;
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {name}"
        ));
        ip(&format!("addr add {}/30 dev {name}", network.address(1)));
        ip(&format!("link set {name} up"));
        ip(&format!(
            "-n {name} addr add {}/30 dev eth0",
            network.address(2)
        ));
        ip(&format!("-n {name} link set eth0 up"));
        namespace
    }

    /// Makes a server listen to the other host. Returns its URL there.
    pub(crate) fn listen(&self, server: &Server) -> String {
        let address = self.network.address(1);
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
        remove(&self.name, self.network);
    }
}

/// Removes a namespace, and then releases its network. Of several programs that remove it, one
/// succeeds.
fn remove(name: &str, network: Network) {
    // The cable of a namespace that is deleted may exist for a while.
    let _ = run_ip(&format!("link delete {name}"));
    if run_ip(&format!("netns delete {name}")).is_ok() {
        network.release();
    }
}

/// Removes the namespaces of programs like this one that were killed.
fn remove_leftovers() {
    for line in run_ip("netns list").expect("the namespaces").lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let parts = name
            .strip_prefix("tb")
            .and_then(|name| name.split_once('n'));
        let Some((id, network)) = parts else {
            continue;
        };
        let (Ok(id), Ok(network)) = (id.parse::<u32>(), network.parse()) else {
            continue;
        };
        // The program of a process that is dead, but not yet waited for, is gone, too.
        let is_dead = !Path::new(&format!("/proc/{id}/exe")).exists();
        if is_dead {
            remove(name, Network(network));
        }
    }
}

#[track_caller]
fn ip(arguments: &str) {
    run_ip(arguments).expect("ip, which needs root");
}

/// Returns the output, or the errors.
fn run_ip(arguments: &str) -> Result<String, String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("ip of the Debian package iproute2");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("ip {arguments}: {}", text(&output.stderr))),
    }
}
