//! A process that was just forked, on its way to be an instance.

#![forbid(unsafe_code)]

use crate::board::Board;
use crate::corosync::Doorbell;
use crate::sys::process::{self, Origin};
use crate::sys::signals;

/// It has nothing of its supervisor any more but this.
#[derive(Debug)]
pub struct Newborn {
    /// The supervisor's pid.
    supervisor: i32,
    /// Which instance it is to be. None: it is a spare, and will be told.
    id: Option<u32>,
    board: Board,
    bell: Option<Doorbell>,
}

/// What an instance has.
#[derive(Debug)]
pub struct Instance {
    /// Its number.
    pub id: u32,
    /// What it shares with its supervisor.
    pub board: Board,
    /// What it rings when it wants something, where corosync has a say.
    pub bell: Option<Doorbell>,
}

impl Newborn {
    /// The next instance.
    pub fn new(supervisor: i32, id: u32, board: Board, bell: Option<Doorbell>) -> Newborn {
        Newborn { supervisor, id: Some(id), board, bell }
    }

    /// The one after it, to be forked by `supervisor`: nobody but the supervisor shall reach it while it waits, and
    /// it ends when the supervisor does.
    pub fn spare(supervisor: i32, origin: &Origin, board: Board, bell: Option<Doorbell>) -> Newborn {
        process::signal_on_death_of_parent(libc::SIGKILL);
        // Not by the lifeline: the supervisor holds that of a spare from the release on.
        if origin.has_ended() {
            process::exit_now(0);
        }
        process::leave_group();
        Newborn { supervisor, id: None, board, bell }
    }

    /// Becomes an instance, when its time has come.
    pub fn take_over(self) -> Instance {
        let Newborn { supervisor, id, board, bell } = self;
        let is_spare = id.is_none();
        let id = id.unwrap_or_else(|| {
            let id = board.await_release();
            // Sent to the spare itself, and not to the program. The supervisor passes nothing on before rise().
            signals::discard_pending();
            process::join_group_of(supervisor);
            id
        });
        process::signal_on_death_of_parent(libc::SIGTERM);
        // The kernel marks the lifeline before it sends parent-death signals, so one of the two tells of the end of the
        // supervisor. In another PID namespace the supervisor has no pid: there getppid(2) says 0.
        if board.supervisor_is_gone() || ![supervisor, 0].contains(&process::parent()) {
            signals::send_to_self(libc::SIGTERM);
        }
        if is_spare {
            board.rise();
        }
        Instance { id, board, bell }
    }
}
