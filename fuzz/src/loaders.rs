//! What a user writes: site, catalogue, policy, baseline.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::{fs, process};

use portreeve::catalog::Catalog;
use portreeve::packet::Transport;
use portreeve::policy::Policy;
use portreeve::policy::baseline::Baseline;
use portreeve::site::Site;

/// A folder of this process, where the loaders find their files.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("portreeve-fuzz-{}", process::id()));
    fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    folder
});

/// A site that loads no pack, so that a file is alone.
static BARE: LazyLock<Site> = LazyLock::new(|| {
    let text = "[policy]\npacks = []\n";
    Site::parse("site.toml".as_ref(), text, Catalog::embedded()).expect("it is a site file")
});

/// Every rule that ships.
static POLICY: LazyLock<Policy> =
    LazyLock::new(|| Policy::all_shipped(Catalog::embedded(), &BARE).expect("what ships loads"));

/// Loads a file; the first byte says as what: `t` a site, `u` a catalogue, `v` a policy, `w` a baseline.
pub fn loaders(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else { return };
    let catalog = Catalog::embedded();
    let path = FOLDER.join("fuzz.toml");
    if kind % 4 != 0 {
        fs::write(&path, text).expect("the folder is writable");
    }
    let result = match kind % 4 {
        0 => {
            let text = String::from_utf8_lossy(text);
            Site::parse(&path, &text, catalog)
                .and_then(|site| Policy::load(catalog, &site, &[]).map(drop))
        }
        1 => Catalog::load(&*FOLDER).map(|catalog| {
            for port in [0, 22, 8280, u16::MAX] {
                let _ = catalog.candidates(Transport::Tcp, port);
            }
        }),
        2 => Policy::load(catalog, &BARE, &[path]).map(drop),
        _ => Baseline::load(&path, catalog, &POLICY).map(drop),
    };
    if let Err(error) = result {
        let line = error.to_string();
        let is_plain = !line.chars().any(portreeve::error::is_unprintable);
        assert!(!line.is_empty() && is_plain, "an error is one line: {line}");
    }
}
