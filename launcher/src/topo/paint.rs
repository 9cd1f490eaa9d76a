//! Text with tones, for terminals of any width, with and without colours.

/// What a piece of text means, which decides its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Strong,
    Faint,
    Good,
    /// Less than it should be.
    Worse,
    Bad,
    /// A rail of a fabric; rails next to each other differ.
    Rail(u16),
}

/// How text is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    pub(crate) color: bool,
    /// Lines of trees by characters beyond ASCII.
    pub(crate) unicode: bool,
    /// Columns; `None` where nothing limits a line.
    pub(crate) width: Option<usize>,
}

/// A line in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(Vec<(Tone, String)>);

/// Colours that read well on dark and on light.
const RAILS: [u8; 6] = [36, 35, 34, 33, 32, 31];

impl Tone {
    fn code(self) -> Option<u8> {
        match self {
            Tone::Plain => None,
            Tone::Strong => Some(1),
            Tone::Faint => Some(2),
            Tone::Good => Some(32),
            Tone::Worse => Some(33),
            Tone::Bad => Some(31),
            Tone::Rail(rail) => Some(RAILS[usize::from(rail) % RAILS.len()]),
        }
    }
}

impl Paint {
    #[cfg(test)]
    pub(crate) const PLAIN: Paint = Paint { color: false, unicode: true, width: None };

    pub(crate) fn piece(self, tone: Tone, text: &str) -> String {
        match tone.code().filter(|_| self.color && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_string(),
        }
    }

    /// `a · b`, as far as the terminal has the dot.
    pub(crate) fn dot(self) -> &'static str {
        if self.unicode { " · " } else { ", " }
    }

    pub(crate) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }
}

impl Line {
    pub(crate) fn of(text: impl Into<String>) -> Line {
        Line::default().with(Tone::Plain, text)
    }

    pub(crate) fn toned(tone: Tone, text: impl Into<String>) -> Line {
        Line::default().with(tone, text)
    }

    /// Control characters of strangers' names do not reach the terminal.
    pub(crate) fn with(mut self, tone: Tone, text: impl Into<String>) -> Line {
        let mut text: String = text.into();
        if text.chars().any(char::is_control) {
            text = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        }
        self.0.push((tone, text));
        self
    }

    pub(crate) fn and(self, text: impl Into<String>) -> Line {
        self.with(Tone::Plain, text)
    }

    pub(crate) fn join(mut self, other: Line) -> Line {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, text)| text.is_empty())
    }

    pub(crate) fn paint(&self, paint: Paint) -> String {
        self.0.iter().map(|(tone, text)| paint.piece(*tone, text)).collect()
    }

    /// In lines of at most so many columns: broken after spaces and commas, and inside of a word only where it
    /// alone is longer. No more than `most` lines; the last then says that there is more.
    pub(crate) fn wrap(&self, width: usize, most: usize, paint: Paint) -> Vec<Line> {
        let width = width.max(8);
        let mut lines = vec![Line::default()];
        let mut used = 0;
        for (tone, text) in &self.0 {
            for word in text.split_inclusive([' ', ',']) {
                let long = word.trim_end().chars().count();
                if used > 0 && used + long > width {
                    lines.push(Line::default());
                    used = 0;
                }
                let mut rest: &str = word;
                while used + rest.trim_end().chars().count() > width {
                    let cut = rest.char_indices().nth(width - used).map_or(rest.len(), |(at, _)| at);
                    let (piece, after) = rest.split_at(cut);
                    push(&mut lines, *tone, piece);
                    lines.push(Line::default());
                    (rest, used) = (after, 0);
                }
                if !(rest.trim().is_empty() && used == 0 && lines.len() > 1) {
                    push(&mut lines, *tone, rest);
                    used += rest.chars().count();
                }
            }
        }
        if lines.len() > most {
            lines.truncate(most.max(1));
            let end = paint.ellipsis();
            if let Some(last) = lines.last_mut() {
                last.cut(width.saturating_sub(end.chars().count()));
                last.0.push((Tone::Faint, end.to_string()));
            }
        }
        lines
    }

    fn cut(&mut self, width: usize) {
        let mut left = width;
        for (_, text) in &mut self.0 {
            let cut = text.char_indices().nth(left).map_or(text.len(), |(at, _)| at);
            text.truncate(cut);
            left = left.saturating_sub(text.chars().count());
        }
    }
}

fn push(lines: &mut [Line], tone: Tone, text: &str) {
    let Some(line) = lines.last_mut() else { return };
    match line.0.last_mut() {
        Some((last, before)) if *last == tone => before.push_str(text),
        _ => line.0.push((tone, text.to_string())),
    }
}

/// `1 node`, `2 switches`, `1,024 leaves`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let what = match what.strip_suffix('f') {
        _ if number == 1 => what.to_string(),
        Some(lea) => format!("{lea}ves"),
        None if what.ends_with("ch") || what.ends_with('s') => format!("{what}es"),
        None => format!("{what}s"),
    };
    format!("{} {what}", thousands(number))
}

pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `400G`, `2.5G`, `100M`.
pub(crate) fn speed(mbps: u32) -> String {
    match mbps {
        0..1000 => format!("{mbps}M"),
        _ => format!("{}G", f64::from(mbps) / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_after_spaces_and_commas_and_say_when_there_is_more() {
        let line = Line::of("nodes ").with(Tone::Strong, "gpu-[01-18],login,n1");
        let text = |most| -> Vec<String> {
            line.wrap(16, most, Paint::PLAIN).iter().map(|line| line.paint(Paint::PLAIN)).collect()
        };
        assert_eq!(text(9), ["nodes ", "gpu-[01-18],", "login,n1"]);
        assert_eq!(text(2), ["nodes ", "gpu-[01-18],…"]);
        let long = Line::of("x".repeat(20)).wrap(8, 9, Paint::PLAIN);
        assert_eq!(long.iter().map(Line::len).collect::<Vec<_>>(), [8, 8, 4]);
    }

    #[test]
    fn strangers_names_bring_no_control_characters() {
        let colored = Paint { color: true, ..Paint::PLAIN };
        assert_eq!(Line::of("a\x1b[31mb\n").paint(Paint::PLAIN), "a?[31mb?");
        assert_eq!(Line::toned(Tone::Bad, "a").paint(colored), "\x1b[31ma\x1b[0m");
        assert_eq!(Line::toned(Tone::Bad, "a").paint(Paint::PLAIN), "a");
    }

    #[test]
    fn numbers_and_speeds_are_short() {
        assert_eq!(counted(1, "node"), "1 node");
        assert_eq!(counted(1_024, "switch"), "1,024 switches");
        assert_eq!(counted(3, "leaf"), "3 leaves");
        assert_eq!([speed(100), speed(2_500), speed(400_000)], ["100M", "2.5G", "400G"]);
    }
}
