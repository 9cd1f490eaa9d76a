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
