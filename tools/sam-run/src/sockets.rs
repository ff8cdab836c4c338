//! The sockets that every instance of the program inherits, in the way of sd_listen_fds(3): from descriptor 3 on.

use std::env;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{Backlog, listen};
use nix::unistd::{Pid, getpid};
use sam_run::values::Address;

/// The first descriptor of sd_listen_fds(3).
const FIRST: RawFd = 3;

/// The paths that the supervisor removes at its end, and its pid.
static PATHS: OnceLock<(Pid, Vec<PathBuf>)> = OnceLock::new();

/// Sockets for the program, at the descriptors from 3 on.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sockets {
    /// The number of sockets that sam-run has been given by the service manager.
    inherited: usize,
    /// The number of sockets that sam-run has opened.
    own: usize,
}

impl Sockets {
    /// Opens a socket for each address, and puts them behind the ones that this process has been given.
    pub fn open(addresses: &[Address]) -> Result<Sockets, String> {
        let number = |name| env::var(name).ok()?.parse::<usize>().ok();
        let is_ours = number("LISTEN_PID") == Some(getpid().as_raw() as usize);
        let inherited = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0);
        let sockets = Sockets { inherited, own: addresses.len() };
        let mut opened = Vec::new();
        for address in addresses {
            let socket =
                open(address).map_err(|error| format!("cannot listen on {}: {error}", show(address)))?;
            // Above all places, so that no socket is in the place of another.
            let least = sockets.descriptors().end;
            let moved =
                fcntl(&socket, FcntlArg::F_DUPFD_CLOEXEC(least)).map_err(|error| error.to_string())?;
            opened.push(moved);
        }
        for (socket, place) in opened.iter().zip(sockets.descriptors().skip(inherited)) {
            // SAFETY: no object of this process owns the places: the caller of sam-run chose what is there, and a
            // program that is given sockets expects them there.
            if unsafe { libc::dup3(*socket, place, libc::O_CLOEXEC) } < 0 {
                return Err(format!("cannot place a socket: {}", io::Error::last_os_error()));
            }
            // SAFETY: fcntl has just made this descriptor.
            unsafe { libc::close(*socket) };
        }
        remove_at_end(addresses);
        Ok(sockets)
    }

    /// Returns the number of sockets for the program.
    pub fn count(&self) -> usize {
        self.inherited + self.own
    }

    /// Returns `true` if the names in LISTEN_FDNAMES are those of the sockets.
    pub fn keep_names(&self) -> bool {
        self.own == 0
    }

    /// Lets the program inherit the sockets. To be called before exec.
    pub fn pass_on(&self) -> io::Result<()> {
        for place in self.descriptors() {
            // SAFETY: fcntl changes a flag of a descriptor that is open for the life of the process.
            if unsafe { libc::fcntl(place, libc::F_SETFD, FdFlag::empty().bits()) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    fn descriptors(&self) -> std::ops::Range<RawFd> {
        FIRST..FIRST + self.count() as RawFd
    }
}

fn show(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
    }
}

fn open(address: &Address) -> io::Result<OwnedFd> {
    let socket = match address {
        Address::Tcp(address) => OwnedFd::from(TcpListener::bind(address)?),
        Address::Unix(path) => {
            remove_stale(path);
            OwnedFd::from(UnixListener::bind(path)?)
        }
    };
    // Clients wait here while no instance accepts them, so the queue is as long as the kernel allows.
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket)
}

/// Removes a socket on which nobody listens, as a supervisor leaves it behind that was killed.
fn remove_stale(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused =
        || UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket && refused() {
        let _ = fs::remove_file(path);
    }
}

/// Has the supervisor remove its Unix sockets at its end. Exit handlers from before sam_register run there.
fn remove_at_end(addresses: &[Address]) {
    let path = |address: &Address| match address {
        Address::Unix(path) => Some(path.clone()),
        Address::Tcp(_) => None,
    };
    let paths: Vec<_> = addresses.iter().filter_map(path).collect();
    if !paths.is_empty() && PATHS.set((getpid(), paths)).is_ok() {
        // SAFETY: the handler is a function of this program, and it does not unwind.
        unsafe { libc::atexit(remove_paths) };
    }
}

extern "C" fn remove_paths() {
    if let Some((_, paths)) = PATHS.get().filter(|(owner, _)| *owner == getpid()) {
        for path in paths {
            let _ = fs::remove_file(path);
        }
    }
}
