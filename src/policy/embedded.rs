//! The policy packs that are part of the binary.

/// Lists files of `catalog/policy/` with their text.
macro_rules! packs {
    ($($name:literal),+ $(,)?) => {
        &[$((concat!("catalog/policy/", $name, ".toml"), include_str!(concat!("../../catalog/policy/", $name, ".toml")))),+]
    };
}

/// Every pack; a test compares the list with the directory.
pub(super) const PACKS: &[(&str, &str)] = packs![
    "ibm-api-connect",
    "ibm-api-connect-zones",
    "wso2",
    "wso2-api-manager-3-distributed",
    "wso2-api-manager-4-distributed",
];
