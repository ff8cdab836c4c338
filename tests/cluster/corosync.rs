//! Real corosync daemons, each in a namespace of its own, and clusters of them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{PATIENCE, Running};
use crate::namespace::{Namespace, only_child, wait_for};

const CONFIG: &str = "/run/corosync/corosync.conf";
const LOG: &str = "/run/corosync/corosync.log";

/// The time without a token after which corosync declares a node lost.
pub const TOKEN_MS: u64 = 1000;

/// A namespace with a corosync daemon.
pub struct Node {
    // Dropped before the namespace, which ends only when all its processes have been reaped.
    daemon: Option<Daemon>,
    pub namespace: Namespace,
}

/// A running corosync daemon.
struct Daemon {
    _outside: Running,
    pid: Pid,
}

impl Node {
    /// Starts a node that is alone in its cluster, and waits until it is quorate.
    pub fn alone() -> Node {
        let mut node = Node::silent();
        node.start();
        node.wait_quorate(true);
        node
    }

    /// Makes the same node without starting corosync.
    pub fn silent() -> Node {
        Node::prepare(&["127.0.0.1"])
    }

    /// Makes a namespace in which corosync is configured and not started.
    fn prepare(addresses: &[&str]) -> Node {
        let node = Node { daemon: None, namespace: Namespace::new() };
        fs::write(node.namespace.path(CONFIG), config(addresses)).unwrap();
        node
    }

    /// Starts corosync and waits until it answers.
    pub fn start(&mut self) {
        // Started by a shell, because nsenter itself would stop together with a frozen child, and never reap it.
        let mut shell = self.namespace.command("sh");
        shell.args(["-c", "corosync -f -c \"$0\" & wait", CONFIG]);
        let outside = Running::start_with_one_pipe(shell);
        let pid = only_child(outside.pid()).and_then(|shell| only_child(shell as u32));
        let pid = Pid::from_raw(pid.unwrap_or_else(|| panic!("corosync did not start: {}", self.log())));
        self.daemon = Some(Daemon { _outside: outside, pid });
        self.wait("corosync to answer", || {
            self.namespace.run("corosync-quorumtool -s").status.code() != Some(1)
        });
    }

    /// Kills corosync.
    pub fn kill(&mut self) {
        drop(self.daemon.take().expect("corosync runs"));
    }

    /// Stops corosync by SIGSTOP, so that it does not answer.
    pub fn freeze(&self) {
        kill(self.daemon.as_ref().expect("corosync runs").pid, Signal::SIGSTOP).unwrap();
    }

    /// Continues a frozen corosync.
    pub fn thaw(&self) {
        kill(self.daemon.as_ref().expect("corosync runs").pid, Signal::SIGCONT).unwrap();
    }

    /// Sets the number of votes that the cluster expects. This node has one vote.
    pub fn expect_votes(&self, votes: u32) {
        self.namespace.must(&format!("corosync-cmapctl -s quorum.expected_votes u32 {votes}"));
    }

    /// Makes the node lose quorum.
    pub fn lose_quorum(&self) {
        self.expect_votes(3);
        self.wait_quorate(false);
    }

    /// Makes the node quorate again.
    pub fn regain_quorum(&self) {
        self.expect_votes(1);
        self.wait_quorate(true);
    }

    /// Waits until the node is quorate, or not quorate.
    pub fn wait_quorate(&self, quorate: bool) {
        let wanted = if quorate { "Quorate:          Yes" } else { "Quorate:          No" };
        self.wait(wanted, || {
            let output = self.namespace.run("corosync-quorumtool -s");
            String::from_utf8_lossy(&output.stdout).contains(wanted)
        });
    }

    /// Returns the keys below a prefix as corosync-cmapctl shows them. Maps the name without the prefix to "(type) =
    /// value".
    pub fn keys(&self, prefix: &str) -> BTreeMap<String, String> {
        let output = self.namespace.run(&format!("corosync-cmapctl -b {prefix}"));
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.strip_prefix(prefix)?.split_once(' '))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Waits until cmap has no keys of any supervisor.
    pub fn wait_for_no_keys(&self) {
        self.wait("the keys to go", || self.keys("resources.process.").is_empty());
    }

    /// Returns all that corosync has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.namespace.path(LOG)).unwrap_or_default()
    }

    /// Returns the failures that corosync's watchdog service has logged.
    pub fn failures(&self) -> Vec<String> {
        let of_interest =
            |line: &&str| line.contains("[WD ") && (line.contains("failed!") || line.contains("too late"));
        self.log().lines().filter(of_interest).map(str::to_owned).collect()
    }

    /// Waits until a condition is true. `what` describes it for the message on failure.
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        if wait_for(|| condition().then_some(())).is_none() {
            panic!(
                "waited {PATIENCE:?} for {what}\nkeys: {:#?}\ncorosync: {}",
                self.keys("resources.process."),
                self.log()
            );
        }
    }
}

/// Returns a configuration of corosync for nodes with these addresses.
fn config(addresses: &[&str]) -> String {
    let nodes: String = (1..)
        .zip(addresses)
        .map(|(id, address)| format!("node {{\nring0_addr: {address}\nnodeid: {id}\nname: node{id}\n}}\n"))
        .collect();
    format!(
        "totem {{\nversion: 2\ncluster_name: libsam\ntransport: knet\ncrypto_cipher: none\ncrypto_hash: none\n\
         token: {TOKEN_MS}\ntoken_coefficient: 0\n}}\n\
         nodelist {{\n{nodes}}}\n\
         quorum {{\nprovider: corosync_votequorum\nexpected_votes: {}\n}}\n\
         resources {{\nwatchdog_device: off\n}}\n\
         system {{\nmove_to_root_cgroup: no\n}}\n\
         logging {{\nto_stderr: no\nto_syslog: no\nto_logfile: yes\nlogfile: {LOG}\ntimestamp: hires\n}}\n",
        addresses.len()
    )
}

/// Three nodes connected by a bridge.
pub struct Cluster {
    bridge: Namespace,
    pub nodes: Vec<Node>,
}

const ADDRESSES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

impl Cluster {
    /// Starts three nodes, and waits until they form one quorate partition.
    pub fn of_three() -> Cluster {
        let bridge = Namespace::new();
        bridge.must("ip link add bridge type bridge forward_delay 0 stp_state 0");
        bridge.must("ip link set bridge up");
        let mut nodes = Vec::new();
        for (index, address) in ADDRESSES.iter().enumerate() {
            let mut node = Node::prepare(&ADDRESSES);
            let ip = |arguments: &str| {
                // Runs in the network namespace of the bridge, but with the pids of the test's namespace.
                let status = std::process::Command::new("nsenter")
                    .args(["--net", "--target", &bridge.first.to_string(), "--", "ip"])
                    .args(arguments.split_whitespace())
                    .status();
                assert!(status.unwrap().success(), "ip {arguments}");
            };
            ip(&format!("link add port{index} type veth peer name eth0 netns {}", node.namespace.first));
            ip(&format!("link set port{index} master bridge up"));
            node.namespace.must(&format!("ip address add {address}/24 dev eth0"));
            node.namespace.must("ip link set eth0 up");
            node.start();
            nodes.push(node);
        }
        let cluster = Cluster { bridge, nodes };
        cluster.wait_whole();
        cluster
    }

    /// Disconnects one node from the bridge.
    pub fn cut_off(&self, node: usize) {
        self.bridge.must(&format!("ip link set port{node} down"));
    }

    /// Reconnects the node, and waits until the cluster is whole.
    pub fn heal(&self, node: usize) {
        self.bridge.must(&format!("ip link set port{node} up"));
        self.wait_whole();
    }

    /// Waits until every node sees three votes and is quorate.
    fn wait_whole(&self) {
        for node in &self.nodes {
            node.wait("all three nodes", || {
                let output = node.namespace.run("corosync-quorumtool -s");
                let text = String::from_utf8_lossy(&output.stdout);
                text.contains("Quorate:          Yes") && text.contains("Total votes:      3")
            });
        }
    }
}
