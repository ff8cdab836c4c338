//! SAM_NOTIFY: the notifications to systemd, received by a socket like systemd's.

use std::{
    io::IoSliceMut,
    os::{
        fd::{AsRawFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt},
    },
    unistd::Pid,
};

use crate::common::{Ended, Running};
use crate::{Folder, PATIENCE, run, start};

/// The socket of a service manager.
struct Manager(OwnedFd);

impl Manager {
    fn listen(address: &SocketAddr) -> Manager {
        let socket = OwnedFd::from(UnixDatagram::bind_addr(address).unwrap());
        setsockopt(&socket, sockopt::PassCred, &true).unwrap();
        Manager(socket)
    }

    /// Returns the next message and the pid of its sender, or `None` if no message arrives within `patience`.
    fn receive(&self, patience: Duration) -> Option<(String, i32)> {
        setsockopt(
            &self.0,
            sockopt::ReceiveTimeout,
            &nix::sys::time::TimeVal::new(patience.as_secs() as i64, i64::from(patience.subsec_micros())),
        )
        .unwrap();
        let mut buffer = [0; 4096];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let message =
            recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).ok()?;
        let sender = message.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
            _ => None,
        });
        let length = message.bytes;
        Some((String::from_utf8(buffer[..length].to_vec()).unwrap(), sender.unwrap()))
    }

    /// Returns the messages up to one that contains `text`. All must come from the supervisor.
    fn receive_until(&self, program: &Running, text: &str) -> Vec<String> {
        let mut messages = vec![];
        while !messages.last().is_some_and(|message: &String| message.contains(text)) {
            let received = self.receive(PATIENCE);
            let (message, sender) = received
                .unwrap_or_else(|| panic!("no message contains {text:?} after {PATIENCE:?}: {messages:#?}"));
            assert_eq!(
                sender,
                program.pid() as i32,
                "the sender must be the supervisor, systemd ignores others: {message:?}"
            );
            messages.push(message);
        }
        messages
    }
}

/// Returns the two kinds of socket addresses that systemd uses, each with the value of NOTIFY_SOCKET.
fn sockets(folder: &Folder) -> [(SocketAddr, String); 2] {
    let path = folder.0.join("notify");
    let name = format!("libsam-test-{}-{}", std::process::id(), path.parent().unwrap().display());
    [
        (SocketAddr::from_pathname(&path).unwrap(), path.to_str().unwrap().to_owned()),
        (SocketAddr::from_abstract_name(&name).unwrap(), format!("@{name}")),
    ]
}

pub fn every_change_is_notified_to_service_manager() {
    let folder = Folder::new("notify");
    for (address, name) in sockets(&folder) {
        let manager = Manager::listen(&address);
        let variables = [("SAM_NOTIFY", "1"), ("NOTIFY_SOCKET", &name)];
        let program = start(&["300", "exit=3", "hang", "stop"], &variables);
        let pids: Vec<String> = (1..=3).map(|id| program.wait_for(&format!("# pid of {id} "))).collect();
        let messages = manager.receive_until(&program, "exited 0");
        let normalize = |message: &String| {
            let mut message = message.clone();
            for (id, pid) in (1..).zip(&pids) {
                message = message.replace(&format!("(pid {pid})"), &format!("(pid P{id})"));
            }
            match message.split_once("silent for ") {
                Some((before, after)) => {
                    format!("{before}silent for T{}", after.split_once(" ms").unwrap().1)
                }
                None => message,
            }
        };
        let messages: Vec<String> = messages.iter().map(normalize).collect();
        assert_eq!(
            messages,
            [
                "STATUS=instance 1 (pid P1), 0 restarts\n",
                "STATUS=instance 2 (pid P2), 1 restart, last: instance 1 (pid P1) exited 3\n",
                "STATUS=instance 2 (pid P2), 1 restart, last: instance 2 (pid P2) silent for T (limit 300), sent SIGTERM\n",
                "STATUS=instance 2 (pid P2), 1 restart, last: instance 2 (pid P2) silent for T in spite of the warning, killed\n",
                "STATUS=instance 3 (pid P3), 2 restarts, last: instance 2 (pid P2) died of SIGKILL after its silence\n",
                "STATUS=no instance, 2 restarts, last: instance 3 (pid P3) exited 0\n",
            ]
        );
        program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
    }
}

pub fn watchdog_notifications_stop_when_supervisor_is_stopped() {
    let folder = Folder::new("watchdog");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    // Without an interval, nothing but the watchdog wakes the supervisor.
    let variables = [("SAM_NOTIFY", "1"), ("NOTIFY_SOCKET", &*name), ("WATCHDOG_USEC", "200000")];
    let program = start(&["0", "hang"], &variables);
    let begin = Instant::now();
    let mut signs = 0;
    while signs < 10 {
        let (message, sender) = manager.receive(PATIENCE).expect("a watchdog notification");
        assert_eq!(sender, program.pid() as i32);
        signs += u32::from(message == "WATCHDOG=1\n");
    }
    assert!(
        begin.elapsed() >= 9 * Duration::from_millis(100),
        "10 watchdog notifications within {:?}, expected one per 100 ms",
        begin.elapsed()
    );
    // A stopped supervisor sends no notification.
    kill(Pid::from_raw(program.pid() as i32), Signal::SIGSTOP).unwrap();
    while manager.receive(Duration::from_millis(500)).is_some() {}
}

pub fn watchdog_pid_of_other_process_disables_watchdog_notifications() {
    let folder = Folder::new("other");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    let variables =
        [("SAM_NOTIFY", "1"), ("NOTIFY_SOCKET", &*name), ("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
    let program = start(&["0", "run=500", "stop"], &variables);
    let messages = manager.receive_until(&program, "exited 0");
    assert!(messages.iter().all(|message| message.starts_with("STATUS=")), "{messages:#?}");
}

pub fn nothing_is_notified_without_sam_notify() {
    let folder = Folder::new("silent");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    let socket = ("NOTIFY_SOCKET", &*name);
    for variables in [&[socket, ("WATCHDOG_USEC", "20000")][..], &[socket, ("SAM_NOTIFY", "0")]] {
        run(&["0", "run=100", "stop"], variables).expect(Ended::Exit(0), &["instance 1", "instance 2"]);
    }
    assert_eq!(manager.receive(Duration::from_millis(1)), None);
}

pub fn busy_or_absent_service_manager_does_not_delay_supervisor() {
    let folder = Folder::new("busy");
    let [(address, path), _] = sockets(&folder);
    let manager = Manager::listen(&address);
    let mut troubles = vec!["0"];
    troubles.extend(["exit=3"; 60]);
    troubles.push("stop");
    for socket in [&*path, "/nowhere/notify", "@nobody", "nonsense", ""] {
        let variables = [("SAM_NOTIFY", "1"), ("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "1000")];
        let outcome = run(&troubles, &variables);
        assert_eq!((outcome.ended, crate::instances(&outcome)), (Ended::Exit(0), 61), "{outcome}");
    }
    // The manager has not read until now, and its socket holds fewer messages than the supervisor sent.
    let received: Vec<_> = std::iter::from_fn(|| manager.receive(Duration::from_millis(1))).collect();
    assert!(!received.is_empty() && received.len() < 61, "{received:#?}");
}
