//! What a supervisor shows of itself, for sam-status: words in a page that is a memory file. They name the descriptor
//! of the instance's board, which is a memory file of its own.

#![forbid(unsafe_code)]

/// The name of the file in /proc.
pub const FILE: &std::ffi::CStr = c"sam-status";

/// The name of the files of boards in /proc.
pub const CONTROL_PAGE_FILE: &std::ffi::CStr = c"sam-control-page";

/// What the first word is. Another layout has another number.
const MAGIC: u64 = u64::from_be_bytes(*b"sam-st 2");

/// What happens to the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It is being made.
    Launching,
    /// It is watched, and there is nothing to object to.
    Watched,
    /// It was warned, and is killed when the time has come.
    Warned,
    /// It was sent what ends it, and is gone when the time has come.
    Ending,
    /// A debugger traces it, and nothing is done to it.
    Held,
    /// There is none; the next is made when the time has come.
    Pausing,
    /// There is none, and there will be none.
    Over,
}

impl Activity {
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

/// Where a process that may look at the descriptors of a supervisor finds a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLocation {
    /// The number of the descriptor.
    pub descriptor: i32,
    /// The inode number of the file: the descriptor's number may have become another file's.
    pub inode: u64,
}

/// How it stands with a supervised program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The supervisor's pid, as itself sees it.
    pub supervisor: i32,
    /// The recovery policy, as `sam_initialize` was told it.
    pub policy: u32,
    /// The longest silence allowed, in ns; 0: no limit.
    pub interval: u64,
    /// Where the instance's board is.
    pub control_page: Option<PageLocation>,
    /// The number of the instance, or of the last one.
    pub id: u32,
    /// Its pid, as the supervisor sees it; 0: there is none.
    pub pid: i32,
    /// How many instances were made after the first.
    pub restarts: u64,
    /// What happens to it.
    pub activity: Activity,
    /// Until when, in ns of the monotonic clock; 0: there is no limit.
    pub until: u64,
    /// When the last thing of note happened, in ns since 1970; 0: nothing did.
    pub last_at: u64,
    /// What it was.
    pub last: String,
    /// The program was told to end: no restart follows the end of its instance.
    pub end_is_final: bool,
    /// The program's name.
    pub program: String,
}

/// Where each word is on the page.
pub(crate) const SEQUENCE: usize = 1;
pub(crate) const FIRST: usize = 2;
const PROGRAM: usize = 16;
const LAST: usize = 32;

/// The words of texts: their length in bytes, then they themselves.
const PROGRAM_WORDS: usize = LAST - PROGRAM;
const LAST_WORDS: usize = 40;

/// The words of a page.
pub type Words = [u64; LAST + LAST_WORDS];

impl Status {
    /// As words. The sequence is 0.
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

    /// From words that may be anything.
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

/// The sequence of words that were read: even, and another after every change.
pub fn sequence(words: &Words) -> u64 {
    words[SEQUENCE]
}

fn put_text(words: &mut [u64], text: &str) {
    let room = (words.len() - 1) * size_of::<u64>();
    let text = &text.as_bytes()[..text.len().min(room)];
    words[0] = text.len() as u64;
    for (word, bytes) in words[1..].iter_mut().zip(text.chunks(size_of::<u64>())) {
        let mut whole = [0; size_of::<u64>()];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
}

/// Fit for a line on a terminal, whoever wrote it.
fn text(words: &[u64]) -> Option<String> {
    let bytes: Vec<u8> = words[1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let bytes = bytes.get(..usize::try_from(words[0]).ok()?)?;
    Some(String::from_utf8_lossy(bytes).replace(|c: char| c.is_control(), "?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status() -> Status {
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

    #[test]
    fn what_is_written_is_read() {
        for activity in Activity::ALL {
            for control_page in [None, Some(PageLocation { descriptor: 0, inode: 0 }), status().control_page]
            {
                let status = Status { activity, control_page, ..status() };
                assert_eq!(Status::read(&status.words()), Some(status));
            }
        }
        let long = Status { program: "p".repeat(500), last: "l".repeat(500), ..status() };
        let read = Status::read(&long.words()).unwrap();
        assert_eq!((read.program.len(), read.last.len()), (120, 312));
    }

    #[test]
    fn nothing_that_drives_a_terminal_is_read() {
        let odd = Status { program: "a\x1b[2Jb\nc\u{85}".to_owned(), ..status() };
        assert_eq!(Status::read(&odd.words()).unwrap().program, "a?[2Jb?c?");
    }

    proptest! {
        #[test]
        fn rubbish_is_read_or_refused(rubbish in prop::collection::vec(any::<u64>(), LAST + LAST_WORDS), magic: bool) {
            let mut words: Words = *rubbish.first_chunk().unwrap();
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
