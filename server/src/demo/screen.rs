//! The terminal, drawn over in place.

use super::view::{Line, Size, Style};
use std::io::{IsTerminal, Stdout, Write, stdout};

/// A terminal whose old content comes back when this is dropped.
pub(super) struct Screen {
    out: Stdout,
    has_colors: bool,
}

impl Screen {
    /// Takes over the terminal; `None` where the standard output is none.
    pub(super) fn open() -> Option<Screen> {
        let out = stdout();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !out.is_terminal() || is_dumb {
            return None;
        }
        let has_colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut screen = Screen { out, has_colors };
        // Another screen, no cursor.
        screen.write("\x1b[?1049h\x1b[?25l");
        Some(screen)
    }

    /// The size as it is now.
    pub(super) fn size(&self) -> Size {
        const USUAL: Size = Size { columns: 80, rows: 24 };
        match rustix::termios::tcgetwinsize(&self.out) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
            }
            _ => USUAL,
        }
    }

    /// Draws a picture over the last one.
    pub(super) fn draw(&mut self, lines: &[Line]) {
        // In one synchronized update where the terminal knows them, from the top left corner.
        let mut text = String::from("\x1b[?2026h\x1b[H");
        for line in lines {
            for (style, piece) in line {
                match self.code(*style) {
                    Some(code) => text.extend(["\x1b[", code, "m", piece, "\x1b[0m"]),
                    None => text.push_str(piece),
                }
            }
            // What was there before is cleared to the end of the line.
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J\x1b[?2026l");
        self.write(&text);
    }

    fn code(&self, style: Style) -> Option<&'static str> {
        match style {
            Style::Plain => None,
            Style::Strong => Some("1"),
            Style::Faint => Some("2"),
            Style::Bars => self.has_colors.then_some("36"),
        }
    }

    fn write(&mut self, text: &str) {
        // A terminal that went away is noticed by the shell, not here.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.write("\x1b[?25h\x1b[?1049l");
    }
}
