//! Keys of the terminal, without Enter.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read, stdin};
use tokio::sync::mpsc;

/// What is pressed. The terminal is as it was once this is dropped.
pub(super) struct Keys {
    before: Option<Termios>,
    pressed: Option<mpsc::Receiver<u8>>,
}

impl Keys {
    /// Listens where it is `wanted` and the standard input is a terminal.
    pub(super) fn open(wanted: bool) -> Keys {
        /// Keys that nobody has taken yet; more are dropped.
        const WAITING_MAX: usize = 8;
        let input = stdin();
        let before = match wanted && input.is_terminal() {
            true => tcgetattr(&input).ok(),
            false => None,
        };
        let Some(before) = before else { return Keys { before: None, pressed: None } };
        let mut each = before.clone();
        each.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        if tcsetattr(&input, OptionalActions::Now, &each).is_err() {
            return Keys { before: None, pressed: None };
        }
        let (sender, pressed) = mpsc::channel(WAITING_MAX);
        // It ends with the program: a read of a terminal cannot be called off.
        std::thread::spawn(move || {
            for key in input.lock().bytes().map_while(Result::ok) {
                if sender.try_send(key).is_err_and(|_| sender.is_closed()) {
                    return;
                }
            }
        });
        Keys { before: Some(before), pressed: Some(pressed) }
    }

    /// Waits until `key` is pressed.
    pub(super) async fn pressed(&mut self, key: u8) {
        if let Some(pressed) = &mut self.pressed {
            while let Some(next) = pressed.recv().await {
                if next == key {
                    return;
                }
            }
        }
        std::future::pending().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that went away is noticed by the shell, not here.
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}
