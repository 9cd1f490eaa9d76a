//! Elements of an SVG file, in four layers: frames, the cables over them, boxes that hide what passes behind them, and
//! what is in these.

use std::fmt::Write as _;

/// Of the picture, in pixels where it is not scaled.
pub(crate) const WIDTH: u32 = 1_400;
/// Rails with a colour of their own.
pub(crate) const RAILS: u16 = 8;

/// The background is drawn, so that text is read on any page; dark where the reader prefers that.
const STYLE: &str = "\
text{font-family:system-ui,sans-serif;fill:#1f2430}
.title{font-size:18px;font-weight:600}.plane{font-size:15px;font-weight:600}.label{font-size:12px}.small{font-size:11px;fill:#667085}
.bg{fill:#fbfbfc}.box{fill:#f1f3f6;stroke:#c4cad4}.block{fill:none;stroke:#c4cad4}
.switch{fill:#d5e3f0;stroke:#c4cad4}.node{fill:#dcdfe6}.gpu{fill:#cfe6d2}.short{fill:#f3b13c}.bad{fill:#e0483e}
.link{stroke:#667085;stroke-opacity:.22}.thin{stroke:#f3b13c;stroke-width:2;stroke-opacity:1}
.lost{stroke:#e0483e;stroke-width:2;stroke-opacity:1;stroke-dasharray:5 4}
.r0{fill:#2a9d8f}.r1{fill:#7b5cd6}.r2{fill:#3a86d8}.r3{fill:#a0683a}.r4{fill:#b5487f}.r5{fill:#6a9a1f}.r6{fill:#5b6b7f}.r7{fill:#1d6f42}
.s0{stroke:#2a9d8f}.s1{stroke:#7b5cd6}.s2{stroke:#3a86d8}.s3{stroke:#a0683a}.s4{stroke:#b5487f}.s5{stroke:#6a9a1f}.s6{stroke:#5b6b7f}.s7{stroke:#1d6f42}
.s0,.s1,.s2,.s3,.s4,.s5,.s6,.s7{fill:none;stroke-width:1.4}
@media (prefers-color-scheme:dark){
text{fill:#e6e8ee}.small{fill:#98a1b3}.bg{fill:#16181d}.box{fill:#1e2128;stroke:#414856}.block{stroke:#414856}
.switch{fill:#2c4a66;stroke:#414856}.node{fill:#3a404c}.gpu{fill:#2f5238}.short{fill:#b97d12}.bad{fill:#c23a33}.link{stroke:#98a1b3}
}
";

#[derive(Debug, Default)]
pub(crate) struct Canvas {
    frames: String,
    links: String,
    boxes: String,
    front: String,
}

impl Canvas {
    /// A frame that cables cross.
    pub(crate) fn frame(&mut self, at: (u32, u32, u32, u32), class: &str) {
        self.frames.push_str(&rounded(at, class));
    }

    /// A box before the cables.
    pub(crate) fn panel(&mut self, at: (u32, u32, u32, u32), class: &str) {
        self.boxes.push_str(&rounded(at, class));
    }

    /// A box, with what is shown when the pointer is over it.
    pub(crate) fn rect(&mut self, at: (u32, u32, u32, u32), class: &str, title: Option<&str>) {
        let (x, y, width, height) = at;
        let _ = write!(
            self.front,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"2\""
        );
        let _ = match title {
            Some(title) => writeln!(self.front, "><title>{}</title></rect>", escaped(title)),
            None => writeln!(self.front, "/>"),
        };
    }

    pub(crate) fn text(&mut self, x: u32, y: u32, class: &str, text: &str) {
        let _ = writeln!(self.front, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(text));
    }

    pub(crate) fn line(&mut self, at: (u32, u32, u32, u32), class: &str) {
        let (x1, y1, x2, y2) = at;
        let _ = writeln!(self.links, "<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>");
    }

    /// A line through points.
    pub(crate) fn path(&mut self, points: &[(u32, u32)], class: &str) {
        let _ = write!(self.links, "<path class=\"{class}\" d=\"");
        for ((x, y), at) in points.iter().zip(0..) {
            let _ = write!(self.links, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
        }
        let _ = writeln!(self.links, "\"/>");
    }

    pub(crate) fn finish(self, height: u32) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
             <style>\n{STYLE}</style>\n<rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\"/>\n{}{}{}{}</svg>\n",
            self.frames, self.links, self.boxes, self.front
        )
    }
}

fn rounded((x, y, width, height): (u32, u32, u32, u32), class: &str) -> String {
    format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n")
}

/// About how wide a text of that size is.
pub(crate) fn wide(text: &str, size: u32) -> u32 {
    let long = u32::try_from(text.chars().count()).unwrap_or(u32::MAX).min(10_000);
    long * size * 58 / 100
}

/// As much of a text as has room: its beginning and its end, which tells most of names that are numbered.
pub(crate) fn fitted(text: &str, size: u32, width: u32) -> String {
    if wide(text, size) <= width {
        return text.to_string();
    }
    let room = usize::try_from(width * 100 / (size * 58)).unwrap_or_default().saturating_sub(1);
    let (head, tail) = (room - room / 2, room / 2);
    let long = text.chars().count();
    text.chars().take(head).chain(['…']).chain(text.chars().skip(long.saturating_sub(tail))).collect()
}

/// For text and attributes; characters that XML does not have are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_names_are_text_and_nothing_else() {
        let mut canvas = Canvas::default();
        canvas.text(0, 0, "small", "</text><script>&\"'\u{1}");
        assert!(canvas.finish(10).contains(">&lt;/text&gt;&lt;script&gt;&amp;&quot;&#39;</text>"));
    }

    #[test]
    fn long_names_are_cut_to_their_room() {
        assert_eq!(fitted("leaf-1", 10, 100), "leaf-1");
        assert_eq!(fitted("a10-p1-dgx-03-c17", 10, 58), "a10-p…-c17");
        assert!(wide(&fitted(&"x".repeat(64), 10, 58), 10) <= 58);
    }
}
