//! A text on a status page.

use std::fmt::{self, Display, Write};

/// A text in words of a status page: the first has the number of the bytes, the others have the bytes. What does not fit
/// is cut off.
///
/// It is part of the supervisor's state, so that a new text needs no memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Text<WORDS> {
    /// The text of no bytes.
    pub const EMPTY: Text<WORDS> = Text([0; WORDS]);

    /// Returns the text that `value` is displayed as.
    pub fn of(value: impl Display) -> Text<WORDS> {
        let mut text = Text::EMPTY;
        // A text that is cut off is no error.
        let _ = write!(text, "{value}");
        text
    }

    /// Returns the text, as the words that a page has.
    pub(super) fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// Reads the text at the beginning of `words`. Returns `None` if its length is not valid.
    pub(super) fn read(words: &[u64]) -> Option<Text<WORDS>> {
        let text = Text(*words.first_chunk()?);
        (text.0[0] <= Self::capacity() as u64).then_some(text)
    }

    const fn capacity() -> usize {
        (WORDS - 1) * size_of::<u64>()
    }
}

impl<const WORDS: usize> Write for Text<WORDS> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let length = self.0[0] as usize;
        for (at, byte) in (length..Self::capacity()).zip(more.bytes()) {
            let word = &mut self.0[1 + at / size_of::<u64>()];
            let mut bytes = word.to_ne_bytes();
            bytes[at % size_of::<u64>()] = byte;
            *word = u64::from_ne_bytes(bytes);
            self.0[0] += 1;
        }
        Ok(())
    }
}

impl<const WORDS: usize> Display for Text<WORDS> {
    /// Control characters are replaced by `?`, because the text may come from a hostile process and is printed to a
    /// terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0[1..].iter().flat_map(|word| word.to_ne_bytes());
        let bytes: Vec<u8> = bytes.take(self.0[0] as usize).collect();
        f.write_str(&String::from_utf8_lossy(&bytes).replace(|c: char| c.is_control(), "?"))
    }
}

impl<const WORDS: usize> fmt::Debug for Text<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}
