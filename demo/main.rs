//! Supervises a small daemon for a few seconds: a client counts, and the daemon crashes, hangs and recovers. Prints a
//! timeline, and exits with 0 only if every step happened.
//!
//! `make demo` calls this program with the path of the daemon.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The time limit for anything that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    count: u64,
    instance: u32,
    pid: i32,
}

/// The running daemon.
struct Demo {
    daemon: Child,
    /// The lines that the daemon printed, each with its time.
    lines: Receiver<(Instant, String)>,
    port: u16,
    began: Instant,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // After a success the daemon has ended. Otherwise end supervisor and instance together.
        if matches!(self.daemon.try_wait(), Ok(None)) {
            let _ = killpg(Pid::from_raw(self.daemon.id() as i32), Signal::SIGKILL);
            let _ = self.daemon.wait();
        }
    }
}

fn main() -> Outcome<()> {
    let daemon = std::env::args().nth(1).ok_or("usage: demo DAEMON")?;
    println!("{:>9}  {:>7}  {:>8}  what happened", "time", "pid", "instance");
    let mut demo = Demo::begin(&daemon)?;
    demo.play()?;
    println!("\nEvery step happened.");
    Ok(())
}

impl Demo {
    /// Starts the daemon and waits for its port.
    fn begin(daemon: &str) -> Outcome<Demo> {
        let began = Instant::now();
        let mut command = Command::new(daemon);
        // The lines of the log would stand between those of the demo.
        if std::env::var_os("SAM_LOG").is_none() {
            command.env("SAM_LOG", "off");
        }
        let mut daemon = command.stdout(Stdio::piped()).process_group(0).spawn()?;
        let output = BufReader::new(daemon.stdout.take().ok_or("no output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        let mut demo = Demo { daemon, lines, port: 0, began };
        let (_, line) = demo.line("port ")?;
        demo.port = line.parse()?;
        Ok(demo)
    }

    /// Plays all steps.
    fn play(&mut self) -> Outcome<()> {
        let first = self.ask("count")?;
        let supervisor = self.daemon.id();
        self.say(
            first,
            &format!("serves port {} of 127.0.0.1; its supervisor is pid {supervisor}", self.port),
        );
        self.ask("count")?;
        let before = self.ask("count")?;
        self.say(before, &format!("counted to {}", before.count));
        expect(before, Answer { count: 3, ..first })?;

        let (second, took) = self.lose("crash")?;
        self.say(second, &format!("crashed (SIGSEGV); the next instance answers after {took:.1?}"));
        expect(second, Answer { count: 4, instance: 2, pid: second.pid })?;
        self.say(second, "counter intact: 4");

        let hung = Instant::now();
        let waiting = self.request("doze")?;
        let (warned, _) = self.line("warned")?;
        self.say(second, &format!("hung; warned by SIGUSR1 after {:.1?} of silence", warned - hung));
        expect(answer(waiting)?, second)?;
        let well = self.ask("count")?;
        self.say(
            well,
            &format!(
                "woke up and sent a heartbeat: not killed, same process, counter intact: {}",
                well.count
            ),
        );
        expect(well, Answer { count: 5, ..second })?;

        let hung = Instant::now();
        let _waiting = self.request("hang")?;
        let (warned, _) = self.line("warned")?;
        self.say(second, &format!("hung; warned by SIGUSR1 after {:.1?} of silence", warned - hung));
        let third = self.ask("count")?;
        let took = warned.elapsed();
        self.say(
            third,
            &format!(
                "killed, because it stayed silent; the next instance answers {took:.1?} after the warning"
            ),
        );
        expect(third, Answer { count: 6, instance: 3, pid: third.pid })?;
        self.say(third, "counter intact: 6");

        kill(Pid::from_raw(supervisor as i32), Signal::SIGTERM)?;
        let asked = Instant::now();
        let status = loop {
            match self.daemon.try_wait()? {
                Some(status) => break status,
                None if asked.elapsed() > PATIENCE => {
                    return Err("the daemon did not end within 20 s of SIGTERM".into());
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let took = asked.elapsed();
        self.say(
            third,
            &format!("SIGTERM to the supervisor was forwarded: ended with {status} after {took:.1?}"),
        );
        if status.success() { Ok(()) } else { Err("the supervisor did not end as its instance did".into()) }
    }

    /// Prints a line of the timeline.
    fn say(&self, who: Answer, what: &str) {
        let time = self.began.elapsed().as_secs_f64();
        println!("{time:>7.3} s  {:>7}  {:>8}  {what}", who.pid, who.instance);
    }

    /// Waits for the daemon's next line, which must begin with `begin`. Returns its time and its rest.
    fn line(&self, begin: &str) -> Outcome<(Instant, String)> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok((time, line)) => match line.strip_prefix(begin) {
                Some(rest) => Ok((time, rest.to_owned())),
                None => Err(format!("the daemon printed {line:?}, expected {begin:?}").into()),
            },
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("the daemon did not print {begin:?} within {PATIENCE:?}").into())
            }
            Err(RecvTimeoutError::Disconnected) => Err("the daemon has ended".into()),
        }
    }

    /// Sends a request on a connection of its own.
    fn request(&self, request: &str) -> Outcome<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Sent in one write, because the daemon reads once. Unread data would reset the connection when the daemon
        // closes it.
        stream.write_all(format!("{request}\n").as_bytes())?;
        Ok(stream)
    }

    /// Sends a request and returns the answer.
    fn ask(&self, request: &str) -> Outcome<Answer> {
        answer(self.request(request)?)
    }

    /// Sends a request that ends the instance, and counts with the next one. Returns the answer and the time it took.
    fn lose(&self, request: &str) -> Outcome<(Answer, Duration)> {
        let mut lost = self.request(request)?;
        // The death of the instance closes the connection, with or without a reset.
        let _ = lost.read(&mut [0]);
        let gone = Instant::now();
        let next = self.ask("count")?;
        Ok((next, gone.elapsed()))
    }
}

/// Reads the answer to a request.
fn answer(mut stream: TcpStream) -> Outcome<Answer> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let mut fields = text.split_whitespace();
    let mut field = || fields.next().ok_or("an incomplete answer");
    Ok(Answer { count: field()?.parse()?, instance: field()?.parse()?, pid: field()?.parse()? })
}

/// Returns an error unless the answer is the expected one.
fn expect(seen: Answer, expected: Answer) -> Outcome<()> {
    if seen == expected { Ok(()) } else { Err(format!("saw {seen:?}, expected {expected:?}").into()) }
}
