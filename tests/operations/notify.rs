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

use crate::common::{Built, Ended, Library, Program, Running};
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
        let program = start(&["1500", "run=200", "hang", "stop"], &variables);
        let pids: Vec<String> = (1..=3).map(|id| program.wait_for(&format!("# pid of {id} "))).collect();
        let messages = manager.receive_until(&program, "exited 0");
        let normalize = |message: &String| {
            let mut message = message.clone();
            for (id, pid) in (1..).zip(&pids) {
                message = message.replace(&format!("(pid {pid})"), &format!("(pid P{id})"));
            }
            for silent in ["silent for ", "silent after "] {
                if let Some((before, after)) = message.split_once(silent) {
                    message = format!("{before}{silent}T{}", after.split_once(" ms").unwrap().1);
                }
            }
            message
        };
        let mut messages: Vec<String> = messages.iter().map(normalize).collect();
        // The third instance ends at once, maybe before the supervisor has sent this.
        messages.retain(|message| {
            !message.starts_with("STATUS=instance 3 (pid P3), 2 restarts, last: instance 2")
        });
        assert_eq!(
            messages,
            [
                "STATUS=instance 1 (pid P1), 0 restarts\n",
                "STATUS=instance 2 (pid P2), 1 restart, last: instance 1 (pid P1) exited 1 and is restarted\n",
                "STATUS=instance 2 (pid P2), 1 restart, last: instance 2 (pid P2) silent for T (limit 1500), sent SIGTERM, SIGKILL follows in 1500 ms without a heartbeat\n",
                "STATUS=instance 2 (pid P2), 1 restart, last: instance 2 (pid P2) still silent after T, sent SIGKILL\n",
                "STATUS=no instance, 2 restarts, last: stopped: instance 3 (pid P3) exited 0, the supervisor ends\n",
            ]
        );
        program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1", "instance 2", "instance 3"]);
    }
}

/// Starts c-tests/ready.c, whose instances call `sam_start` on SIGUSR1.
fn start_ready(at_end: &str, variables: &[(&str, &str)]) -> Running {
    let program = Program::new(Built::WithOurs, &["ready", at_end]);
    let mut command = program.command(Library::Ours);
    command.envs(variables.iter().copied());
    program.start_as(command)
}

fn send(pid: &str, signal: Signal) {
    kill(Pid::from_raw(pid.parse().unwrap()), signal).unwrap();
}

pub fn ready_is_sent_once_after_the_first_start_and_stopping_after_the_last_end() {
    let folder = Folder::new("ready");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    let program = start_ready("clean", &[("SAM_NOTIFY", "ready"), ("NOTIFY_SOCKET", &name)]);
    let first = program.wait_for("# pid of 1 ");
    assert_eq!(manager.receive_until(&program, "STATUS").len(), 1);
    assert_eq!(manager.receive(Duration::from_millis(300)), None, "nothing more before sam_start");
    send(&first, Signal::SIGUSR1);
    assert_eq!(manager.receive_until(&program, "=1"), ["READY=1\n"]);
    program.wait_for("instance 1 started");
    // The program survives no SIGSEGV, and its next instance starts.
    send(&first, Signal::SIGUSR2);
    let second = program.wait_for("# pid of 2 ");
    send(&second, Signal::SIGUSR1);
    program.wait_for("instance 2 started");
    let status = format!("STATUS=instance 2 (pid {second})");
    assert!(manager.receive_until(&program, "died of SIGSEGV").iter().any(|text| text.starts_with(&status)));
    kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).unwrap();
    let messages = manager.receive_until(&program, "STOPPING");
    let signs: Vec<_> = messages.iter().filter(|message| !message.starts_with("STATUS=")).collect();
    assert_eq!(signs, ["STOPPING=1\n"], "{messages:#?}");
    assert!(messages[messages.len() - 2].contains("exited 0"), "{messages:#?}");
    program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1 started", "instance 2 started", "SIGTERM"]);
}

pub fn stopping_is_not_sent_while_the_program_survives_its_signal() {
    let folder = Folder::new("survives");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    let program = start_ready("ignore", &[("SAM_NOTIFY", "ready"), ("NOTIFY_SOCKET", &name)]);
    let first = program.wait_for("# pid of 1 ");
    send(&first, Signal::SIGUSR1);
    manager.receive_until(&program, "READY=1");
    kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).unwrap();
    program.wait_for("SIGTERM");
    manager.receive_until(&program, "SIGTERM");
    assert_eq!(manager.receive(Duration::from_millis(300)), None);
    send(&first, Signal::SIGKILL);
    let messages = manager.receive_until(&program, "STOPPING=1");
    assert!(messages[0].contains("died of SIGKILL"), "{messages:#?}");
    program.finish(PATIENCE).expect(Ended::By(Signal::SIGKILL), &["instance 1 started", "SIGTERM"]);
}

pub fn program_that_ends_before_it_started_is_never_ready() {
    let folder = Folder::new("unready");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    let program = start_ready("clean", &[("SAM_NOTIFY", "ready"), ("NOTIFY_SOCKET", &name)]);
    send(&program.wait_for("# pid of 1 "), Signal::SIGUSR2);
    program.finish(PATIENCE).expect(Ended::By(Signal::SIGSEGV), &[]);
    while let Some((message, _)) = manager.receive(Duration::from_millis(1)) {
        assert!(message.starts_with("STATUS="), "{message}");
    }
}

/// The test is the parent of the supervisor, as systemd is.
pub fn sigabrt_of_the_watchdog_ends_the_program_without_a_core_or_a_restart() {
    let folder = Folder::new("abort");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    let variables = [("SAM_NOTIFY", "ready"), ("NOTIFY_SOCKET", &*name), ("WATCHDOG_USEC", "20000000")];
    for (at_end, ended) in [("clean", Ended::Exit(0)), ("ignore", Ended::By(Signal::SIGKILL))] {
        let program = start_ready(at_end, &variables);
        let first = program.wait_for("# pid of 1 ");
        send(&first, Signal::SIGUSR1);
        program.wait_for("instance 1 started");
        kill(Pid::from_raw(program.pid() as i32), Signal::SIGABRT).unwrap();
        let line = program.wait_for_error("to the late supervisor, which sent SIGTERM");
        assert!(
            line.ends_with(&format!("sent SIGTERM to instance 1 (pid {first}) and ends with it")),
            "{line}"
        );
        let outcome = program.finish(PATIENCE);
        outcome.expect(ended, &["instance 1 started", "SIGTERM"]);
        assert!(outcome.lived < Duration::from_secs(30), "{outcome}");
    }
    drop(manager);
}

pub fn sigabrt_of_another_process_or_without_watchdog_is_forwarded() {
    let folder = Folder::new("forwarded-abort");
    let [_, (_, name)] = sockets(&folder);
    let socket = ("NOTIFY_SOCKET", &*name);
    let watched = [("SAM_NOTIFY", "1"), socket, ("WATCHDOG_USEC", "20000000")];
    for (variables, by_another) in [(&watched[..], true), (&[("SAM_NOTIFY", "1"), socket], false)] {
        let program = start_ready("clean", variables);
        let first = program.wait_for("# pid of 1 ");
        send(&first, Signal::SIGUSR1);
        program.wait_for("instance 1 started");
        if by_another {
            let kill = format!("kill -ABRT {}", program.pid());
            assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        } else {
            kill(Pid::from_raw(program.pid() as i32), Signal::SIGABRT).unwrap();
        }
        program.wait_for("SIGABRT");
        kill(Pid::from_raw(program.pid() as i32), Signal::SIGTERM).unwrap();
        program.finish(PATIENCE).expect(Ended::Exit(0), &["instance 1 started", "SIGABRT", "SIGTERM"]);
    }
}

pub fn watchdog_notifications_stop_when_supervisor_is_stopped() {
    let folder = Folder::new("watchdog");
    let [_, (address, name)] = sockets(&folder);
    let manager = Manager::listen(&address);
    // Without an interval, nothing but the watchdog wakes the supervisor.
    let variables = [("SAM_NOTIFY", "1"), ("NOTIFY_SOCKET", &*name), ("WATCHDOG_USEC", "200000")];
    let begin = Instant::now();
    let program = start(&["0", "hang"], &variables);
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
