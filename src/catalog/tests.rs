use super::*;

#[test]
fn the_embedded_files_load() {
    assert!(!Catalog::embedded().services().is_empty());
}
