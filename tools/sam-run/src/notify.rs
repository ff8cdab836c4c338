//! The notify socket of the program, and that of the service manager above (sd_notify(3)).

use std::env;
use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, getsockname, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::unistd::{Pid, getpid};
use sam_run::message::{MAX_BYTES, Message};

/// The longest line of descent from the agent to a sender of messages.
const MAX_DEPTH: usize = 64;

/// A message, or the pid of its sender and the reason why the message is refused.
pub type Received = Result<Message, (i32, &'static str)>;

/// The socket on which the program sends messages. Its name is abstract (unix(7)): no file has to be removed, and a
/// program that has changed its user or its root folder reaches it.
pub struct NotifySocket {
    socket: OwnedFd,
    /// The value of NOTIFY_SOCKET.
    pub name: String,
}

impl NotifySocket {
    /// Opens a socket with a name that the kernel chooses.
    pub fn open() -> nix::Result<NotifySocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let address = getsockname::<UnixAddr>(socket.as_raw_fd())?;
        let name = address.as_abstract().map(String::from_utf8_lossy).unwrap_or_default();
        let name = format!("@{name}");
        Ok(NotifySocket { socket, name })
    }

    /// Returns the next message. `None`: there is none.
    pub fn receive(&self) -> Option<Received> {
        let mut bytes = [0; MAX_BYTES + 1];
        let mut iov = [IoSliceMut::new(&mut bytes)];
        let mut control = nix::cmsg_space!(libc::ucred, [i32; 253]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let received =
            recvmsg::<UnixAddr>(self.socket.as_raw_fd(), &mut iov, Some(&mut control), flags).ok()?;
        let mut sender = None;
        // systemd-notify(1) ends when the descriptor that it sends is closed (BARRIER=1), so it is kept until the sender
        // has been looked up.
        let mut fds = Vec::new();
        for message in received.cmsgs().ok()? {
            match message {
                ControlMessageOwned::ScmCredentials(credentials) => sender = Some(credentials.pid()),
                ControlMessageOwned::ScmRights(sent) => {
                    // SAFETY: the kernel has just made these descriptors for this process.
                    fds.extend(sent.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
                _ => {}
            }
        }
        let length = received.bytes;
        let sender = sender.unwrap_or(0);
        if !descends_from(sender, getpid()) {
            return Some(Err((sender, "not from the program")));
        }
        let message = Message::parse(&bytes[..length]);
        Some(message.ok_or((sender, "malformed")))
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns `true` if `process` descends from `ancestor`. Orphans among the descendants are children of the agent,
/// because it is their subreaper.
pub fn descends_from(process: i32, ancestor: Pid) -> bool {
    let mut pid = process;
    for _ in 0..MAX_DEPTH {
        let Some(parent) = parent_of(pid) else { return false };
        if parent == ancestor.as_raw() {
            return true;
        }
        pid = parent;
    }
    false
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may contain spaces and parentheses. State and parent follow it (proc(5)).
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The service manager above, which has started sam-run.
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// Returns the service manager that NOTIFY_SOCKET names.
    pub fn from_environment() -> Option<ServiceManager> {
        let name = env::var_os("NOTIFY_SOCKET")?;
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&name),
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(ServiceManager { socket, address: address.ok()? })
    }

    /// Sends a message. One that the service manager cannot take now is lost.
    pub fn send(&self, text: &str) {
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.address);
    }
}
