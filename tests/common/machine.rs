//! The abilities of this machine that tests require. Each ability is probed once in a test program, by an attempt at
//! the very operation that a test needs. A program of `c-tests/` that needs more than a test can probe in advance
//! prints a line `left out: REASON` itself.

use std::{
    collections::HashMap,
    env, fs,
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::Uid;

use super::{PATIENCE, runner::skip, tools::Scratch};

/// The user and the group without rights.
const NOBODY: u32 = 65534;

/// An operation or a tool that not every machine, container or user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Becoming another user, as root can.
    OtherUser,
    /// Changing the root folder of a program, as root or in a user namespace.
    Chroot,
    /// Making a PID namespace, as root or in a user namespace.
    PidNamespace,
    /// Making a PID namespace with a /proc of its own, as a container has. In a plain chroot, whose root folder is no
    /// mount point, the mounts cannot be made private.
    Container,
    /// Making an isolated machine for corosync, from namespaces of mounts, processes and the network.
    Cluster,
    /// Tracing a process that the tracer did not start, as a debugger does.
    Tracing,
    /// Finding a core file in the working folder of the process that crashed.
    CoreFiles,
    /// Running a program under Valgrind.
    Valgrind,
    /// Compiling a C program with sanitizers and running it.
    Sanitizers,
    /// Running Python 3.
    Python,
    /// Connecting to 127.0.0.1, which is down in a network namespace of its own, as package builds have.
    Loopback,
}

/// Ends the calling test as skipped unless this machine has all of `abilities`.
pub fn require(abilities: &[Ability]) {
    static ANSWERS: Mutex<Option<HashMap<Ability, Answer>>> = Mutex::new(None);
    for ability in abilities {
        let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
        let answer =
            answers.get_or_insert_default().entry(*ability).or_insert_with(|| ability.attempt()).clone();
        drop(answers);
        if let Err(reason) = answer {
            skip(reason);
        }
    }
}

/// The result of a probe. `Err` holds the skip reason: which operation failed, and why.
type Answer = Result<(), String>;

impl Ability {
    /// Tries the operation.
    fn attempt(self) -> Answer {
        match self {
            Ability::OtherUser => {
                let output = as_nobody(&mut Command::new("true")).stdin(Stdio::null()).output();
                judge("become another user", output)?;
                // nobody becomes nobody without a right to it.
                let is_nobody = Uid::effective() == NOBODY.into();
                if is_nobody { Err("cannot become another user: this is nobody".into()) } else { Ok(()) }
            }
            Ability::Chroot => attempt_chroot(),
            Ability::PidNamespace => {
                let words = [&["unshare"], as_root(), &["--pid", "--fork", "--kill-child", "true"]].concat();
                attempt("make a namespace of processes", &words)
            }
            Ability::Container => {
                attempt("start a container", &[&words_in_container()[..], &["true"]].concat())
            }
            Ability::Cluster => {
                let script = "mount -t tmpfs tmpfs /run && ip link set lo up && ip link add type veth";
                let what = "make a namespace with mounts and a network";
                attempt(what, &["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", script])?;
                let mut command = Command::new("corosync");
                with_corosync(&mut command);
                judge("run corosync", command.arg("-v").output())
            }
            Ability::Tracing => attempt_tracing(),
            Ability::CoreFiles => attempt_core_file(),
            Ability::Valgrind => attempt("run valgrind", &["valgrind", "--quiet", "true"]),
            Ability::Sanitizers => attempt_sanitizers(),
            Ability::Python => attempt("run python3", &["python3", "-c", ""]),
            Ability::Loopback => TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| TcpStream::connect(listener.local_addr()?))
                .map(drop)
                .map_err(|error| format!("cannot connect to 127.0.0.1: {error}")),
        }
    }
}

/// Returns the options of unshare(1) that let an ordinary user do what otherwise only root may do.
pub fn as_root() -> &'static [&'static str] {
    if Uid::effective().is_root() { &[] } else { &["--user", "--map-root-user"] }
}

/// Makes a command run as another user, without supplementary groups. The caller must be root.
pub fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(NOBODY).gid(NOBODY)
}

/// Makes a command find corosync and its tools: the installed ones, or those that tests/install-packages unpacked.
pub fn with_corosync(command: &mut Command) {
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("corosync").join("usr/sbin");
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", unpacked.display()));
}

/// Runs a command, which must succeed, to find out whether this machine can do `what`.
fn attempt(what: &str, words: &[&str]) -> Answer {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    judge(what, output)
}

/// Returns `Ok` if the command succeeded, otherwise the first line of its standard error.
fn judge(what: &str, output: std::io::Result<Output>) -> Answer {
    let output = output.map_err(|error| format!("cannot {what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let reason = errors.lines().find(|line| !line.trim().is_empty()).map(str::to_owned);
    Err(format!("cannot {what}: {}", reason.unwrap_or_else(|| output.status.to_string())))
}

fn attempt_chroot() -> Answer {
    let scratch = Scratch::new("chroot");
    let root = scratch.path("root");
    fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    // The folder is empty, so chroot(1) cannot find the program. Its status 127 says that chroot(2) succeeded.
    let mut command = in_root(&root);
    let output = command
        .arg("/nothing")
        .output()
        .map_err(|error| format!("cannot change the root folder: {error}"))?;
    if output.status.code() == Some(127) { Ok(()) } else { judge("change the root folder", Ok(output)) }
}

/// Returns a command that runs the program named by its next arguments with `root` as its root folder.
pub fn in_root(root: &Path) -> Command {
    let mut command = Command::new(words_in_root()[0]);
    command.args(&words_in_root()[1..]).arg(root);
    command
}

/// Returns the words of a command that takes a root folder and a program as its next arguments.
pub fn words_in_root() -> Vec<&'static str> {
    match as_root() {
        [] => vec!["chroot"],
        options => [&["unshare"], options, &["chroot"]].concat(),
    }
}

/// Returns the words of a command that runs the program of its next arguments as process 1 of a PID namespace.
pub fn words_in_container() -> Vec<&'static str> {
    [&["unshare"], as_root(), &["--pid", "--fork", "--kill-child", "--mount-proc"]].concat()
}

fn attempt_tracing() -> Answer {
    let mut target = Command::new("sleep").arg("1000").spawn().map_err(|error| error.to_string())?;
    let pid = target.id();
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-p", &pid.to_string()]);
    let tracer = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let answer = tracer.map_err(|error| format!("cannot run strace: {error}")).and_then(|mut tracer| {
        let traced = wait_until(|| {
            tracer.try_wait().is_ok_and(|ended| ended.is_some()) || tracer_of(pid) == tracer.id()
        });
        let answer = match traced && tracer_of(pid) == tracer.id() {
            true => Ok(()),
            false => Err(()),
        };
        let _ = tracer.kill();
        let output = tracer.wait_with_output();
        answer.or_else(|()| judge("trace a process", output))
    });
    let _ = target.kill();
    let _ = target.wait();
    answer
}

/// Returns the pid of the process that traces `pid`, 0 if there is none.
pub fn tracer_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok());
    tracer.unwrap_or(0)
}

fn attempt_core_file() -> Answer {
    let scratch = Scratch::new("core");
    fs::create_dir_all(scratch.path("")).map_err(|error| error.to_string())?;
    let crash = r#"ulimit -c unlimited && sh -c 'kill -SEGV $$'; ls core* >/dev/null"#;
    let output = Command::new("sh").args(["-c", crash]).current_dir(scratch.path("")).output();
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let answer = judge("get a core file into the working folder", output);
    answer.map_err(|reason| format!("{reason} (core_pattern is {:?})", pattern.trim()))
}

fn attempt_sanitizers() -> Answer {
    let scratch = Scratch::new("sanitizers");
    let program = scratch.path("program");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compiler = Command::new(compiler);
    compiler.args(super::SANITIZERS).args(["-x", "c", "-", "-o"]).arg(&program);
    let compiler = compiler.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = compiler.and_then(|mut compiler| {
        compiler
            .stdin
            .take()
            .map_or(Ok(()), |mut source| source.write_all(b"int main(void) { return 0; }"))?;
        compiler.wait_with_output()
    });
    judge("compile with sanitizers", output)?;
    judge("run a program with sanitizers", Command::new(program).output())
}

/// Polls `condition` until it is true, or until `PATIENCE` has passed. Returns its last value.
fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}
