use super::*;

#[test]
fn the_embedded_files_load() {
    assert!(!Catalog::embedded().services().is_empty());
}

#[test]
fn the_embedded_files_match_the_directory() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let embedded: Vec<&str> = embedded::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(embedded, files, "catalog/ and src/catalog/embedded.rs differ");
}
