//! The policy packs that are part of the binary.

/// Lists files of `catalog/policy/` with their text.
macro_rules! packs {
    ($($name:literal),+ $(,)?) => {
        &[$((concat!("catalog/policy/", $name, ".toml"), include_str!(concat!("../../catalog/policy/", $name, ".toml")))),+]
    };
}

/// Every pack by file name, sorted; a test compares the list with the directory.
pub(super) const PACKS: &[(&str, &str)] = packs!["wso2"];
