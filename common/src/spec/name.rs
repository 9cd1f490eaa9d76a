//! Names of jobs: what is one, and how one is made from a command.

/// Longest name of a job, characters.
pub const MAX_NAME: usize = 40;

/// Lower-case letters, digits and `-`, a letter or digit at both ends.
pub(super) fn is_valid(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().next_back().is_some_and(plain);
    ends && name.len() <= MAX_NAME && name.bytes().all(|b| plain(b) || b == b'-')
}

/// A name for a job that was given none: of the script or module if an interpreter runs one, else of the
/// program. `python train.py` is `train`, `python -m pkg.mod` is `mod`, `./a.out` is `a`.
pub(super) fn from_command(command: &[String]) -> String {
    let program = command.first().map_or("", |program| basename(program));
    let subject = script(stem(program), command.get(1..).unwrap_or_default()).unwrap_or(stem(program));
    let mut name = String::new();
    for c in subject.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
        if name.len() == MAX_NAME {
            break;
        }
    }
    match name.trim_end_matches('-') {
        "" => "job".to_string(),
        name => name.to_string(),
    }
}

/// What an interpreter runs, by its arguments.
fn script<'a>(program: &str, args: &'a [String]) -> Option<&'a str> {
    let python = program.starts_with("python") || program.starts_with("pypy");
    if !python && !matches!(program, "bash" | "sh" | "dash" | "zsh" | "perl" | "ruby" | "node" | "julia") {
        return None;
    }
    let mut args = args.iter().map(String::as_str);
    loop {
        match args.next()? {
            "-m" if python => return args.next()?.rsplit('.').find(|part| *part != "__main__"),
            "-W" | "-X" if python => _ = args.next(),
            "-c" | "-e" | "-" => return None,
            option if option.starts_with('-') => {}
            script => return Some(stem(basename(script))),
        }
    }
}

fn basename(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The name without its extension; `python3.11` keeps its digits, for they are no extension.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => name,
    }
}
