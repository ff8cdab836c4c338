//! The format of the status page, which the supervisor writes and sam-status reads.
//!
//! The page is a memory file among the supervisor's descriptors. It consists of words, and names the descriptor of the
//! instance's control page, which is a memory file of its own.
//!
//! A supervisor may be months older or newer than the sam-status that reads its page. So these rules hold for every
//! release:
//! - A page begins with the magic number, which names the layout, the sequence number and the pid of the supervisor.
//! - Within a layout, a word keeps its place and its meaning. New words are added at the end, and the word `SIZE` says
//!   how many words the supervisor writes. It is 0 on the pages of version 0.2.0, which end before it.
//! - A reader takes the words that it knows and the supervisor has written. It reports a supervisor whose layout it does
//!   not know as such.

#![forbid(unsafe_code)]

mod recent_restarts;
mod text;

pub use recent_restarts::RecentRestarts;
pub use text::Text;

/// The name of the memory file that a supervisor's status page is, see memfd_create(2). sam-status finds supervisors by
/// it.
pub const FILE: &std::ffi::CStr = c"sam-status";

/// The name of the memory file that an instance's control page is, see memfd_create(2). /proc/PID/fd shows it.
pub const CONTROL_PAGE_FILE: &std::ffi::CStr = c"sam-control-page";

/// The first word of the page: seven bytes that all layouts have in common, and the number of the layout.
const MAGIC: u64 = u64::from_be_bytes(*b"sam-st 2");

/// The bits of the first word that hold the number of the layout.
const LAYOUT_BITS: u64 = 0xff;

/// The activity of a supervisor, as sam-status shows it: whether it launches, watches, warns or kills its instance, or
/// has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// The supervisor launches the instance, or looks for the process that continues as the instance.
    Launching,
    /// The instance runs, and the supervisor has no reason to act.
    Watched,
    /// The supervisor has sent the warning signal, and kills the instance at the time `until` of the status.
    Warned,
    /// The supervisor has sent SIGKILL to the instance. Or it has sent the signal that SAM_HANG_SIGNAL sets, and sends
    /// SIGKILL at the time `until` of the status.
    Ending,
    /// A debugger traces the instance, so the supervisor does not warn or kill it.
    Held,
    /// There is no instance. The supervisor launches the next one at the time `until` of the status.
    Pausing,
    /// There is no instance, and the supervisor launches no other one.
    Over,
}

impl Activity {
    /// All activities of a supervisor, in the order of the numbers by which a status page stores them.
    const ALL: [Activity; 7] = [
        Activity::Launching,
        Activity::Watched,
        Activity::Warned,
        Activity::Ending,
        Activity::Held,
        Activity::Pausing,
        Activity::Over,
    ];
}

/// The descriptor of a supervisor under which a shared page is open as a file. Another process opens the page through
/// /proc/PID/fd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLocation {
    /// The number of the page's descriptor in the supervisor process.
    pub descriptor: i32,
    /// The inode number of the page's file. A reader checks by it that the descriptor still belongs to that file.
    pub inode: u64,
}

/// The facts about a supervisor and its instance that sam-status shows. The supervisor stores them on its status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The supervisor's pid in its own PID namespace.
    pub supervisor: i32,
    /// The recovery policy that the application passed to `sam_initialize`, as a `sam_recovery_policy_t`.
    pub policy: u32,
    /// The longest allowed silence of the instance, in ns. 0 for no limit.
    pub interval: u64,
    /// The descriptor of the instance's control page in the supervisor. `None`: that page is no file, so sam-status
    /// cannot read it.
    pub control_page: Option<PageLocation>,
    /// The instance id of the current instance, or else of the last one.
    pub id: u32,
    /// The pid of the instance as fork(2) returned it to the supervisor. 0 if there is no instance.
    pub pid: i32,
    /// The number of instances that the supervisor launched after the first one.
    pub restarts: u64,
    /// The activity of the supervisor: it launches, watches, warns or kills the instance, or there is none.
    pub activity: Activity,
    /// The time of CLOCK_MONOTONIC, in ns, at which the supervisor ends its present activity: it kills the instance it
    /// has warned, or launches the next one. 0 if there is no such time.
    pub until: u64,
    /// The time of the last log line about the instance, in ns since 1970. 0 if there was none.
    pub last_at: u64,
    /// The text of the last log line about the instance.
    pub last: Text<LAST_WORDS>,
    /// `true` if the program got a termination signal, so that no restart follows the end of its instance.
    pub end_is_final: bool,
    /// The name of the supervised program: SAM_NAME, or else its file name.
    pub program: Text<PROGRAM_WORDS>,
    /// The facts that version 0.2.0 of the library does not show.
    pub details: Option<Details>,
}

/// The facts on a page that libraries after version 0.2.0 show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Details {
    /// The version of the library, such as `0.3.0`.
    pub version: Text<VERSION_WORDS>,
    /// The time of CLOCK_BOOTTIME, in ns, at which the instance began. 0 if there is no instance.
    pub born: u64,
    /// The restarts of the last minutes.
    pub recent_restarts: RecentRestarts,
    /// The last end of an instance. `None` if no instance has ended yet.
    pub last_end: Option<LastEnd>,
}

/// The end of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEnd {
    /// The instance id.
    pub id: u32,
    /// The pid of the instance as fork(2) returned it to the supervisor.
    pub pid: i32,
    /// The time of the log line about the end, in ns since 1970.
    pub at: u64,
    /// The exit status of the instance.
    pub status: EndStatus,
    /// The reason of the end, as the field SAM_REASON of the log has it.
    pub reason: Text<REASON_WORDS>,
}

/// The exit status of an instance that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndStatus {
    /// The exit status is not known.
    Unknown,
    /// The instance exited with this code.
    Exited(i32),
    /// A signal killed the instance.
    Killed {
        /// The number of the signal.
        signal: i32,
        /// The kernel wrote a core file.
        core: bool,
    },
}

/// The reason why a page cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The words are not those of a status page.
    NotAPage,
    /// The words are those of a status page whose layout is not known.
    UnknownLayout {
        /// The supervisor's pid in its own PID namespace.
        supervisor: i32,
    },
}

/// The index of the 64-bit word of a status page that contains the sequence number. The supervisor changes it before
/// and after each update, so that sam-status notices an update while it reads.
pub(crate) const SEQUENCE: usize = 1;
/// The index of the first 64-bit word of a status page that contains facts: the supervisor's pid.
pub(crate) const FIRST: usize = 2;
/// The index of the 64-bit word of a status page that contains the number of the activity.
const ACTIVITY: usize = FIRST + 8;
/// The index of the first 64-bit word of a status page that contains the name of the program.
const PROGRAM: usize = 16;
/// The index of the first 64-bit word of a status page that contains the text of the last log line.
const LAST: usize = 32;

/// The number of words of a status page for the name of the program: one for its length in bytes, the others for its
/// bytes.
const PROGRAM_WORDS: usize = LAST - PROGRAM;
/// The number of words of a status page for the text of the last log line: one for its length in bytes, the others for
/// its bytes.
const LAST_WORDS: usize = SIZE - LAST;

/// The index of the word with the number of words that the supervisor writes. Version 0.2.0 writes those before it.
const SIZE: usize = 72;
/// The index of the first word of the library's version.
const VERSION: usize = 73;
/// The number of words for the library's version.
const VERSION_WORDS: usize = BORN - VERSION;
/// The index of the word with the time at which the instance began.
const BORN: usize = 77;
/// The index of the first word of the restarts of the last minutes.
const RECENT: usize = 78;
/// The index of the first word of the last end.
const END: usize = RECENT + RecentRestarts::WORDS;
/// The number of words for the numbers of the last end.
const END_WORDS: usize = 6;
/// The index of the first word of the reason of the last end.
const REASON: usize = END + END_WORDS;
/// The number of words for the reason of the last end.
const REASON_WORDS: usize = 4;

/// The number of words that this version of the library writes.
const WORDS: usize = REASON + REASON_WORDS;

/// The contents of a status page as the array of its 64-bit words.
pub type Words = [u64; WORDS];

impl Status {
    /// Returns this status as the words of a status page. The supervisor stores them there, and stores the sequence
    /// number, which is 0 here, by itself. Texts that do not fit are cut off.
    pub fn words(&self) -> Words {
        let mut words = [0; WORDS];
        words[0] = MAGIC;
        let numbers = [
            self.supervisor as u64,
            self.policy.into(),
            self.interval,
            self.control_page.map_or(0, |place| place.descriptor as u64 + 1),
            self.control_page.map_or(0, |place| place.inode),
            self.id.into(),
            self.pid as u64,
            self.restarts,
            self.activity as u64,
            self.until,
            self.last_at,
            self.end_is_final.into(),
        ];
        words[FIRST..FIRST + numbers.len()].copy_from_slice(&numbers);
        words[PROGRAM..PROGRAM + PROGRAM_WORDS].copy_from_slice(self.program.words());
        words[LAST..LAST + LAST_WORDS].copy_from_slice(self.last.words());
        if let Some(details) = &self.details {
            words[SIZE] = WORDS as u64;
            details.put(&mut words);
        }
        words
    }

    /// Reads a status from the words of a status page. sam-status calls this, and a hostile process may have written the
    /// page.
    ///
    /// # Errors
    /// The words are no page, or a page with a layout or a value that this version does not know.
    pub fn read(words: &Words) -> Result<Status, Unreadable> {
        if (words[0] ^ MAGIC) & !LAYOUT_BITS != 0 {
            return Err(Unreadable::NotAPage);
        }
        let unknown_layout = Unreadable::UnknownLayout { supervisor: words[FIRST] as i32 };
        let activity = usize::try_from(words[ACTIVITY]).ok().and_then(|number| Activity::ALL.get(number));
        match activity {
            Some(&activity) if words[0] == MAGIC => {
                Status::with_activity(activity, words).ok_or(Unreadable::NotAPage)
            }
            _ => Err(unknown_layout),
        }
    }

    /// Reads the words of a page of the known layout. Returns `None` if a text on it is not valid.
    fn with_activity(activity: Activity, words: &Words) -> Option<Status> {
        let [
            supervisor,
            policy,
            interval,
            descriptor,
            inode,
            id,
            pid,
            restarts,
            _,
            until,
            last_at,
            end_is_final,
        ] = *words[FIRST..].first_chunk()?;
        Some(Status {
            supervisor: supervisor as i32,
            policy: policy as u32,
            interval,
            control_page: descriptor
                .checked_sub(1)
                .map(|descriptor| PageLocation { descriptor: descriptor as i32, inode }),
            id: id as u32,
            pid: pid as i32,
            restarts,
            activity,
            until,
            last_at,
            end_is_final: end_is_final != 0,
            program: Text::read(&words[PROGRAM..])?,
            last: Text::read(&words[LAST..])?,
            details: if words[SIZE] >= WORDS as u64 { Some(Details::read(words)?) } else { None },
        })
    }
}

impl Details {
    /// Stores the facts on a page.
    fn put(&self, words: &mut Words) {
        words[VERSION..VERSION + VERSION_WORDS].copy_from_slice(self.version.words());
        words[BORN] = self.born;
        words[RECENT..RECENT + RecentRestarts::WORDS].copy_from_slice(&self.recent_restarts.words());
        let Some(end) = &self.last_end else { return };
        let (kind, number, core) = match end.status {
            EndStatus::Unknown => (1, 0, false),
            EndStatus::Exited(code) => (2, code, false),
            EndStatus::Killed { signal, core } => (3, signal, core),
        };
        let numbers = [kind, number as u64, core.into(), end.id.into(), end.pid as u64, end.at];
        words[END..END + numbers.len()].copy_from_slice(&numbers);
        words[REASON..REASON + REASON_WORDS].copy_from_slice(end.reason.words());
    }

    /// Reads the facts on a page. Returns `None` if a text is not valid.
    fn read(words: &Words) -> Option<Details> {
        let [kind, number, core, id, pid, at] = *words[END..].first_chunk()?;
        let status = match kind {
            2 => EndStatus::Exited(number as i32),
            3 => EndStatus::Killed { signal: number as i32, core: core != 0 },
            _ => EndStatus::Unknown,
        };
        let reason = Text::read(&words[REASON..])?;
        let end = LastEnd { id: id as u32, pid: pid as i32, at, status, reason };
        Some(Details {
            version: Text::read(&words[VERSION..])?,
            born: words[BORN],
            recent_restarts: RecentRestarts::of(words[RECENT..].first_chunk()?),
            last_end: (kind != 0).then_some(end),
        })
    }
}

/// Returns the sequence number in the words of a status page. It is odd while the supervisor writes, and each update
/// increases it.
///
/// A reader that finds the same even number before and after it reads the page has read one complete status.
pub fn sequence(words: &Words) -> u64 {
    words[SEQUENCE]
}

#[cfg(test)]
impl Status {
    /// Returns a status for tests, with another value in each field.
    pub(crate) fn example() -> Status {
        Status {
            supervisor: 123,
            policy: 0x12,
            interval: 2_000_000_000,
            control_page: Some(PageLocation { descriptor: 5, inode: 1234 }),
            id: 4,
            pid: 456,
            restarts: 3,
            activity: Activity::Warned,
            until: 77,
            last_at: 88,
            end_is_final: true,
            last: Text::of("instance 3 (pid 455) exited 3"),
            program: Text::of("daemon"),
            details: Some(Details {
                version: Text::of("1.2.3"),
                born: 99,
                recent_restarts: RecentRestarts::of(&std::array::from_fn(|word| word as u64)),
                last_end: Some(LastEnd {
                    id: 3,
                    pid: 455,
                    at: 88,
                    status: EndStatus::Killed { signal: 6, core: true },
                    reason: Text::of("unhealthy"),
                }),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn status_is_read_as_it_was_written() {
        for activity in Activity::ALL {
            for control_page in
                [None, Some(PageLocation { descriptor: 0, inode: 0 }), Status::example().control_page]
            {
                let status = Status { activity, control_page, ..Status::example() };
                assert_eq!(Status::read(&status.words()), Ok(status));
            }
        }
        let long = Status {
            program: Text::of("p".repeat(500)),
            last: Text::of("l".repeat(500)),
            ..Status::example()
        };
        let read = Status::read(&long.words()).unwrap();
        assert_eq!((read.program.to_string().len(), read.last.to_string().len()), (120, 312));
    }

    #[test]
    fn every_kind_of_end_is_read_as_it_was_written() {
        let details = Status::example().details.unwrap();
        let with = |status| Status::example().details?.last_end.map(|end| LastEnd { status, ..end });
        for last_end in [
            None,
            with(EndStatus::Unknown),
            with(EndStatus::Exited(255)),
            with(EndStatus::Killed { signal: 9, core: false }),
        ] {
            let details = Some(Details { last_end, ..details });
            let status = Status { details, ..Status::example() };
            assert_eq!(Status::read(&status.words()), Ok(status));
        }
    }

    #[test]
    fn page_of_version_0_2_0_is_read_without_details() {
        let old = Status { details: None, ..Status::example() };
        let words = old.words();
        // Version 0.2.0 left the rest of its page at 0.
        assert_eq!(words[SIZE..], [0; WORDS - SIZE]);
        assert_eq!(Status::read(&words), Ok(old));
    }

    #[test]
    fn words_of_version_0_2_0_keep_their_places() {
        let words = Status::example().words();
        assert_eq!(words[0], u64::from_be_bytes(*b"sam-st 2"));
        let numbers = [0, 123, 0x12, 2_000_000_000, 6, 1234, 4, 456, 3, 2, 77, 88, 1, 0, 0];
        assert_eq!(words[1..16], numbers);
        let texts = (Text::<16>::read(&words[16..]).unwrap(), Text::<40>::read(&words[32..]).unwrap());
        assert_eq!(texts, (Text::of("daemon"), Text::of("instance 3 (pid 455) exited 3")));
    }

    #[test]
    fn page_with_more_words_is_read_as_far_as_they_are_known() {
        let mut words = Status::example().words();
        words[SIZE] = 500;
        assert_eq!(Status::read(&words), Ok(Status::example()));
    }

    #[test]
    fn page_of_unknown_layout_is_reported_with_its_supervisor() {
        let unknown = Err(Unreadable::UnknownLayout { supervisor: 123 });
        let mut words = Status::example().words();
        words[0] = u64::from_be_bytes(*b"sam-st 3");
        assert_eq!(Status::read(&words), unknown);
        let mut words = Status::example().words();
        words[ACTIVITY] = Activity::ALL.len() as u64;
        assert_eq!(Status::read(&words), unknown, "an activity of a later version");
        words[0] = u64::from_be_bytes(*b"sam-xx 2");
        assert_eq!(Status::read(&words), Err(Unreadable::NotAPage));
    }

    #[test]
    fn control_characters_are_replaced_when_text_is_shown() {
        let odd = Status { program: Text::of("a\x1b[2Jb\nc\u{85}"), ..Status::example() };
        assert_eq!(Status::read(&odd.words()).unwrap().program.to_string(), "a?[2Jb?c?");
    }

    proptest! {
        #[test]
        fn random_words_are_read_or_refused_without_panic(
            random_words in prop::collection::vec(any::<u64>(), WORDS),
            magic: bool,
            now: u64,
        ) {
            let mut words: Words = *random_words.first_chunk().unwrap();
            if magic {
                words[0] = MAGIC;
                words[ACTIVITY] %= 8;
                words[PROGRAM] %= 200;
                words[LAST] %= 400;
                words[VERSION] %= 40;
                words[REASON] %= 40;
            }
            if let Ok(Status { details: Some(details), .. }) = Status::read(&words) {
                let _ = details.recent_restarts.number_at(now);
            }
        }
    }
}
