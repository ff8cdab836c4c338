//! The format of the status page, which the supervisor writes and sam-status reads.
//!
//! The page is a memory file among the supervisor's descriptors. It consists of words, and names the descriptor of the
//! instance's control page, which is a memory file of its own.

#![forbid(unsafe_code)]

/// The name of a status page as a memory file, see memfd_create(2).
pub const FILE: &std::ffi::CStr = c"sam-status";

/// The name of a control page as a memory file.
pub const CONTROL_PAGE_FILE: &std::ffi::CStr = c"sam-control-page";

/// The first word of the page. It changes with the layout.
const MAGIC: u64 = u64::from_be_bytes(*b"sam-st 2");

/// The state of the instance in the view of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// The supervisor launches the instance, or looks for the process that continues as the instance.
    Launching,
    /// The instance runs, and the supervisor has no reason to act.
    Watched,
    /// The supervisor has sent the warning signal, and kills the instance when the time is over.
    Warned,
    /// The supervisor has sent SIGKILL, or the hang signal with SIGKILL to follow when the time is over.
    Ending,
    /// A debugger traces the instance, so the supervisor does not warn or kill it.
    Held,
    /// There is no instance. The supervisor launches the next one when the time is over.
    Pausing,
    /// There is no instance, and no other one follows.
    Over,
}

impl Activity {
    /// All values, in the order of their numbers on the page.
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

/// The place of a page among the descriptors of a supervisor. Other processes open it there through /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLocation {
    /// The number of the descriptor in the supervisor.
    pub descriptor: i32,
    /// The inode number of the file. It shows whether the descriptor still belongs to the same file.
    pub inode: u64,
}

/// The facts that a supervisor shows sam-status about itself and its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The supervisor's pid in its own PID namespace.
    pub supervisor: i32,
    /// The recovery policy that the application passed to `sam_initialize`.
    pub policy: u32,
    /// The longest allowed silence of the instance, in ns. 0 for no limit.
    pub interval: u64,
    /// The place of the instance's control page, if it is a file.
    pub control_page: Option<PageLocation>,
    /// The instance id of the current instance, or else of the last one.
    pub id: u32,
    /// The pid of the instance as fork(2) returned it to the supervisor. 0 if there is no instance.
    pub pid: i32,
    /// The number of instances after the first one.
    pub restarts: u64,
    /// The activity of the supervisor: whether it watches the instance, has warned it, and so on.
    pub activity: Activity,
    /// The time of CLOCK_MONOTONIC, in ns, at which `activity` ends. 0 for no limit.
    pub until: u64,
    /// The time of the last logged event, in ns since 1970. 0 if there was none.
    pub last_at: u64,
    /// The text of the last log line about the instance.
    pub last: String,
    /// `true` if the program got a termination signal, so that no restart follows the end of its instance.
    pub end_is_final: bool,
    /// The file name of the supervised program.
    pub program: String,
}

/// The index of the word with the sequence number.
pub(crate) const SEQUENCE: usize = 1;
/// The index of the first word after the sequence number.
pub(crate) const FIRST: usize = 2;
/// The index of the first word of the program's name.
const PROGRAM: usize = 16;
/// The index of the first word of the last event.
const LAST: usize = 32;

/// The number of words for the program's name. As in each text, the first word is the length in bytes.
const PROGRAM_WORDS: usize = LAST - PROGRAM;
/// The number of words for the last event.
const LAST_WORDS: usize = 40;

/// A status page as the array of its 64-bit words.
pub type Words = [u64; LAST + LAST_WORDS];

impl Status {
    /// Returns the words of the page. The sequence number is 0. Texts are cut off if they do not fit.
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

    /// Reads the words of a page. A hostile process may have written them. Returns `None` if they are not valid.
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

/// Returns the sequence number of a page. The number is odd while the supervisor writes. It is different after each
/// change.
///
/// A reader that finds the same even number before and after it reads the page has read one complete status.
pub fn sequence(words: &Words) -> u64 {
    words[SEQUENCE]
}

/// Stores a text: its length in bytes in the first word, then the bytes that fit.
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

/// Reads a text. Returns `None` if its length is not valid.
///
/// Control characters are replaced, because the text may come from a hostile process and is printed to a terminal.
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
