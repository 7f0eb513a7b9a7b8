//! The structure of the sources: which module imports which, that a type name means one thing, and that texts stay readable.

mod imports;
mod names;
mod programs;
mod rust;
mod texts;

use std::fs;
use std::path::Path;

/// All `*.rs` below a top-level folder: name below that folder, and text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 50, "only {} sources were found", files.len());
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below the root");
            let name = name.to_str().expect("UTF-8").to_owned();
            let text = fs::read_to_string(&path).expect(&name);
            files.push((name, text));
        }
    }
}
