//! A connection to a stream socket that is never waited for.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// A connection. Close-on-exec.
#[derive(Debug)]
pub struct Stream(OwnedFd);

impl Stream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// `EAGAIN` if the server has more connections to accept than it has room for.
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
        // SAFETY: the kernel makes the descriptor for us, and reads an address of the length that it is told.
        unsafe {
            let fd = OwnedFd::from_raw_fd(Errno::result(libc::socket(libc::AF_UNIX, kind, 0))?);
            let stream = Stream(super::above_standard(fd)?);
            let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
            let to = (&raw const address).cast();
            Errno::result(libc::connect(stream.0.as_raw_fd(), to, length))?;
            Ok(stream)
        }
    }

    /// Sends a record whole.
    ///
    /// # Errors
    /// `EAGAIN` if there is no room for all of it. If a part of it has gone, another error: the connection is of no use
    /// any more.
    pub fn send(&self, record: &[u8]) -> nix::Result<()> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads the record.
        let sent = Errno::result(unsafe {
            libc::send(self.0.as_raw_fd(), record.as_ptr().cast(), record.len(), flags)
        })?;
        if sent as usize == record.len() { Ok(()) } else { Err(Errno::EPIPE) }
    }
}
