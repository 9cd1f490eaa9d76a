//! Trees whose files say anything.

use phalanx_formats::sysfs::read_all;
use proptest::prelude::*;

use crate::devices::instinct;
use crate::network::bonded;

/// Every file in turn is empty, out of range, or huge.
#[test]
fn nonsense_in_any_file_is_survived() {
    let huge = "9".repeat(100_000);
    for tree in [bonded(), instinct()] {
        for path in tree.files.keys() {
            for content in
                ["", "-1", "\u{fffd}\u{0}é", "0-4294967295", "16.é GT/s", "18446744073709551615", &huge]
            {
                let mut changed = tree.clone();
                changed.file(path, content);
                assert!(read_all(&changed).problems.len() < 3, "{path} {content}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_tree_with_any_text_in_its_files_is_read(
        seed in any::<prop::sample::Index>(),
        texts in prop::collection::vec((any::<prop::sample::Index>(), "[-0-9a-fx:. ,\n]{0,40}|\\PC{0,20}"), 1..30),
    ) {
        for tree in [bonded(), instinct()] {
            let mut tree = tree;
            let paths: Vec<String> = tree.files.keys().cloned().collect();
            for (at, text) in &texts {
                tree.file(&paths[at.index(paths.len())], text);
            }
            tree.files.remove(&paths[seed.index(paths.len())]);
            let reading = read_all(&tree);
            for problem in reading.problems {
                prop_assert!(problem.to_string().len() < 400);
            }
            prop_assert!(reading.machine.nics.len() <= 6);
        }
    }
}
