//! The catalogue files that are part of the binary.

/// Lists files of `catalog/` with their text.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../catalog/", $name)))),+]
    };
}

/// Every file by name, sorted; a test compares the list with the directory.
pub(super) const FILES: &[(&str, &str)] = files!["wso2-api-manager-3.toml",];
