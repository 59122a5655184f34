//! `portreeve catalog`: what the catalogue says, its check, and the import of other port lists.

mod import;
pub(super) mod layout;
mod list;
mod record;
mod show;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::output;
use crate::catalog::{Catalog, Role, offset_number, port_number};
use crate::error::{Error, Printable, Result, nearest};
use crate::packet::Transport;

/// Arguments of `catalog`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Format of standard output
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
    /// Read the catalogue from a directory instead of the binary
    #[arg(long, global = true, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// The port offset that the user has set; it replaces a built-in one
    #[arg(long, global = true, value_name = "N", value_parser = offset, allow_hyphen_values = true)]
    offset: Option<u16>,
}

/// A format of what the catalogue says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Ndjson,
}

#[derive(Subcommand)]
enum Command {
    /// List services
    List {
        /// Only those of a product
        #[arg(long, value_name = "ID")]
        product: Option<String>,
        /// Only those of a role
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// Only those that listen on a port
        #[arg(long, value_name = "PORT[/tcp|udp]", value_parser = endpoint)]
        port: Option<Endpoint>,
    },
    /// Show everything that may listen on a port, and what the documents say of it
    Show {
        /// The port
        #[arg(value_name = "PORT[/tcp|udp]", value_parser = endpoint)]
        port: Endpoint,
    },
    /// Check a directory of catalogue files
    Check {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Explain one service; list the services of one product
    Explain {
        /// Its id, such as wso2-api-manager-4/gateway-http, the part behind the slash, or a product
        #[arg(value_name = "SERVICE")]
        service: String,
    },
    /// Turn /etc/services or nDPI's protos.txt into a catalogue file on standard output
    Import {
        /// The list; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The id of the product that the file becomes; by default it is made of the file's name
        #[arg(long, value_name = "ID")]
        product: Option<String>,
    },
}

/// A port, and the transport if only one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Endpoint {
    port: u16,
    transport: Option<Transport>,
}

impl Endpoint {
    fn transports(self) -> impl Iterator<Item = Transport> {
        let all = [Transport::Tcp, Transport::Udp];
        all.into_iter().filter(move |transport| self.transport.is_none_or(|t| t == *transport))
    }
}

/// Does what the arguments say; data goes to `out`.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let text = answer(args, output::width())?;
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::about("standard output", format!("cannot be written: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Returns what is to be written.
fn answer(args: &Args, width: usize) -> Result<String> {
    match &args.command {
        Command::Check { dir } => return check(dir, args.format),
        Command::Import { file, product } => return import::import(file, product.as_deref()),
        _ => {}
    }
    let loaded;
    let catalog = match &args.catalog {
        Some(dir) => {
            loaded = Catalog::load(dir)?;
            &loaded
        }
        None => Catalog::embedded(),
    };
    match &args.command {
        Command::List { product, role, port } => {
            let filter = list::Filter {
                product: product.as_deref().map(|id| known_product(catalog, id)).transpose()?,
                role: role.as_deref().map(known_role).transpose()?,
                port: *port,
                offset: args.offset,
            };
            list::list(catalog, &filter, args.format, width)
        }
        Command::Show { port } => Ok(show::show(catalog, *port, args.offset, args.format, width)),
        Command::Explain { service } => {
            show::explain(catalog, service, args.offset, args.format, width)
        }
        Command::Check { .. } | Command::Import { .. } => unreachable!("answered above"),
    }
}

/// Reads a directory as `--catalog` would, and says what is in it.
fn check(dir: &std::path::Path, format: Format) -> Result<String> {
    let catalog = Catalog::load(dir)?;
    let (products, services) = (catalog.products().len(), catalog.services().len());
    let hash = catalog.content_hash();
    let mut text = String::new();
    let written = match format {
        Format::Text => {
            let dir = dir.to_string_lossy();
            writeln!(
                text,
                "{}: {products} product{}, {services} service{}, sha256 {hash}",
                Printable(&dir),
                plural(products),
                plural(services)
            )
        }
        Format::Ndjson => {
            let checked =
                serde_json::json!({"products": products, "services": services, "sha256": hash});
            writeln!(text, "{checked}")
        }
    };
    written.expect("a String takes all");
    Ok(text)
}

fn plural(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}

fn known_product(catalog: &Catalog, id: &str) -> Result<crate::catalog::ProductId> {
    catalog.product_named(id).ok_or_else(|| {
        let known = catalog.products().iter().map(|product| product.id.as_str());
        unknown("product", id, known, "`portreeve catalog list` names all of them")
    })
}

fn known_role(name: &str) -> Result<Role> {
    Role::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
        unknown(
            "role",
            name,
            known.iter().copied(),
            &format!("expected one of {}", known.join(", ")),
        )
    })
}

/// An error about a name that is not known, with the nearest one as its hint.
fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: &str,
) -> Error {
    let hint = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
    Error::new(format!("unknown {what} `{name}`"))
        .hint(hint.unwrap_or_else(|| otherwise.to_owned()))
}

/// Reads `8280`, `8280/tcp` or `8280/udp`.
fn endpoint(text: &str) -> std::result::Result<Endpoint, String> {
    let (port, transport) = match text.split_once('/') {
        None => (text, None),
        Some((port, name)) if name.eq_ignore_ascii_case("tcp") => (port, Some(Transport::Tcp)),
        Some((port, name)) if name.eq_ignore_ascii_case("udp") => (port, Some(Transport::Udp)),
        Some((_, name)) => return Err(format!("unknown transport `{name}`: expected tcp or udp")),
    };
    let number = port.parse().map_err(|_| "expected a port from 1 to 65535".to_owned())?;
    Ok(Endpoint { port: port_number(number)?, transport })
}

/// Reads a port offset.
fn offset(text: &str) -> std::result::Result<u16, String> {
    let number = text.parse().map_err(|_| "expected a number from 0 to 65535".to_owned())?;
    offset_number(number)
}
