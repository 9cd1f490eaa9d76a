//! Files that are not what they should be: the path, what is wrong and what is known.

use std::os::unix::fs::PermissionsExt;

use crate::support::{files, skipped, topo};

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_is_wrong() {
    let dir = files(&[
        ("empty.txt", ""),
        ("poem.txt", "Shall I compare thee to a summer's day?\n"),
        ("cut.json", "{\"lldp\": [{\"interface\": [{\"name\": \"eth0\""),
        ("ragged.csv", "node,leaf\nn1\n"),
        ("site.yaml", "nodes:\n  n1: {laef: l1}\n"),
        ("snapshot.json", "{\"version\": 1, \"network\": {}}"),
        ("cut.out", "switchguid=0xb001(b001)\n"),
        ("hosts.csv", "node;leaf\nn1;l1\n"),
        ("capture.tar.bz2", "BZh91AY&SY,,\n"),
        ("open.conf", "SwitchName=s1 Nodes=n[1-4\n"),
        ("cut.xml", "<topology version=\"2.0\">\n<object type=\"Machine\">\n"),
        ("node.yaml", "node:\n  n1: {leaf: l1}\n"),
    ]);
    for (name, says) in [
        ("no-such.out", "cannot read no-such.out: No such file"),
        ("gpu-07", "a node, `check` and `export` stand before --from"),
        ("empty.txt", "empty.txt: the file is empty; known are a dump of ibnetdiscover, "),
        ("poem.txt", "poem.txt: its content is of no kind that is read; known are a dump of ibnetdiscover, "),
        ("cut.json", "cut.json: it looks like a list of lldpctl: this is not JSON: "),
        ("ragged.csv", "ragged.csv: it looks like a table of nodes and switches: line 2: 1 fields"),
        (
            "site.yaml",
            "site.yaml: it looks like an operator's statement: line 2, column 8: \"laef\" is no key here",
        ),
        ("snapshot.json", "snapshot.json: it looks like a snapshot of a topology: "),
        ("cut.out", "cut.out: it looks like a dump of ibnetdiscover: none of the 2 lines is a record"),
        ("hosts.csv", "of no kind that is read (the fields of a table have commas between them); known are"),
        ("capture.tar.bz2", "capture.tar.bz2: it is packed (bzip2): unpack it, and name"),
        ("open.conf", "line 1: n[1-4: a bracket is not closed, or is inside of another\n"),
        (
            "cut.xml",
            "cut.xml: it looks like XML of hwloc: line 2: the file ends before its elements do; it is cut short\n",
        ),
        (
            "node.yaml",
            "node.yaml: it looks like an operator's statement: line 1, column 1: \"node\" is no key here (is nodes meant?)",
        ),
        ("/dev/null", "/dev/null: it is neither a file nor a folder"),
    ] {
        for command in [&["--from", name][..], &["check", "--from", name]] {
            let done = topo(dir.path(), command);
            assert_eq!(done.code, 125, "{name}: {}", done.err);
            assert!(done.err.starts_with("phalanx: ") && done.err.contains(says), "{name}: {}", done.err);
            assert_eq!(done.out, "");
        }
    }
}

#[test]
fn a_folder_in_which_all_is_wrong_says_what_is_wrong_with_each_file() {
    let dir = files(&[
        ("bad/open.conf", "SwitchName=s1 Nodes=n[1-4\n"),
        ("bad/ragged.csv", "node,leaf\nn1\n"),
        ("bad/poem.txt", "Shall I compare thee to a summer's day?\n"),
    ]);
    let done = topo(dir.path(), &["--from", "bad"]);
    let says = "phalanx: bad: none of its files can be read: bad/open.conf: it looks like a topology.conf of Slurm: \
        line 1: n[1-4: a bracket is not closed, or is inside of another; bad/ragged.csv: it looks like a table of \
        nodes and switches: line 2: 1 fields, where the header has 2\n";
    assert_eq!((done.code, done.err.as_str()), (125, says));
}

#[test]
fn text_in_utf_16_without_a_mark_is_told_how_to_save_it() {
    let dir = files(&[]);
    let text: Vec<u8> = "node,leaf\nn1,l1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(dir.path().join("wide.csv"), text).unwrap();
    let done = topo(dir.path(), &["--from", "wide.csv"]);
    assert!(
        done.code == 125 && done.err.contains("`iconv -f UTF-16LE -t UTF-8` writes it so"),
        "{}",
        done.err
    );
}

#[test]
fn a_folder_gives_what_is_known_in_it_and_names_the_rest() {
    let dir = files(&[
        ("all/tree.csv", "node,leaf,spine\nn1,l1,s1\nn2,l2,s1\n"),
        ("all/poem.txt", "Shall I compare thee\n"),
        ("all/deep/wrong.yaml", "nodes:\n  n1: {laef: l1}\n"),
        ("all/.hidden.csv", "node,leaf\nhidden,l9\n"),
        ("nothing/poem.txt", "Shall I compare thee\n"),
    ]);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let done = topo(dir.path(), &["--from", "all"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.starts_with("2 nodes · 3 switches · 1 plane\n"), "{}", done.out);
    assert!(
        done.err.contains("warning: all/deep/wrong.yaml is left out: it looks like an operator's statement")
    );
    assert!(
        done.err.contains("1 file is of no kind that is read, and skipped; -v names them"),
        "{}",
        done.err
    );
    let named = topo(dir.path(), &["-v", "--from", "all"]);
    assert!(named.err.contains("all/poem.txt is of no kind that is read, and skipped"), "{}", named.err);

    let empty = topo(dir.path(), &["--from", "empty"]);
    assert_eq!((empty.code, empty.err.as_str()), (125, "phalanx: empty: the folder has no files\n"));
    let nothing = topo(dir.path(), &["--from", "nothing"]);
    assert!(
        nothing.err.contains("nothing: none of its files, 1 in all, is of a kind that is read; known are ")
    );
}

/// As PowerShell writes what is redirected to a file.
fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_file_in_utf_16_is_told_to_be_that_and_what_to_do_and_is_left_out_of_a_folder() {
    let dir = files(&[("all/tree.csv", "node,leaf\nn1,l1\nn2,l1\n")]);
    let samples = [
        ("wide.csv", "node,leaf\r\nn3,l1\r\n", "a table of nodes and switches"),
        ("wide.yaml", "nodes:\r\n  n4: {leaf: l1}\r\n", "an operator's statement"),
        ("wide.xml", "<topology version=\"2.0\">\r\n</topology>\r\n", "XML of hwloc"),
        ("wide.txt", "GPU0\tGPU1\r\nGPU0\tX\tNV4\r\nGPU1\tNV4\tX\r\n", "a matrix of `nvidia-smi topo -m`"),
    ];
    for (name, text, kind) in samples {
        std::fs::write(dir.path().join("all").join(name), utf16(text)).unwrap();
        let says = format!(
            "it looks like {kind}: it is UTF-16 text, and UTF-8 is read: save it as UTF-8 (`iconv -f UTF-16 -t UTF-8` \
             writes it so)"
        );
        let alone = topo(dir.path(), &["--from", &format!("all/{name}")]);
        assert!(alone.code == 125 && alone.err.contains(&format!("{name}: {says}")), "{}", alone.err);
        let folder = topo(dir.path(), &["--from", "all"]);
        assert_eq!(folder.code, 0, "{}", folder.err);
        assert!(folder.err.contains(&format!("all/{name} is left out: {says}")), "{}", folder.err);
    }
    std::fs::write(dir.path().join("poem.txt"), utf16("Shall I compare thee\r\n")).unwrap();
    let poem = topo(dir.path(), &["--from", "poem.txt"]);
    assert!(
        poem.err.contains("poem.txt: it is UTF-16 text, and of no kind that is read; known"),
        "{}",
        poem.err
    );
}

#[test]
fn a_file_that_may_not_be_read_is_an_error_alone_and_a_warning_in_a_folder() {
    let dir =
        files(&[("all/tree.csv", "node,leaf\nn1,l1\nn2,l1\n"), ("all/secret.csv", "node,leaf\nn3,l1\n")]);
    let secret = dir.path().join("all/secret.csv");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&secret).is_ok() {
        skipped("root reads every file");
        return;
    }
    let alone = topo(dir.path(), &["--from", "all/secret.csv"]);
    assert!(alone.code == 125 && alone.err.contains("all/secret.csv: Permission denied"), "{}", alone.err);
    let folder = topo(dir.path(), &["--from", "all"]);
    assert!(folder.code == 0 && folder.err.contains("all/secret.csv is left out: Permission denied"));
}

#[test]
fn huge_files_are_refused_without_being_read_whole() {
    let dir = files(&[("huge.csv", "node,leaf\n")]);
    // Sparse: it takes no room.
    let file = std::fs::File::options().write(true).open(dir.path().join("huge.csv")).unwrap();
    file.set_len(1 << 40).unwrap();
    let done = topo(dir.path(), &["--from", "huge.csv"]);
    assert_eq!(done.code, 125);
    assert!(
        done.err
            .contains("huge.csv: it looks like a table of nodes and switches: the file has 268435457 bytes")
    );
}

/// A capture of libpcap with these Ethernet frames.
fn capture(frames: &[&[u8]]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut bytes = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        bytes.extend(words(&[0, 0, length, length]));
        bytes.extend_from_slice(frame);
    }
    bytes
}

/// An LLDP frame with these fields.
fn frame(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = [&[0u8; 12][..], &[0x88, 0xcc]].concat();
    for (kind, value) in fields {
        bytes.extend([kind << 1, u8::try_from(value.len()).unwrap()]);
        bytes.extend_from_slice(value);
    }
    bytes
}

#[test]
fn a_malformed_frame_is_named_with_its_number_the_byte_and_why() {
    let good = frame(&[(1, b"\x07leaf-1"), (2, b"\x05eth1"), (3, &[0, 120]), (0, b"")]);
    let mut long = frame(&[(1, b"\x07leaf-1")]);
    long.extend([2 << 1, 200, 5, b'e']);
    let short = frame(&[(1, b"\x07leaf-1"), (0, b"")]);
    let dir = files(&[]);
    let write = |name: &str, frames: &[&[u8]]| {
        std::fs::write(dir.path().join(name), capture(frames)).unwrap();
    };
    write("n1.pcap", &[&long]);
    let says = "the frame ends at byte 27, inside of a field of 200 bytes; capture whole frames";
    let alone = topo(dir.path(), &["--from", "n1.pcap"]);
    assert_eq!(alone.code, 125);
    let told = format!(
        "n1.pcap: it looks like a capture of libpcap: 1 frame is malformed and was passed over: frame 1: {says}"
    );
    assert!(alone.err.contains(&told), "{}", alone.err);
    write("n2.pcap", &[&good, &long, &short]);
    let beside = topo(dir.path(), &["--from", "n2.pcap"]);
    assert_eq!(beside.code, 0, "{}", beside.err);
    let told = format!("n2.pcap: 2 frames are malformed and were passed over, the first is frame 2: {says}");
    assert!(beside.err.contains(&told), "{}", beside.err);
}

#[test]
fn a_table_with_a_control_character_is_refused_with_its_line_in_a_folder_too() {
    let dir = files(&[
        ("all/tree.csv", "node,leaf\nn1,l1\nn\u{1b}[31m2,l1\n"),
        ("all/other.csv", "node,leaf\nn3,l1\n"),
    ]);
    let says =
        "line 3: the field \"n\\u{1b}[31m2\" has a control character, such as a tab, which no name may have";
    let alone = topo(dir.path(), &["--from", "all/tree.csv"]);
    assert!(alone.code == 125 && alone.err.contains(says), "{}", alone.err);
    let folder = topo(dir.path(), &["--from", "all"]);
    let left_out = folder.err.contains("all/tree.csv is left out: it looks like a table");
    assert!(folder.code == 0 && left_out && folder.err.contains(says), "{}", folder.err);
}

#[test]
fn a_switch_under_itself_is_a_finding_with_its_name() {
    let hypernode = "apiVersion: topology.volcano.sh/v1alpha1\nkind: HyperNode\nmetadata: {name: s0}\nspec:\n  tier: 1\n  members:\n\
        \x20 - {type: Node, selector: {exactMatch: {name: n1}}}\n\x20 - {type: HyperNode, selector: {exactMatch: {name: s0}}}\n";
    let dir = files(&[
        ("hypernodes.yaml", hypernode),
        ("topology.conf", "SwitchName=s0 Nodes=n1 Switches=s0\n"),
        ("site.yaml", "nodes:\n  n1: {leaf: s0}\nswitches:\n  s0: {under: s0}\n"),
    ]);
    for name in ["hypernodes.yaml", "topology.conf", "site.yaml"] {
        let done = topo(dir.path(), &["check", "--from", name]);
        let says = "WARNING  s0: it is said to be under itself, or to be its own member";
        assert!(done.code == 1 && done.out.contains(says), "{name}: {}{}", done.out, done.err);
    }
}

#[test]
fn names_with_control_characters_do_not_reach_the_terminal() {
    let dir = files(&[(
        "site.yaml",
        "nodes:\n  \"n\\e[31m1\": {leaf: l1}\n  n2: {leaf: \"l\\e]0;x\\a2\"}\n  n3: {leaf: l1}\n",
    )]);
    let done = topo(dir.path(), &["check", "--from", "site.yaml"]);
    assert!(!done.out.contains('\x1b') && !done.out.contains('\x07'), "{:?}", done.out);
}

#[test]
fn what_was_typed_wrong_is_said_before_anything_is_read() {
    let dir = files(&[("tree.csv", "node,leaf\nn1,l1\nn2,l1\n"), ("one.csv", "node,leaf\nn1,l1\n")]);
    for (args, says) in [
        (&["--from"][..], "--from"),
        (&["export", "dot", "--from", "tree.csv"], "slurm-conf, slurm-yaml, topograph, nccl, json"),
        (&["--json", "--svg", "x.svg", "--from", "tree.csv"], "--svg"),
        (&["n7", "--from", "tree.csv"], "there is no node n7; there are 2 nodes: n1, n2"),
        (&["n7", "--from", "one.csv"], "there is no node n7; the only one is n1"),
        (&["n1", "--json", "--from", "tree.csv"], "nothing is known of what n1 has inside"),
        (&["--svg", "no/such/dir.svg", "--from", "tree.csv"], "cannot write no/such/dir.svg: No such file"),
    ] {
        let done = topo(dir.path(), args);
        assert_eq!(done.code, 125, "{args:?}: {}", done.err);
        assert!(done.err.contains(says), "{args:?} does not say {says}: {}", done.err);
    }
}
