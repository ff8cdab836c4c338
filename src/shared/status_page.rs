//! The format of the status page, which the supervisor writes and sam-status reads.
//!
//! The page is a memory file among the supervisor's descriptors. It consists of words, and names the descriptor of the
//! instance's control page, which is a memory file of its own.

#![forbid(unsafe_code)]

/// The name of the memory file that a supervisor's status page is, see memfd_create(2). sam-status finds supervisors by
/// it.
pub const FILE: &std::ffi::CStr = c"sam-status";

/// The name of the memory file that an instance's control page is, see memfd_create(2). /proc/PID/fd shows it.
pub const CONTROL_PAGE_FILE: &std::ffi::CStr = c"sam-control-page";

/// The first word of a supervisor's status page. It identifies the page and its layout: a change of the layout changes
/// it, and sam-status reads only pages that have it.
const MAGIC: u64 = u64::from_be_bytes(*b"sam-st 2");

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub last: String,
    /// `true` if the program got a termination signal, so that no restart follows the end of its instance.
    pub end_is_final: bool,
    /// The file name of the supervised program.
    pub program: String,
}

/// The index of the 64-bit word of a status page that contains the sequence number. The supervisor changes it before
/// and after each update, so that sam-status notices an update while it reads.
pub(crate) const SEQUENCE: usize = 1;
/// The index of the first 64-bit word of a status page that contains facts: the supervisor's pid.
pub(crate) const FIRST: usize = 2;
/// The index of the first 64-bit word of a status page that contains the name of the program.
const PROGRAM: usize = 16;
/// The index of the first 64-bit word of a status page that contains the text of the last log line.
const LAST: usize = 32;

/// The number of words of a status page for the name of the program: one for its length in bytes, the others for its
/// bytes.
const PROGRAM_WORDS: usize = LAST - PROGRAM;
/// The number of words of a status page for the text of the last log line: one for its length in bytes, the others for
/// its bytes.
const LAST_WORDS: usize = 40;

/// The contents of a status page as the array of its 64-bit words.
pub type Words = [u64; LAST + LAST_WORDS];

impl Status {
    /// Returns this status as the words of a status page. The supervisor stores them there, and stores the sequence
    /// number, which is 0 here, by itself. Texts that do not fit are cut off.
    pub fn words(&self) -> Words {
        let mut words = [0; LAST + LAST_WORDS];
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
        put_text(&mut words[PROGRAM..PROGRAM + PROGRAM_WORDS], &self.program);
        put_text(&mut words[LAST..LAST + LAST_WORDS], &self.last);
        words
    }

    /// Reads a status from the words of a status page. Returns `None` if the words are not valid. sam-status calls
    /// this, and a hostile process may have written the page.
    pub fn read(words: &Words) -> Option<Status> {
        let [
            supervisor,
            policy,
            interval,
            descriptor,
            inode,
            id,
            pid,
            restarts,
            activity,
            until,
            last_at,
            end_is_final,
        ] = *words[FIRST..].first_chunk()?;
        if words[0] != MAGIC {
            return None;
        }
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
            activity: *Activity::ALL.get(usize::try_from(activity).ok()?)?,
            until,
            last_at,
            end_is_final: end_is_final != 0,
            program: text(&words[PROGRAM..PROGRAM + PROGRAM_WORDS])?,
            last: text(&words[LAST..LAST + LAST_WORDS])?,
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

/// Stores a text in words of a status page: its length in bytes in the first word, then as many of its bytes as fit.
fn put_text(words: &mut [u64], text: &str) {
    let capacity = (words.len() - 1) * size_of::<u64>();
    let text = &text.as_bytes()[..text.len().min(capacity)];
    words[0] = text.len() as u64;
    for (word, bytes) in words[1..].iter_mut().zip(text.chunks(size_of::<u64>())) {
        let mut whole = [0; size_of::<u64>()];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
}

/// Reads a text from words of a status page. Returns `None` if the length in the first word is not valid.
///
/// Control characters are replaced by `?`, because the text may come from a hostile process and is printed to a
/// terminal.
fn text(words: &[u64]) -> Option<String> {
    let bytes: Vec<u8> = words[1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let bytes = bytes.get(..usize::try_from(words[0]).ok()?)?;
    Some(String::from_utf8_lossy(bytes).replace(|c: char| c.is_control(), "?"))
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
            last: "instance 3 (pid 455) exited 3".to_owned(),
            program: "daemon".to_owned(),
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
                assert_eq!(Status::read(&status.words()), Some(status));
            }
        }
        let long = Status { program: "p".repeat(500), last: "l".repeat(500), ..Status::example() };
        let read = Status::read(&long.words()).unwrap();
        assert_eq!((read.program.len(), read.last.len()), (120, 312));
    }

    #[test]
    fn control_characters_are_replaced_when_text_is_read() {
        let odd = Status { program: "a\x1b[2Jb\nc\u{85}".to_owned(), ..Status::example() };
        assert_eq!(Status::read(&odd.words()).unwrap().program, "a?[2Jb?c?");
    }

    proptest! {
        #[test]
        fn random_words_are_read_or_refused_without_panic(
            random_words in prop::collection::vec(any::<u64>(), LAST + LAST_WORDS),
            magic: bool,
        ) {
            let mut words: Words = *random_words.first_chunk().unwrap();
            if magic {
                words[0] = MAGIC;
                words[FIRST + 8] %= 8;
                words[PROGRAM] %= 200;
                words[LAST] %= 400;
            }
            let _ = Status::read(&words);
        }
    }
}
