//! The port catalogue: what the products' documents say of every port, and what is true.
//!
//! Takes TOML, one file a product line: the files in the binary or a directory of the user's. Gives
//! [`Service`]s, and the [`Candidate`]s of a port, as documented or under a port offset. Never looks at
//! traffic: a service is a claim, and only inspection knows what is spoken.

mod embedded;
mod file;
mod index;
mod load;
mod service;
pub mod toml_text;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

pub(crate) use self::file::{offset_number, port_number};
pub use self::index::Candidate;
use self::index::Index;
pub use self::service::{
    AUTO_INCREMENT_PORTS, AppProtocol, Direction, Encryption, Lifecycle, Network, OffsetBehaviour,
    Port, Product, ProductId, Role, Service, ServiceId, Status, Transports,
};
use crate::error::{Error, Result};
use crate::packet::Transport;

/// All products and their services, and which of them listen where.
#[derive(Debug, Clone)]
pub struct Catalog {
    products: Vec<Product>,
    services: Vec<Service>,
    by_id: HashMap<String, ServiceId>,
    index: Index,
    content_hash: String,
}

impl Catalog {
    /// Returns the catalogue that is part of the binary.
    ///
    /// ```
    /// use portreeve::catalog::Catalog;
    /// use portreeve::packet::Transport;
    /// let catalog = Catalog::embedded();
    /// let candidates = catalog.candidates(Transport::Tcp, 8280);
    /// assert_eq!(catalog.service(candidates[0].service).id, "wso2-api-manager-4/gateway-http");
    /// ```
    ///
    /// # Panics
    ///
    /// Never: a test loads the same files.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Catalog> = LazyLock::new(|| {
            let files = embedded::FILES
                .iter()
                .map(|(name, text)| (Path::new("catalog").join(name), (*text).to_owned()));
            Catalog::new(files).expect("a test loads the embedded files")
        });
        &EMBEDDED
    }

    /// Reads every `.toml` file of a directory; what lies in directories below is not read.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let failed = |error: std::io::Error| Error::unread(dir, &error);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(Error::at_path(dir, "no catalogue file: expected at least one .toml"));
        }
        paths.sort();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let text = toml_text::read(&path)?;
            files.push((path, text));
        }
        Self::new(files.into_iter())
    }

    /// Builds the catalogue of files: where each came from, and its text.
    fn new(files: impl Iterator<Item = (std::path::PathBuf, String)>) -> Result<Self> {
        let mut hash = Sha256::new();
        let mut sources = Vec::new();
        for (path, text) in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            for part in [name.as_bytes(), text.as_bytes()] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
            sources.push(load::read(&path, text)?);
        }
        let (products, services) = load::join(&sources)?;
        let by_id = services
            .iter()
            .enumerate()
            .map(|(id, service)| {
                (
                    service.id.clone(),
                    ServiceId(u16::try_from(id).expect("the loader limits services")),
                )
            })
            .collect();
        let index = Index::new(&products, &services);
        let content_hash = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all");
            hex
        });
        Ok(Self { products, services, by_id, index, content_hash })
    }

    /// Returns every service; a [`ServiceId`] is a place in it.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Returns one service.
    ///
    /// # Panics
    ///
    /// With an id of another catalogue.
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[usize::from(id.0)]
    }

    /// Returns the service of an id such as `wso2-api-manager-4/gateway-http`.
    pub fn service_named(&self, id: &str) -> Option<ServiceId> {
        self.by_id.get(id).copied()
    }

    /// Returns every product; a [`ProductId`] is a place in it.
    pub fn products(&self) -> &[Product] {
        &self.products
    }

    /// Returns one product.
    ///
    /// # Panics
    ///
    /// With an id of another catalogue.
    pub fn product(&self, id: ProductId) -> &Product {
        &self.products[usize::from(id.0)]
    }

    /// Returns the product of an id such as `wso2-api-manager-4`.
    pub fn product_named(&self, id: &str) -> Option<ProductId> {
        let place = self.products.iter().position(|product| product.id == id)?;
        u16::try_from(place).ok().map(ProductId)
    }

    /// Returns what listens on a port as documented, the best name first. Costs two loads.
    pub fn candidates(&self, transport: Transport, port: u16) -> &[Candidate] {
        self.index.documented(transport, port)
    }

    /// Tells whether any service is documented on a port.
    pub fn is_catalogued(&self, transport: Transport, port: u16) -> bool {
        !self.candidates(transport, port).is_empty()
    }

    /// Returns what listens on a port when the user has set an offset, which replaces the built-in one:
    /// first what the offset moved there, then what no offset moves.
    ///
    /// ```
    /// use portreeve::catalog::Catalog;
    /// use portreeve::packet::Transport;
    /// let catalog = Catalog::embedded();
    /// let named = |port, offset| {
    ///     let mut found = catalog.at_offset(Transport::Tcp, port, offset);
    ///     found.any(|c| catalog.service(c.service).id == "wso2-micro-integrator/http")
    /// };
    /// assert!(named(8283, 3));
    /// assert!(!named(8293, 3));
    /// ```
    pub fn at_offset(
        &self,
        transport: Transport,
        port: u16,
        user_offset: u16,
    ) -> impl Iterator<Item = Candidate> + '_ {
        self.index.at_offset(transport, port, user_offset)
    }

    /// Returns every way in which an offset from 0 to `offset_max` puts a moving service on a port,
    /// the smallest offset first.
    pub fn moved_to(
        &self,
        transport: Transport,
        port: u16,
        offset_max: u16,
    ) -> impl Iterator<Item = Candidate> + '_ {
        self.index.moved_to(transport, port, offset_max)
    }

    /// Returns the services without a number of their own that speak a protocol in clear over a
    /// transport, the best name first: what an uncatalogued port may be where that protocol was seen.
    pub fn random(
        &self,
        transport: Transport,
        protocol: AppProtocol,
    ) -> impl Iterator<Item = Candidate> + '_ {
        let fits = move |service: &Service| {
            service.transports.has(transport)
                && service.protocol == protocol
                && service.encryption != Encryption::Tls
        };
        let random = self.index.random().iter().copied();
        random
            .filter(move |id| fits(self.service(*id)))
            .map(|service| Candidate { service, offset: 0 })
    }

    /// Returns the SHA-256 of the catalogue's files, in hexadecimal.
    pub fn content_hash(&self) -> String {
        self.content_hash.clone()
    }
}
