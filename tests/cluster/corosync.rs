//! Real corosync daemons, one per namespace, and clusters of them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{PATIENCE, Running};
use crate::namespace::{Namespace, only_child, wait_for};

const CONFIG: &str = "/run/corosync/corosync.conf";
const LOG: &str = "/run/corosync/corosync.log";

/// How long the token may be lost before a node is given up, in ms.
pub const TOKEN: u64 = 1000;

/// A machine with a corosync of its own.
pub struct Node {
    // Dropped first: a namespace ends when all in it has been waited for.
    daemon: Option<Daemon>,
    pub namespace: Namespace,
}

struct Daemon {
    _outside: Running,
    pid: Pid,
}

impl Node {
    /// The only node of its cluster, quorate.
    pub fn alone() -> Node {
        let mut node = Node::silent();
        node.start();
        node.wait_quorate(true);
        node
    }

    /// As alone(), but corosync is not started.
    pub fn silent() -> Node {
        Node::prepare(&["127.0.0.1"])
    }

    /// A machine with corosync configured and not started.
    fn prepare(addresses: &[&str]) -> Node {
        let node = Node { daemon: None, namespace: Namespace::new() };
        fs::write(node.namespace.path(CONFIG), config(addresses)).unwrap();
        node
    }

    /// Starts corosync and waits until it answers.
    pub fn start(&mut self) {
        // By a shell: nsenter itself would stop together with a child that is frozen, and never reap it then.
        let mut shell = self.namespace.command("sh");
        shell.args(["-c", "corosync -f -c \"$0\" & wait", CONFIG]);
        let outside = Running::start_with_one_pipe(shell);
        let pid = only_child(outside.pid()).and_then(|shell| only_child(shell as u32));
        let pid = Pid::from_raw(pid.unwrap_or_else(|| panic!("corosync ended: {}", self.log())));
        self.daemon = Some(Daemon { _outside: outside, pid });
        self.wait("corosync to answer", || {
            self.namespace.run("corosync-quorumtool -s").status.code() != Some(1)
        });
    }

    /// Stops corosync as a crash does.
    pub fn kill(&mut self) {
        drop(self.daemon.take().expect("corosync runs"));
    }

    /// Lets corosync hang.
    pub fn freeze(&self) {
        kill(self.daemon.as_ref().expect("corosync runs").pid, Signal::SIGSTOP).unwrap();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill(self.daemon.as_ref().expect("corosync runs").pid, Signal::SIGCONT).unwrap();
    }

    /// Votes that the cluster is to have; this node has one.
    pub fn expect_votes(&self, votes: u32) {
        self.namespace.must(&format!("corosync-cmapctl -s quorum.expected_votes u32 {votes}"));
    }

    pub fn lose_quorum(&self) {
        self.expect_votes(3);
        self.wait_quorate(false);
    }

    pub fn regain_quorum(&self) {
        self.expect_votes(1);
        self.wait_quorate(true);
    }

    pub fn wait_quorate(&self, quorate: bool) {
        let wanted = if quorate { "Quorate:          Yes" } else { "Quorate:          No" };
        self.wait(wanted, || {
            let output = self.namespace.run("corosync-quorumtool -s");
            String::from_utf8_lossy(&output.stdout).contains(wanted)
        });
    }

    /// What corosync-cmapctl shows under this prefix: name without the prefix -> "(type) = value".
    pub fn keys(&self, prefix: &str) -> BTreeMap<String, String> {
        let output = self.namespace.run(&format!("corosync-cmapctl -b {prefix}"));
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.strip_prefix(prefix)?.split_once(' '))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Waits until no supervisor has keys.
    pub fn wait_for_no_keys(&self) {
        self.wait("the keys to go", || self.keys("resources.process.").is_empty());
    }

    /// All that corosync has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.namespace.path(LOG)).unwrap_or_default()
    }

    /// What corosync's watchdog service has said of failures.
    pub fn failures(&self) -> Vec<String> {
        let of_interest =
            |line: &&str| line.contains("[WD ") && (line.contains("failed!") || line.contains("too late"));
        self.log().lines().filter(of_interest).map(str::to_owned).collect()
    }

    /// Waits for something to become true.
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

fn config(addresses: &[&str]) -> String {
    let nodes: String = (1..)
        .zip(addresses)
        .map(|(id, address)| format!("node {{\nring0_addr: {address}\nnodeid: {id}\nname: node{id}\n}}\n"))
        .collect();
    format!(
        "totem {{\nversion: 2\ncluster_name: libsam\ntransport: knet\ncrypto_cipher: none\ncrypto_hash: none\n\
         token: {TOKEN}\ntoken_coefficient: 0\n}}\n\
         nodelist {{\n{nodes}}}\n\
         quorum {{\nprovider: corosync_votequorum\nexpected_votes: {}\n}}\n\
         resources {{\nwatchdog_device: off\n}}\n\
         system {{\nmove_to_root_cgroup: no\n}}\n\
         logging {{\nto_stderr: no\nto_syslog: no\nto_logfile: yes\nlogfile: {LOG}\ntimestamp: hires\n}}\n",
        addresses.len()
    )
}

/// Three nodes on one bridge.
pub struct Cluster {
    hub: Namespace,
    pub nodes: Vec<Node>,
}

const ADDRESSES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

impl Cluster {
    /// Three nodes that form one quorate partition.
    pub fn of_three() -> Cluster {
        let hub = Namespace::new();
        hub.must("ip link add bridge type bridge forward_delay 0 stp_state 0");
        hub.must("ip link set bridge up");
        let mut nodes = Vec::new();
        for (index, address) in ADDRESSES.iter().enumerate() {
            let mut node = Node::prepare(&ADDRESSES);
            let ip = |arguments: &str| {
                // In the hub's network, with pids as they are seen from here.
                let status = std::process::Command::new("nsenter")
                    .args(["--net", "--target", &hub.first.to_string(), "--", "ip"])
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
        let cluster = Cluster { hub, nodes };
        cluster.wait_whole();
        cluster
    }

    /// Pulls the cable of one node.
    pub fn cut_off(&self, node: usize) {
        self.hub.must(&format!("ip link set port{node} down"));
    }

    /// Plugs it in again and waits until the cluster is whole.
    pub fn heal(&self, node: usize) {
        self.hub.must(&format!("ip link set port{node} up"));
        self.wait_whole();
    }

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
