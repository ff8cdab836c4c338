//! The kinds of log lines. Their names and message ids are a stable interface, which docs/log.md describes.

#![forbid(unsafe_code)]

/// Defines the steps: for each its name, which is the value of SAM_STEP, and its MESSAGE_ID.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal, $message_id:literal;)*) => {
        /// The kind of a log line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// All steps.
            #[cfg(test)]
            pub const ALL: &[Step] = &[$(Step::$step),*];

            /// Returns the name of the step, the value of the journal field SAM_STEP.
            pub fn name(self) -> &'static str {
                match self {
                    $(Step::$step => $name,)*
                }
            }

            /// Returns the identifier of this kind of line, the value of the journal field MESSAGE_ID
            /// (systemd.journal-fields(7)).
            pub fn message_id(self) -> &'static str {
                match self {
                    $(Step::$step => $message_id,)*
                }
            }
        }
    };
}

steps! {
    /// The supervisor has made the first instance.
    Started = "started", "44e6ea234ee74afb586a448def0708d4";
    /// Threads of the program stay in the supervisor.
    Threads = "threads", "7ae31f60cc8997062ffb57c84cb4faea";
    /// The program was told to end by a signal.
    Stopping = "stopping", "6e35da8806a90cfd74f9cdf2a0d44fff";
    /// The instance has ended as planned.
    Stopped = "stopped", "7b0ced2957b0451eb32c178de8d15d3b";
    /// The instance has ended, and this was not planned.
    Lost = "lost", "8b303b14678bd780e0870cd1dff269c1";
    /// The supervisor has made the next instance.
    Restarted = "restarted", "05fc79b3162e06d0ce668693e2e67039";
    /// The next instance is made after a pause.
    Delayed = "delayed", "13b8f5322ec68c450943e25d96c34acf";
    /// The supervisor gives up: no instance follows.
    GaveUp = "gave-up", "63994d780dedc36f6c9f488a73fca242";
    /// The instance was warned, or has warned itself.
    Warned = "warned", "c8c4ccfdda5c1a07b6d9b83941dcc93f";
    /// The instance has recovered after a warning.
    Recovered = "recovered", "ee2275cc85ccd3ce2e37b58538f30b13";
    /// The instance was sent the signal that ends a hang, or SIGKILL.
    Killed = "killed", "12e1edcbebd54166ba6cf97021111bfe";
    /// The service manager's watchdog aborts the program.
    Aborted = "aborted", "8b8daf11d100b77e6034befb7c7740ce";
    /// Health checks are suspended while a debugger traces the instance.
    Held = "held", "7240391e8e772171f9ab5d8183f9a48d";
    /// Health checks go on without the debugger.
    Released = "released", "e555fa302928457f99a05739dccb3e1f";
    /// The kernel refused to send the instance a signal.
    Refused = "refused", "fa9e1466480c3f4b48629295dd203996";
    /// A signal reached no instance.
    SignalDropped = "signal-dropped", "c821242966990e1fe6be371cac79c5c2";
    /// Processes that an instance left behind were killed.
    GroupEnded = "group-ended", "9e4a87f734bc80dc9d537366fdf026e7";
    /// The instance exited with 0, and a process that it forked may go on in its place.
    Left = "left", "a3e7e0e861b3320a88c80004a3e3ef28";
    /// A process that the instance forked is the instance now.
    Adopted = "adopted", "792aa93363efe0040d6a259d50c9dbda";
    /// The cluster partition lost quorum.
    QuorumLost = "quorum-lost", "87946181b5e724f374fdf4db2ab22ded";
    /// The cluster partition is quorate again.
    QuorumBack = "quorum-back", "9c01cfc1c57e03c6259c952c25484a98";
    /// corosync cannot be reached.
    CorosyncLost = "corosync-lost", "8d26aaf06e8d967c22f61fdf104748e4";
    /// corosync can be reached again.
    CorosyncBack = "corosync-back", "b082316c1b66d1562d2896d67fb3cf43";
    /// An environment variable has a value that is not allowed.
    Setting = "setting", "78e2c094286e8c2e119de9fb7c9902bc";
    /// A call failed because of corosync.
    Corosync = "corosync", "7a443c3bdcd905e80d0f3097d9be623a";
    /// Lines of this log were lost.
    LinesLost = "lines-lost", "a3d5f4f4bf8cb34ae70252c452ed6b53";
    /// The library has found a fault of its own.
    Internal = "internal", "e470e28b79b97cfc989f81ef22593034";
}
