//! What sam-status sees of a supervisor: its status and the boards of its instances, in one memory file. Where there
//! can be no such file, the boards are pages of their own and nothing is seen.

#![forbid(unsafe_code)]

use crate::board::Board;
use crate::status::{self, Status};
use crate::sys::shared_page::{PageFile, SharedPage};

/// The supervisor's end.
#[derive(Debug)]
pub struct Showcase(Option<Open>);

#[derive(Debug)]
struct Open {
    file: PageFile,
    page: SharedPage,
    shown: Option<Status>,
}

impl Showcase {
    /// An empty one.
    pub fn open() -> Showcase {
        let open = || {
            let mut file = PageFile::create(status::FILE)?;
            let mut page = file.page()?;
            // No instance may say how it stands with it.
            page.keep_to_this_process()?;
            nix::Result::Ok(Open { file, page, shown: None })
        };
        Showcase(open().ok())
    }

    /// A board for an instance.
    pub fn board(&mut self) -> nix::Result<Board> {
        match self.0.as_mut().and_then(|open| open.file.page().ok()) {
            Some(page) => Ok(Board::on(page)),
            None => Board::new(0),
        }
    }

    /// The board of an instance that is gone, or never was.
    pub fn free(&self, board: Board) {
        let place = board.place();
        drop(board);
        if let (Some(open), Some(place)) = (&self.0, place) {
            open.file.free(place);
        }
    }

    /// Shows it.
    pub fn show(&mut self, status: &Status) {
        let Some(open) = &mut self.0 else { return };
        if open.shown.as_ref() != Some(status) {
            status::page::write(status, &open.page);
            open.shown = Some(status.clone());
        }
    }
}
