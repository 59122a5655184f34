//! What one row of the catalogue says: a service of a product, where it listens and what it speaks.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::packet::Transport;

/// Names one service: an index into [`Catalog::services`](super::Catalog::services).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

/// Names one product: an index into [`Catalog::products`](super::Catalog::products).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductId(pub u16);

/// One product line: a catalogue file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its name in site files and reports, such as `wso2-api-manager-4`.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Who makes it.
    pub vendor: String,
    /// The versions that the file speaks of.
    pub versions: String,
    /// Whether its maker still ships it.
    pub lifecycle: Lifecycle,
    /// Its place among the candidates of a port: lower is named first.
    pub rank: u16,
    /// What else is to be known.
    pub note: Option<String>,
    /// The parts of the product that its rows name, sorted.
    pub components: Vec<String>,
    /// Its rows, in the order of the file, included ones last.
    pub services: Vec<ServiceId>,
}

/// One row of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `product/name`, such as `wso2-api-manager-4/gateway-http`.
    pub id: String,
    /// The product that it belongs to.
    pub product: ProductId,
    /// The parts of the product that open it; none means every part.
    pub components: Vec<String>,
    /// What it is, for people.
    pub name: String,
    /// Its class.
    pub role: Role,
    /// The port as it is with the built-in offset, which is what the documents print.
    pub port: Port,
    /// The offset that the product ships with and that is part of `port`.
    pub built_in_offset: u16,
    /// What the port offset does to it.
    pub offset: OffsetBehaviour,
    /// TCP, UDP or both.
    pub transports: Transports,
    /// What should be spoken there.
    pub protocol: AppProtocol,
    /// Whether it should be encrypted.
    pub encryption: Encryption,
    /// Seen from the product, where the document says so.
    pub direction: Option<Direction>,
    /// Whether it is open as the product ships.
    pub default_on: bool,
    /// The product's versions that have it.
    pub versions: String,
    /// Whether it is still there.
    pub lifecycle: Lifecycle,
    /// The document that names it.
    pub source: String,
    /// The section of that document.
    pub section: Option<String>,
    /// The document's own words.
    pub as_printed: Option<String>,
    /// Whether these words hold.
    pub status: Status,
    /// What is true where the document is wrong or unclear, by what evidence, and what else matters.
    pub note: Option<String>,
    /// Where the other end is expected; empty means anywhere.
    pub networks: Vec<Network>,
}

impl Service {
    /// Returns the port without the built-in offset: what a user's offset is added to.
    pub fn base_port(&self) -> Option<u16> {
        self.port.first().map(|port| port.saturating_sub(self.built_in_offset))
    }

    /// Returns the ports that it listens on under a user's offset, which replaces the built-in one;
    /// `Port::None` for a random port and `None` beyond 65535.
    ///
    /// ```
    /// use portreeve::catalog::{Catalog, Port};
    /// let catalog = Catalog::embedded();
    /// let http = catalog.service_named("wso2-micro-integrator/http").unwrap();
    /// assert_eq!(catalog.service(http).port, Port::Number(8290));
    /// assert_eq!(catalog.service(http).port_at(3), Some(Port::Number(8283)));
    /// ```
    pub fn port_at(&self, user_offset: u16) -> Option<Port> {
        if !self.offset.moves() {
            return Some(self.port);
        }
        let shift = |port: u16| (port - self.built_in_offset).checked_add(user_offset);
        Some(match self.port {
            Port::None => Port::None,
            Port::Number(port) => Port::Number(shift(port)?),
            Port::Range(first, last) => Port::Range(shift(first)?, shift(last)?),
        })
    }

    /// Tells whether it listens on `port` under a user's offset; without one, under the built-in one.
    ///
    /// A row that moves only if it is not configured answers at its printed number too.
    pub fn listens_at(&self, port: u16, user_offset: Option<u16>) -> bool {
        let there = match user_offset {
            None => Some(self.port),
            Some(offset) => self.port_at(offset),
        };
        there.is_some_and(|there| there.spread(self.offset).contains(port))
            || self.offset == OffsetBehaviour::MovesIfUnset && self.port.contains(port)
    }

    /// Tells whether it belongs to a part of its product; a row without parts belongs to every one.
    pub fn is_in(&self, component: &str) -> bool {
        self.components.is_empty() || self.components.iter().any(|known| known == component)
    }

    /// Tells whether the row's protocol is, or carries, one that was heard, in clear or not.
    pub fn speaks(&self, heard: AppProtocol) -> bool {
        let is_web = |protocol| matches!(protocol, AppProtocol::Http | AppProtocol::Websocket);
        self.protocol == AppProtocol::Any
            || self.protocol == heard
            || (is_web(self.protocol) && is_web(heard))
    }

    /// Tells whether the product itself listens here: an outbound row names another's listener.
    pub fn is_listener(&self) -> bool {
        self.direction != Some(Direction::Outbound)
    }

    /// Tells whether an address lies where the row expects its other end; `None` where it has no
    /// prefix to say it with.
    pub fn expects_address(&self, address: IpAddr) -> Option<bool> {
        let mut prefixes = self.networks.iter().filter_map(Network::prefix).peekable();
        prefixes.peek()?;
        Some(prefixes.any(|prefix| prefix.contains(&address)))
    }
}

/// Where a service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// At random, or where the operator says: found by learning or by content.
    None,
    /// On one port.
    Number(u16),
    /// On ports from the first to the last.
    Range(u16, u16),
}

impl Port {
    /// Returns the lowest port.
    pub fn first(self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::Number(port) | Self::Range(port, _) => Some(port),
        }
    }

    /// Tells whether a port is among them.
    pub fn contains(self, port: u16) -> bool {
        match self {
            Self::None => false,
            Self::Number(number) => number == port,
            Self::Range(first, last) => (first..=last).contains(&port),
        }
    }

    /// Widens an auto-incrementing port to all the numbers that it may get.
    #[must_use]
    pub fn spread(self, behaviour: OffsetBehaviour) -> Self {
        match (self, behaviour) {
            (Self::Number(port), OffsetBehaviour::FixedAutoIncrement) => {
                Self::Range(port, port.saturating_add(AUTO_INCREMENT_PORTS - 1))
            }
            _ => self,
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("random"),
            Self::Number(port) => f.pad(&port.to_string()),
            Self::Range(first, last) => f.pad(&format!("{first}-{last}")),
        }
    }
}

impl Serialize for Port {
    /// An integer, `"lo-hi"` or null.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Number(port) => serializer.serialize_u16(*port),
            Self::Range(..) => serializer.collect_str(self),
        }
    }
}

/// Ports that a member of a cluster tries one after the other when its own is taken: members on one
/// host are few, and each number further is one more that may belong to somebody else.
pub const AUTO_INCREMENT_PORTS: u16 = 10;

/// The transports of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transports {
    /// TCP.
    pub tcp: bool,
    /// UDP.
    pub udp: bool,
}

impl Transports {
    /// Tells whether a transport is among them.
    pub fn has(self, transport: Transport) -> bool {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Udp => self.udp,
        }
    }

    /// Returns them, TCP first.
    pub fn iter(self) -> impl Iterator<Item = Transport> {
        [Transport::Tcp, Transport::Udp].into_iter().filter(move |transport| self.has(*transport))
    }
}

/// The other end's network, where the document names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// An address block.
    Prefix(IpNet),
    /// An autonomous system by its number (RFC 6793); a capture cannot tell who is in it.
    AutonomousSystem(u32),
}

impl Network {
    /// Returns the address block, if it is one.
    pub fn prefix(&self) -> Option<IpNet> {
        match self {
            Self::Prefix(prefix) => Some(*prefix),
            Self::AutonomousSystem(_) => None,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => write!(f, "{prefix}"),
            Self::AutonomousSystem(number) => write!(f, "AS{number}"),
        }
    }
}

/// Defines an enum whose variants bear one name each, in files and in reports alike.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every one, in the order of their names.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Returns the name as files and reports write it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Returns the one of a name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named! {
    /// The class of a service.
    Role {
        /// Receives, stores or shows analytics.
        Analytics = "analytics",
        /// Keeps the members of a cluster together.
        Clustering = "clustering",
        /// WSO2's binary databridge.
        Databridge = "databridge",
        /// LDAP.
        Directory = "directory",
        /// Carries API traffic.
        Gateway = "gateway",
        /// DNS, NTP, syslog, backups: what every platform needs.
        Infrastructure = "infrastructure",
        /// Java Management Extensions.
        Jmx = "jmx",
        /// Kerberos.
        Kerberos = "kerberos",
        /// Consoles, administration and monitoring beside the servlet transports.
        Management = "management",
        /// AMQP, MQTT, Kafka.
        Messaging = "messaging",
        /// Push services of Apple and Google.
        Push = "push",
        /// Carbon's servlet transports: consoles, portals, admin services, token endpoints.
        Servlet = "servlet",
        /// Spark and H2O.
        Spark = "spark",
        /// Databases and distributed file systems.
        Storage = "storage",
        /// Thrift receivers.
        Thrift = "thrift",
        /// `WebSocket` APIs.
        Websocket = "websocket",
        /// `WebSub` (webhook) APIs.
        Websub = "websub",
    }
}

named! {
    /// What the port offset does to a port.
    OffsetBehaviour {
        /// The user's offset does not touch it.
        Fixed = "fixed",
        /// The offset does not touch it, but it counts up while its number is taken.
        FixedAutoIncrement = "fixed-auto-increment",
        /// The offset is added to the base port.
        Moves = "moves",
        /// The offset is added unless the port is configured, which then is literal.
        MovesIfUnset = "moves-if-unset",
    }
}

impl OffsetBehaviour {
    /// Tells whether a user's offset may move the port.
    pub fn moves(self) -> bool {
        matches!(self, Self::Moves | Self::MovesIfUnset)
    }
}

named! {
    /// The application protocol that a row claims, inside TLS where the row says so. The names are those
    /// of the protocols that inspection recognises.
    AppProtocol {
        /// AMQP, any version.
        Amqp = "amqp",
        /// The source does not say, or it is one that is not recognised: nothing can disagree.
        Any = "any",
        /// Cassandra's own: internode or CQL.
        Cassandra = "cassandra",
        /// WSO2's binary databridge.
        Databridge = "databridge",
        /// DNS.
        Dns = "dns",
        /// Hazelcast.
        Hazelcast = "hazelcast",
        /// HDFS: IPC or data transfer.
        Hdfs = "hdfs",
        /// HTTP of any version; gRPC and `WebSocket` are HTTP's.
        Http = "http",
        /// Kafka.
        Kafka = "kafka",
        /// Kerberos 5.
        Kerberos = "krb5",
        /// LDAP.
        Ldap = "ldap",
        /// MQTT.
        Mqtt = "mqtt",
        /// NTP.
        Ntp = "ntp",
        /// Java RMI (JRMP).
        Rmi = "rmi",
        /// SNMP.
        Snmp = "snmp",
        /// Spark's RPC.
        Spark = "spark",
        /// SSH.
        Ssh = "ssh",
        /// Syslog.
        Syslog = "syslog",
        /// Thrift.
        Thrift = "thrift",
        /// `WebSocket`, opened by an HTTP request.
        Websocket = "websocket",
    }
}

named! {
    /// Whether a service's bytes should be encrypted.
    Encryption {
        /// The document leaves it open: clear and TLS are both right.
        Either = "either",
        /// Clear.
        None = "none",
        /// TLS from the first byte.
        Tls = "tls",
        /// Clear, then TLS when both sides agree (StartTLS).
        Upgrade = "upgrade",
    }
}

named! {
    /// Seen from the product.
    Direction {
        /// Others connect to the product and the product connects to others.
        Both = "both",
        /// Others connect to the product.
        Inbound = "inbound",
        /// The product connects to somebody else's listener.
        Outbound = "outbound",
    }
}

named! {
    /// Whether a product or a row is still to be met.
    Lifecycle {
        /// It is.
        Current = "current",
        /// Only in old installations.
        Retired = "retired",
    }
}

named! {
    /// Whether the document's words hold.
    Status {
        /// They do.
        Confirmed = "confirmed",
        /// They do not, and the row says what is true instead.
        Corrected = "corrected",
        /// They probably do not, and nobody knows what is true.
        Suspect = "suspect",
    }
}
