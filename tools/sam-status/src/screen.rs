//! The terminal that the list is printed to, if it is one.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use terminal_size::{Height, Width, terminal_size_of};

use crate::table::Look;

/// A terminal, or another output.
#[derive(Debug)]
pub struct Screen {
    /// The columns and lines of the terminal. `None` for an output that is no terminal.
    size: Option<(u16, u16)>,
    color: bool,
}

impl Screen {
    /// Looks at standard output.
    pub fn of_standard_output() -> Screen {
        Screen::of(&io::stdout())
    }

    /// Looks at standard error.
    pub fn of_standard_error() -> Screen {
        Screen::of(&io::stderr())
    }

    fn of(output: &(impl AsFd + IsTerminal)) -> Screen {
        let size = terminal_size_of(output).filter(|_| output.is_terminal());
        let is_set = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        // <https://no-color.org>
        let wants_color = !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        // A serial line has the size 0.
        let size = size.map(|(Width(columns), Height(lines))| (columns, lines));
        let size = size.filter(|&(columns, lines)| columns > 0 && lines > 0);
        Screen { size, color: output.is_terminal() && wants_color }
    }

    /// Returns `true` if the output is a terminal of a known size.
    pub fn is_terminal(&self) -> bool {
        self.size.is_some()
    }

    /// Returns the look of a table on this screen. `wide`: all columns, also if they do not fit.
    pub fn look(&self, wide: bool) -> Look {
        Look { width: self.size.filter(|_| !wide).map(|(columns, _)| columns), color: self.color }
    }

    /// Returns the text that shows a new table in the place of the last one: the summary, the notes and as many lines
    /// of the table as the screen has, so that its heading does not scroll away. The last line of the screen stays free
    /// for the cursor, and for the prompt of the shell later.
    pub fn frame(&self, summary: &str, notes: &[String], table: &str) -> String {
        let height = usize::from(self.size.map_or(u16::MAX, |(_, lines)| lines)).saturating_sub(1);
        let all: Vec<&str> =
            [summary].into_iter().chain(notes.iter().map(String::as_str)).chain(table.lines()).collect();
        let shown = if all.len() <= height { all.len() } else { height.saturating_sub(1) };
        let more = all.len() - shown;
        let more = (more > 0).then(|| format!("({more} more)"));
        let lines = all[..shown].iter().copied().chain(more.as_deref());
        // Cursor home, then each line with the rest of the line cleared, then the rest of the screen cleared
        // (console_codes(4)). To clear the screen first would make it flicker.
        let lines: String = lines.map(|line| format!("{line}\x1b[K\n")).collect();
        format!("\x1b[H{lines}\x1b[J")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(lines: u16) -> Screen {
        Screen { size: Some((80, lines)), color: false }
    }

    /// Returns the lines that a frame shows.
    fn shown(frame: &str) -> Vec<String> {
        let text = frame.strip_prefix("\x1b[H").unwrap().strip_suffix("\x1b[K\n\x1b[J").unwrap();
        text.split("\x1b[K\n").map(str::to_owned).collect()
    }

    #[test]
    fn frame_keeps_the_heading_and_cuts_the_table_off_at_the_height() {
        let notes = ["note".to_owned()];
        let table = "HEAD\na\nb\nc\n";
        assert_eq!(shown(&screen(7).frame("sum", &notes, table)), ["sum", "note", "HEAD", "a", "b", "c"]);
        assert_eq!(shown(&screen(6).frame("sum", &notes, table)), ["sum", "note", "HEAD", "a", "(2 more)"]);
        assert_eq!(shown(&screen(2).frame("sum", &notes, table)), ["(6 more)"]);
    }

    #[test]
    fn wide_table_has_no_limit() {
        assert_eq!(screen(9).look(false).width, Some(80));
        assert_eq!(screen(9).look(true).width, None);
        assert_eq!(Screen { size: None, color: false }.look(false).width, None);
    }
}
