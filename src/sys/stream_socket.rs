//! A connection to a Unix stream socket whose calls never wait.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// A connection to a Unix stream socket, by which log lines go to some syslog daemons. Its calls never wait.
/// Close-on-exec.
#[derive(Debug)]
pub struct Stream(OwnedFd);

impl Stream {
    /// Connects to the Unix stream socket at `path`, without waiting for the server.
    ///
    /// # Errors
    /// `EAGAIN` if the server's queue of connections is full, `ENAMETOOLONG` if the path does not fit in an address, or
    /// another error of socket(2) or connect(2).
    pub fn connect(path: &CStr) -> nix::Result<Stream> {
        let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
        let bytes = path.to_bytes_with_nul();
        if bytes.len() > address.sun_path.len() {
            return Err(Errno::ENAMETOOLONG);
        }
        for (place, &byte) in address.sun_path.iter_mut().zip(bytes) {
            *place = byte as libc::c_char;
        }
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: socket(2) returned a new descriptor, which nothing else owns. The pointer to the address is valid
        // during the call, and the length is that of the structure.
        unsafe {
            let fd = OwnedFd::from_raw_fd(Errno::result(libc::socket(libc::AF_UNIX, kind, 0))?);
            let stream = Stream(super::above_standard(fd)?);
            let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
            let to = (&raw const address).cast();
            Errno::result(libc::connect(stream.0.as_raw_fd(), to, length))?;
            Ok(stream)
        }
    }

    /// Sends a whole log record without waiting.
    ///
    /// # Errors
    /// `EAGAIN` if the socket has no room, and nothing was sent. `EPIPE` if only a part of the record was sent, or the
    /// server has closed the connection. After all errors but `EAGAIN` the caller must drop the connection.
    pub fn send(&self, record: &[u8]) -> nix::Result<()> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the pointer and the length are those of a slice that is valid during the call.
        let sent = Errno::result(unsafe {
            libc::send(self.0.as_raw_fd(), record.as_ptr().cast(), record.len(), flags)
        })?;
        if sent as usize == record.len() { Ok(()) } else { Err(Errno::EPIPE) }
    }
}
