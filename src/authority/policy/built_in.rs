//! The policies that come with the service, with their test cases.

use super::engine::files::Folder;

const POLICIES: [(&str, &str); 3] = [
    (
        "claim-constraints.cedar",
        include_str!("../../../policies/claim-constraints.cedar"),
    ),
    (
        "inventory.cedar",
        include_str!("../../../policies/inventory.cedar"),
    ),
    ("mint.cedar", include_str!("../../../policies/mint.cedar")),
];
const TESTS: [(&str, &str); 3] = [
    (
        "tests/claim-constraints.toml",
        include_str!("../../../policies/tests/claim-constraints.toml"),
    ),
    (
        "tests/inventory.toml",
        include_str!("../../../policies/tests/inventory.toml"),
    ),
    (
        "tests/mint.toml",
        include_str!("../../../policies/tests/mint.toml"),
    ),
];

/// The same as reading the folder `policies` of the sources.
pub(super) fn folder() -> Folder {
    Folder::of("the built-in policies", &POLICIES, &TESTS)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn all_files_of_the_folder_are_built_in() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let read = Folder::read(&dir).expect("the folder of the sources");
        let built_in = folder();
        assert_eq!(
            (built_in.policies, built_in.tests),
            (read.policies, read.tests)
        );
    }
}
