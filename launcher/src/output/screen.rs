//! Standard output and standard error, with the live line kept at the bottom of a terminal.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// Wait before a full non-blocking descriptor is tried again.
const FULL: Duration = Duration::from_millis(5);

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    Always,
    Never,
}

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Out,
    Err,
}

/// The two streams of this process.
#[derive(Debug)]
pub(crate) struct Screen {
    out: io::Stdout,
    err: io::Stderr,
    /// Which of the streams still takes anything: a closed pipe (`| head`) is no reason to stop.
    open: [bool; 2],
    terminal: [bool; 2],
    color: [bool; 2],
    /// A job's foreground writes here: that its reader is gone is said.
    of_job: bool,
    status: Option<String>,
    /// The live line is on the terminal.
    drawn: bool,
}

impl Screen {
    pub(crate) fn new(color: ColorChoice) -> Screen {
        let terminal = [io::stdout().is_terminal(), io::stderr().is_terminal()];
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let color = terminal.map(|terminal| match color {
            ColorChoice::Auto => terminal && !plain,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        });
        let (out, err) = (io::stdout(), io::stderr());
        Screen { out, err, open: [true; 2], terminal, color, of_job: false, status: None, drawn: false }
    }

    /// The screen of a job's foreground.
    pub(crate) fn of_job(color: ColorChoice) -> Screen {
        Screen { of_job: true, ..Screen::new(color) }
    }

    pub(crate) fn colored(&self, target: Target) -> bool {
        self.color[target as usize]
    }

    /// Standard error is a terminal: a live line makes sense.
    pub(crate) fn live(&self) -> bool {
        self.terminal[Target::Err as usize]
    }

    /// Writes bytes as they are. A stream whose reader is gone is not written again.
    pub(crate) fn write(&mut self, target: Target, bytes: &[u8]) {
        if bytes.is_empty() || !self.open[target as usize] {
            return;
        }
        if self.terminal[target as usize] {
            self.erase();
        }
        let written = match target {
            Target::Out => write_all(&mut self.out, bytes).and_then(|()| self.out.flush()),
            Target::Err => write_all(&mut self.err, bytes),
        };
        let Err(error) = written else { return };
        self.open[target as usize] = false;
        if target == Target::Err {
            return;
        }
        let text = match error.kind() {
            ErrorKind::BrokenPipe if self.of_job => {
                "phalanx: nobody reads standard output any more; the job goes on, and its logs have it all\n"
                    .to_owned()
            }
            // Who looks at logs saw enough.
            ErrorKind::BrokenPipe => return,
            _ => format!(
                "phalanx: warning: standard output takes no more: {error}; the log files have it all\n"
            ),
        };
        self.write(Target::Err, text.as_bytes());
    }

    /// Sets the live line; nothing without a terminal.
    pub(crate) fn set_status(&mut self, status: Option<String>) {
        if self.live() {
            self.erase();
            self.status = status;
            self.draw();
        }
    }

    /// Draws the live line again after other output, if that ended with a line.
    pub(crate) fn draw(&mut self) {
        if let (false, Some(status)) = (self.drawn, &self.status) {
            let _ = self.err.write_all(status.as_bytes());
            self.drawn = true;
        }
    }

    fn erase(&mut self) {
        if self.drawn {
            let _ = self.err.write_all(b"\r\x1b[K");
            self.drawn = false;
        }
    }
}

/// As `Write::write_all`, and also for a descriptor that somebody made non-blocking: a terminal is
/// shared with whoever else has it open.
fn write_all(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(FULL),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
