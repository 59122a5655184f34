//! Catalogue files → products and services: what concerns several rows or several files.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::file::{File, IncludeEntry, ServiceEntry, Source};
use super::service::{OffsetBehaviour, Port, Product, ProductId, Service, ServiceId};
use super::toml_text::{line_of, parse, with_hint};
use crate::error::{Error, Result};

/// Rows that a catalogue may have: what a [`ServiceId`] can name.
const SERVICES_MAX: usize = 65_535;

/// Reads one file.
pub(super) fn read(path: &Path, text: String) -> Result<Source> {
    let file: File = parse(path, &text)?;
    let source = Source { path: path.into(), text, file };
    for entry in &source.file.service {
        if let Some((span, cause)) = entry.fault() {
            return Err(source.error(span, cause));
        }
    }
    Ok(source)
}

/// Joins the files to products and services.
pub(super) fn join(sources: &[Source]) -> Result<(Vec<Product>, Vec<Service>)> {
    let mut by_id: HashMap<&str, usize> = HashMap::new();
    for (index, source) in sources.iter().enumerate() {
        let id = &source.file.product.id;
        if let Some(first) = by_id.insert(id.get_ref().0.as_str(), index) {
            let cause = format!(
                "duplicate product id `{}`: {} has it already",
                id.get_ref().0,
                sources[first].path.display()
            );
            return Err(source.error(id.span(), cause));
        }
    }
    let (mut products, mut services) = (Vec::new(), Vec::new());
    for (index, source) in sources.iter().enumerate() {
        let product = ProductId(u16::try_from(index).map_err(|_| too_many(source))?);
        let rows = rows_of(source, product, sources, &by_id)?;
        let first = services.len();
        services.extend(rows);
        if services.len() > SERVICES_MAX {
            return Err(too_many(source));
        }
        let ids = (first..services.len())
            .map(|id| ServiceId(u16::try_from(id).expect("checked against SERVICES_MAX")))
            .collect();
        products.push(product_of(source, ids, &services[first..]));
    }
    Ok((products, services))
}

fn too_many(source: &Source) -> Error {
    Error::at_path(&source.path, format!("more than {SERVICES_MAX} products or services"))
}

fn product_of(source: &Source, services: Vec<ServiceId>, rows: &[Service]) -> Product {
    let entry = &source.file.product;
    // Parts without a port of their own are named by the product alone.
    let own = entry.components.iter().map(|name| &name.0);
    let components: BTreeSet<&String> =
        rows.iter().flat_map(|row| &row.components).chain(own).collect();
    Product {
        id: entry.id.get_ref().0.clone(),
        name: entry.name.0.clone(),
        vendor: entry.vendor.0.clone(),
        versions: entry.versions.0.clone(),
        lifecycle: entry.lifecycle,
        rank: entry.rank,
        note: entry.note.as_ref().map(|note| note.0.clone()),
        components: components.into_iter().cloned().collect(),
        services,
    }
}

/// Returns the rows of one file: its own, then the included ones that it does not have itself.
fn rows_of(
    source: &Source,
    product: ProductId,
    sources: &[Source],
    by_id: &HashMap<&str, usize>,
) -> Result<Vec<Service>> {
    let mut rows = Vec::with_capacity(source.file.service.len());
    let mut lines: HashMap<String, usize> = HashMap::new();
    for entry in &source.file.service {
        let line = line_of(&source.text, Some(entry.id.span()));
        let row = service_of(entry, &source.file, product);
        if let Some(first) = lines.insert(row.id.clone(), line) {
            let cause = format!("duplicate id `{}`: line {first} has it already", local(&row.id));
            return Err(source.error(entry.id.span(), cause));
        }
        rows.push(row);
    }
    for include in &source.file.include {
        let name = include.product.get_ref().as_str();
        let Some(included) = by_id.get(name).map(|index| &sources[*index]) else {
            let error = source.error(include.product.span(), format!("unknown product `{name}`"));
            return Err(with_hint(error, name, by_id.keys().copied()));
        };
        for row in included_rows(source, include, included, product)? {
            if !lines.contains_key(&row.id) {
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

fn local(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, local)| local)
}

fn included_rows(
    source: &Source,
    include: &IncludeEntry,
    included: &Source,
    product: ProductId,
) -> Result<Vec<Service>> {
    let known = || included.file.service.iter().map(|entry| entry.id.get_ref().0.as_str());
    for except in &include.except {
        if !known().any(|id| id == except.get_ref()) {
            let cause = format!("unknown service `{}` in `except`", except.get_ref());
            let error = source.error(except.span(), cause);
            return Err(with_hint(error, except.get_ref(), known()));
        }
    }
    let wanted = |entry: &&ServiceEntry| {
        !include.except.iter().any(|except| *except.get_ref() == entry.id.get_ref().0)
    };
    let mut rows = Vec::new();
    for entry in included.file.service.iter().filter(wanted) {
        let mut row = service_of(entry, &source.file, product);
        if let Some(prefix) = &include.prefix {
            let id = &source.file.product.id.get_ref().0;
            row.id = format!("{id}/{}-{}", prefix.0, local(&row.id));
        }
        if let Some(component) = &include.component {
            row.components = vec![component.0.clone()];
        }
        if include.built_in_offset > 0 && row.offset.moves() {
            let Some(port) = row.port_at(include.built_in_offset) else {
                let cause = format!(
                    "`{}` is beyond 65535 at offset {}",
                    local(&row.id),
                    include.built_in_offset
                );
                return Err(source.error(include.product.span(), cause));
            };
            row.port = port;
            row.built_in_offset = include.built_in_offset;
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Makes the service of a row, as one of the given file's product.
fn service_of(entry: &ServiceEntry, file: &File, product: ProductId) -> Service {
    let text = |text: &Option<super::file::Text>| text.as_ref().map(|text| text.0.clone());
    let versions = entry.versions.as_ref().unwrap_or(&file.product.versions);
    let port = entry.port.get_ref().0;
    Service {
        id: format!("{}/{}", file.product.id.get_ref().0, entry.id.get_ref().0),
        product,
        components: entry.component.clone().into(),
        name: entry.name.0.clone(),
        role: entry.role,
        port,
        built_in_offset: if port == Port::None { 0 } else { entry.built_in_offset },
        offset: if port == Port::None { OffsetBehaviour::Fixed } else { *entry.offset.get_ref() },
        transports: entry.transport.into(),
        protocol: *entry.protocol.get_ref(),
        encryption: entry.encryption,
        direction: entry.direction,
        default_on: entry.default_on,
        versions: versions.0.clone(),
        lifecycle: entry.lifecycle.unwrap_or(file.product.lifecycle),
        source: entry.source.0.clone(),
        section: text(&entry.section),
        as_printed: text(&entry.as_printed),
        status: *entry.status.get_ref(),
        note: text(&entry.note),
        networks: entry.networks.iter().map(|network| network.0.clone()).collect(),
    }
}

impl Source {
    /// An error at the line where a span of this file begins.
    fn error(&self, span: std::ops::Range<usize>, cause: impl Into<String>) -> Error {
        Error::at_line(&self.path, line_of(&self.text, Some(span)), cause)
    }
}
