//! A small TCP server for tests/check-programs, which is linked statically. Answers each line with `ok`, its pid and
//! the line. Listens on the port that is its argument, or without one on the first socket of LISTEN_FDS. The line
//! `exit N` ends it with that status.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;

fn serve(stream: TcpStream) -> std::io::Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if let Some(code) = line.strip_prefix("exit ") {
            std::process::exit(code.parse().unwrap_or(99));
        }
        writeln!(&stream, "ok {} {line}", std::process::id())?;
    }
    Ok(())
}

fn main() {
    let listener = match std::env::args().nth(1) {
        Some(port) => TcpListener::bind(format!("127.0.0.1:{port}")).expect("listen"),
        None => {
            let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
            assert_eq!(number("LISTEN_PID"), Some(std::process::id()), "LISTEN_PID");
            assert!(number("LISTEN_FDS").is_some_and(|count| count >= 1), "LISTEN_FDS");
            // SAFETY: sd_listen_fds(3) gives this program the descriptor 3.
            unsafe { TcpListener::from_raw_fd(3) }
        }
    };
    for stream in listener.incoming().flatten() {
        std::thread::spawn(|| serve(stream));
    }
}
