//! `catalog import`: lines of `/etc/services` (services(5)) or of nDPI's `protos.txt` → a catalogue file.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use crate::catalog::{AppProtocol, Encryption, Port, Role, Transports, port_number};
use crate::error::{Error, Result, is_unprintable};
use crate::packet::Transport;

/// The longest list that is read: nDPI's and Debian's have a few hundred lines of some 30 bytes.
const LIST_BYTES_MAX: u64 = 8 << 20;

/// One service of a list.
struct Entry {
    name: String,
    port: Port,
    transports: Transports,
    printed: String,
}

/// What a list says: its services, and the lines that name no port.
#[derive(Default)]
struct Imported {
    entries: Vec<Entry>,
    /// (name, first port, last port) → place in `entries`, so that TCP and UDP become one row.
    places: HashMap<(String, u16, u16), usize>,
    left_out: Vec<(usize, String)>,
}

/// Reads a list and returns the catalogue file.
pub(super) fn import(file: &Path, product: Option<&str>) -> Result<String> {
    let text = read(file)?;
    let mut imported = Imported::default();
    for (index, line) in text.lines().enumerate() {
        let added = imported.line(index + 1, line);
        added.map_err(|cause| Error::at_line(file, index + 1, cause))?;
    }
    if imported.entries.is_empty() {
        return Err(Error::at_path(
            file,
            "no service: expected lines such as `http 80/tcp` or `tcp:80@HTTP`",
        ));
    }
    let source = match file.file_name() {
        Some(name) if file != Path::new("-") => name.to_string_lossy().into_owned(),
        _ => "standard input".to_owned(),
    };
    let stem = file.file_stem().map(|stem| slug(&stem.to_string_lossy()));
    let id = match product {
        Some(id) => slug(id),
        None => format!("imported-{}", stem.unwrap_or_else(|| "list".to_owned())),
    };
    Ok(write(&imported, &id, &source))
}

fn read(file: &Path) -> Result<String> {
    let failed = |error: std::io::Error| Error::unread(file, &error);
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).map_err(failed)?.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > LIST_BYTES_MAX {
        return Err(Error::at_path(file, format!("longer than {LIST_BYTES_MAX} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Imported {
    /// Reads one line of either format.
    fn line(&mut self, number: usize, line: &str) -> std::result::Result<(), String> {
        let content = line.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            return Ok(());
        }
        let mut fields = content.split_whitespace();
        let (first, second) = (fields.next().unwrap_or_default(), fields.next());
        match second {
            Some(second) if is_service_port(second) => {
                self.services_line(number, first, second, line)
            }
            _ if content.contains('@') => self.ndpi_line(number, content),
            _ => Err(format!(
                "`{content}` is neither `name port/transport` nor `transport:port@name`"
            )),
        }
    }

    /// Reads `name port/transport aliases`.
    fn services_line(
        &mut self,
        number: usize,
        name: &str,
        endpoint: &str,
        line: &str,
    ) -> std::result::Result<(), String> {
        let (port, transport) = endpoint.split_once('/').unwrap_or((endpoint, ""));
        let port = range(port)?;
        match transport.to_ascii_lowercase().as_str() {
            "tcp" => self.add(name, port, Transport::Tcp, line.trim()),
            "udp" => self.add(name, port, Transport::Udp, line.trim()),
            _ => self.left_out.push((number, line.trim().to_owned())),
        }
        Ok(())
    }

    /// Reads `tcp:81,tcp:8181@HTTP`: several ports of one name, ranges too.
    fn ndpi_line(&mut self, number: usize, content: &str) -> std::result::Result<(), String> {
        let Some((rules, name)) = content.rsplit_once('@') else { return Ok(()) };
        let name = name.split('=').next().unwrap_or_default().trim();
        if name.is_empty() {
            return Err("a name is missing behind `@`".to_owned());
        }
        let mut is_left_out = false;
        for rule in rules.split(',') {
            let transport = match rule.trim().split_once(':') {
                Some((kind, port)) if kind.eq_ignore_ascii_case("tcp") => (Transport::Tcp, port),
                Some((kind, port)) if kind.eq_ignore_ascii_case("udp") => (Transport::Udp, port),
                // Hosts, addresses and fingerprints are no ports.
                _ => {
                    is_left_out = true;
                    continue;
                }
            };
            self.add(name, range(transport.1.trim())?, transport.0, content);
        }
        if is_left_out {
            self.left_out.push((number, content.to_owned()));
        }
        Ok(())
    }

    fn add(&mut self, name: &str, port: Port, transport: Transport, printed: &str) {
        let (Port::Number(first) | Port::Range(first, _)) = port else { return };
        let last = if let Port::Range(_, last) = port { last } else { first };
        let place = *self.places.entry((name.to_owned(), first, last)).or_insert_with(|| {
            self.entries.push(Entry {
                name: name.to_owned(),
                port,
                transports: Transports { tcp: false, udp: false },
                printed: printed.to_owned(),
            });
            self.entries.len() - 1
        });
        let transports = &mut self.entries[place].transports;
        match transport {
            Transport::Tcp => transports.tcp = true,
            Transport::Udp => transports.udp = true,
        }
    }
}

fn is_service_port(field: &str) -> bool {
    let Some((port, transport)) = field.split_once('/') else { return false };
    port.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        && !transport.is_empty()
        && transport.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Reads `80` or `5061-5062`.
fn range(text: &str) -> std::result::Result<Port, String> {
    let number = |text: &str| {
        let number = text.parse().map_err(|_| format!("`{text}` is no port from 1 to 65535"))?;
        port_number(number)
    };
    match text.split_once('-') {
        None => Ok(Port::Number(number(text)?)),
        Some((first, last)) => match (number(first)?, number(last)?) {
            (first, last) if first < last => Ok(Port::Range(first, last)),
            (first, last) if first == last => Ok(Port::Number(first)),
            _ => Err(format!("the range {text} does not go upwards")),
        },
    }
}

/// Writes the catalogue file.
fn write(imported: &Imported, id: &str, source: &str) -> String {
    let mut text = format!(
        "# Imported by portreeve: look over roles and protocols, which a port list does not tell.\n\n\
         [product]\nid = {}\nname = {}\nvendor = \"imported\"\nversions = \"any\"\n\
         lifecycle = \"current\"\nrank = 90\n",
        quoted(id),
        quoted(&format!("Ports of {source}")),
    );
    for (line, content) in &imported.left_out {
        let content = quoted(&spaced(content));
        writeln!(text, "# Line {line} left out, no TCP or UDP port: {content}")
            .expect("a String takes all");
    }
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut taken = std::collections::BTreeSet::new();
    for entry in &imported.entries {
        let base = slug(&entry.name);
        let count = ids.entry(base.clone()).or_default();
        let id = loop {
            *count += 1;
            let id = if *count == 1 { base.clone() } else { format!("{base}-{count}") };
            if taken.insert(id.clone()) {
                break id;
            }
        };
        write_entry(&mut text, entry, &id, source);
    }
    text
}

fn write_entry(text: &mut String, entry: &Entry, id: &str, source: &str) {
    let guess = guess(&entry.name);
    let port = match entry.port {
        Port::Number(port) => port.to_string(),
        port => format!("\"{port}\""),
    };
    let transport = match (entry.transports.tcp, entry.transports.udp) {
        (true, true) => "both",
        (false, true) => "udp",
        _ => "tcp",
    };
    write!(
        text,
        "\n[[service]]\nid = {}\nname = {}\nrole = \"{}\"\nport = {port}\n\
         transport = \"{transport}\"\noffset = \"fixed\"\nprotocol = \"{}\"\nencryption = \"{}\"\n\
         source = {}\nas_printed = {}\nstatus = \"confirmed\"\n",
        quoted(id),
        quoted(&entry.name),
        guess.0,
        guess.1,
        guess.2,
        quoted(source),
        quoted(&spaced(&entry.printed)),
    )
    .expect("a String takes all");
}

/// Guesses role, protocol and encryption from a well-known name (IANA's service names, nDPI's).
fn guess(name: &str) -> (Role, AppProtocol, Encryption) {
    use AppProtocol as P;
    use Encryption::{None, Tls, Upgrade};
    let protocol = |protocol, encryption, role| (role, protocol, encryption);
    match name.to_ascii_lowercase().as_str() {
        "http" | "www" | "http-alt" | "webcache" => protocol(P::Http, None, Role::Gateway),
        "https" | "https-alt" | "tls" => protocol(P::Http, Tls, Role::Gateway),
        "ldap" => protocol(P::Ldap, Upgrade, Role::Directory),
        "ldaps" => protocol(P::Ldap, Tls, Role::Directory),
        "kerberos" | "kerberos5" | "krb5" => protocol(P::Kerberos, None, Role::Kerberos),
        "amqp" => protocol(P::Amqp, None, Role::Messaging),
        "amqps" => protocol(P::Amqp, Tls, Role::Messaging),
        "mqtt" => protocol(P::Mqtt, None, Role::Messaging),
        "secure-mqtt" | "mqtts" => protocol(P::Mqtt, Tls, Role::Messaging),
        "kafka" => protocol(P::Kafka, None, Role::Messaging),
        "domain" | "dns" => protocol(P::Dns, None, Role::Infrastructure),
        "ntp" => protocol(P::Ntp, None, Role::Infrastructure),
        "syslog" => protocol(P::Syslog, None, Role::Infrastructure),
        "ssh" => protocol(P::Ssh, None, Role::Management),
        "snmp" | "snmp-trap" | "snmptrap" => protocol(P::Snmp, None, Role::Management),
        "cassandra" => protocol(P::Cassandra, None, Role::Storage),
        "rmiregistry" => (Role::Infrastructure, P::Rmi, Encryption::Either),
        _ => (Role::Infrastructure, P::Any, None),
    }
}

/// Makes a name as catalogue files take it.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || "._".contains(character) {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "service".to_owned() } else { slug.to_owned() }
}

/// Returns a line with one space where it has tabs or several.
fn spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes a TOML basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            character if is_unprintable(character) => {
                write!(quoted, "\\U{:08X}", u32::from(character)).expect("a String takes all");
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
