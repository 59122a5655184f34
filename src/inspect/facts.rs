//! What inspection found out about one flow.

pub use super::http_context::HttpContext;
use super::secret::Fingerprint;
use crate::packet::{At, Side};

/// What is spoken on the wire, whatever the port says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// AMQP 0-8 to 1.0.
    Amqp,
    /// Cassandra: internode or CQL.
    Cassandra,
    /// WSO2's binary databridge.
    Databridge,
    /// DNS over UDP or TCP.
    Dns,
    /// Hazelcast.
    Hazelcast,
    /// HDFS: IPC or data transfer.
    Hdfs,
    /// HTTP/1.0 or 1.1.
    Http,
    /// HTTP/2.
    Http2,
    /// Kafka.
    Kafka,
    /// Kerberos 5.
    Kerberos,
    /// LDAP.
    Ldap,
    /// MQTT.
    Mqtt,
    /// NTP.
    Ntp,
    /// QUIC.
    Quic,
    /// Java RMI (JRMP).
    Rmi,
    /// SNMP.
    Snmp,
    /// Spark RPC.
    Spark,
    /// SSH.
    Ssh,
    /// Syslog.
    Syslog,
    /// Thrift.
    Thrift,
    /// TLS.
    Tls,
    /// WebSocket, after its handshake.
    WebSocket,
}

impl Protocol {
    /// Every protocol, in the order of their names.
    pub const ALL: [Self; 22] = [
        Self::Amqp,
        Self::Cassandra,
        Self::Databridge,
        Self::Dns,
        Self::Hazelcast,
        Self::Hdfs,
        Self::Http,
        Self::Http2,
        Self::Kafka,
        Self::Kerberos,
        Self::Ldap,
        Self::Mqtt,
        Self::Ntp,
        Self::Quic,
        Self::Rmi,
        Self::Snmp,
        Self::Spark,
        Self::Ssh,
        Self::Syslog,
        Self::Thrift,
        Self::Tls,
        Self::WebSocket,
    ];

    /// Returns the name that `app_proto` bears: Suricata's where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Cassandra => "cassandra",
            Self::Databridge => "databridge",
            Self::Dns => "dns",
            Self::Hazelcast => "hazelcast",
            Self::Hdfs => "hdfs",
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Kafka => "kafka",
            Self::Kerberos => "krb5",
            Self::Ldap => "ldap",
            Self::Mqtt => "mqtt",
            Self::Ntp => "ntp",
            Self::Quic => "quic",
            Self::Rmi => "rmi",
            Self::Snmp => "snmp",
            Self::Spark => "spark",
            Self::Ssh => "ssh",
            Self::Syslog => "syslog",
            Self::Thrift => "thrift",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
        }
    }

    /// Returns the protocol of a name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Tells whether the application's data are encrypted under this protocol.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Quic | Self::Ssh)
    }
}

/// One kind of observed fact; a rule turns it into a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// A request presents an OAuth token: Authorization, URI query or form body (RFC 6750 §2).
    BearerToken,
    /// A request presents Basic credentials in Authorization (RFC 7617).
    BasicCredentials,
    /// A request presents Digest credentials in Authorization (RFC 7616), or a `UsernameToken` with a digest.
    DigestCredentials,
    /// A request presents credentials to a proxy (RFC 9110 §11.7.1).
    ProxyCredentials,
    /// A request presents an API key: WSO2's `apikey`, or the id and secret of API Connect's clients.
    ApiKey,
    /// A request presents an `Internal-Key`.
    InternalKey,
    /// A request carries a gateway's `X-JWT-Assertion`.
    BackendJwt,
    /// A response issues a token.
    TokenIssued,
    /// A form body carries a user's password for a token (RFC 6749 §4.3).
    PasswordGrant,
    /// A form body, or OAuth's query, carries a client's secret (RFC 6749 §2.3.1).
    ClientSecret,
    /// A request carries a session cookie.
    SessionCookie,
    /// A form body logs a user in.
    FormLogin,
    /// A SOAP message carries a `UsernameToken` with a password.
    WsSecurity,
    /// A credential that ships with the product.
    DefaultCredentials,
    /// A JWT without a signature.
    JwtUnsigned,
    /// A JWT past its `exp`, by the packet's time.
    TokenExpired,
    /// An LDAP bind with a password in clear: simple, or SASL PLAIN (RFC 4511 §4.2, RFC 4616).
    LdapSimpleBind,
    /// A JRMP session in clear, once a flow.
    JmxClear,
    /// A JMX client logs in.
    JmxLogin,
    /// A JMX server lets a client in without a login.
    JmxNoAuth,
    /// An AMQP client logs in by PLAIN or AMQPLAIN.
    AmqpLogin,
    /// An MQTT CONNECT carries a password.
    MqttLogin,
    /// A Thrift call carries a user's password: `connect`, Cassandra's `login`.
    ThriftLogin,
    /// A login frame of WSO2's binary databridge.
    DatabridgeLogin,
    /// A request of SNMP's first or second version carries its community (RFC 3416 §3).
    SnmpCommunity,
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: [Self; 25] = [
        Self::BearerToken,
        Self::BasicCredentials,
        Self::DigestCredentials,
        Self::ProxyCredentials,
        Self::ApiKey,
        Self::InternalKey,
        Self::BackendJwt,
        Self::TokenIssued,
        Self::PasswordGrant,
        Self::ClientSecret,
        Self::SessionCookie,
        Self::FormLogin,
        Self::WsSecurity,
        Self::DefaultCredentials,
        Self::JwtUnsigned,
        Self::TokenExpired,
        Self::LdapSimpleBind,
        Self::JmxClear,
        Self::JmxLogin,
        Self::JmxNoAuth,
        Self::AmqpLogin,
        Self::MqttLogin,
        Self::ThriftLogin,
        Self::DatabridgeLogin,
        Self::SnmpCommunity,
    ];

    /// Returns the name as rules and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BearerToken => "bearer-token",
            Self::BasicCredentials => "basic-credentials",
            Self::DigestCredentials => "digest-credentials",
            Self::ProxyCredentials => "proxy-credentials",
            Self::ApiKey => "api-key",
            Self::InternalKey => "internal-key",
            Self::BackendJwt => "backend-jwt",
            Self::TokenIssued => "token-issued",
            Self::PasswordGrant => "password-grant",
            Self::ClientSecret => "client-secret",
            Self::SessionCookie => "session-cookie",
            Self::FormLogin => "form-login",
            Self::WsSecurity => "ws-security",
            Self::DefaultCredentials => "default-credentials",
            Self::JwtUnsigned => "jwt-unsigned",
            Self::TokenExpired => "token-expired",
            Self::LdapSimpleBind => "ldap-simple-bind",
            Self::JmxClear => "jmx-clear",
            Self::JmxLogin => "jmx-login",
            Self::JmxNoAuth => "jmx-no-auth",
            Self::AmqpLogin => "amqp-login",
            Self::MqttLogin => "mqtt-login",
            Self::ThriftLogin => "thrift-login",
            Self::DatabridgeLogin => "databridge-login",
            Self::SnmpCommunity => "snmp-community",
        }
    }

    /// Returns the kind of a name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One kind of evidence in one flow, counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What was seen.
    pub kind: EvidenceKind,
    /// How often: requests, binds, sessions, by the kind's definition.
    pub count: u64,
    /// The packet with the first byte of the first one.
    pub first: At,
    /// The packet with the first byte of the last one.
    pub last: At,
    /// Different secrets by fingerprint, with how often each was seen; at most [`SECRETS_MAX`].
    pub secrets: Vec<(Fingerprint, u64)>,
    /// How often secrets were seen that did not fit into `secrets`.
    pub secrets_beyond: u64,
    /// Who logged in, of the first one that names somebody: shown, or the name's fingerprint.
    pub user: Option<String>,
    /// Where the first one was: method, host, path.
    pub http: Option<Box<HttpContext>>,
    /// What its JWT said, of the first one that is a JWT.
    pub jwt: Option<Box<JwtFacts>>,
}

/// What a JWT says of itself (RFC 7519), without what would let anybody use it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JwtFacts {
    /// Signature algorithm.
    pub alg: String,
    /// Issuer.
    pub iss: String,
    /// Expiry, in seconds since 1970.
    pub exp: Option<i64>,
}

/// What TLS says before it encrypts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFacts {
    /// Server name that the client asked for (RFC 6066 §3).
    pub sni: Option<String>,
    /// Protocols that the client offered (RFC 7301).
    pub alpn: Vec<String>,
    /// Version that the server chose, or the highest that the client offered; as on the wire (0x0303).
    pub version: Option<u16>,
    /// Cipher suite that the server chose.
    pub cipher: Option<u16>,
    /// The version is the server's choice, not the client's offer.
    pub negotiated: bool,
    /// The server's own certificate, where it travels in clear (TLS 1.2 and older).
    pub certificate: Option<Box<CertificateFacts>>,
    /// Whether the server asked for a client certificate; `None` where that is encrypted or was not seen.
    pub client_certificate: Option<bool>,
}

/// What a server's certificate says (RFC 5280 §4.1). Names as on the wire, cut, not escaped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateFacts {
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// First second of its validity, counted from 1970.
    pub not_before: i64,
    /// Last second of its validity, counted from 1970.
    pub not_after: i64,
    /// Its validity had ended at the packet's time.
    pub expired: bool,
    /// Subject and issuer are the same.
    pub self_signed: bool,
    /// The one that WSO2's products ship with: its private key is in every download.
    pub product_default: bool,
}

/// An endpoint that a server named to its client: a later flow to it speaks what the entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedEndpoint {
    /// Name or address, as advertised: may be a loopback address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The endpoint is behind TLS.
    pub tls: bool,
    /// The packet that named it.
    pub at: At,
}

/// Why bytes of a flow were not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uninspected(u8);

impl Uninspected {
    /// Bytes were never captured in between.
    pub const HOLE: Self = Self(1);
    /// Two copies of the same bytes differ.
    pub const OVERLAP: Self = Self(2);
    /// Frames were cut by the snapshot length.
    pub const SNAPLEN: Self = Self(4);
    /// A limit was reached: a head too long, too many streams.
    pub const LIMIT: Self = Self(8);
    /// State that was built before the capture began is not known (HPACK).
    pub const STATE: Self = Self(16);
    /// There was no memory to hold what has to be held to go on.
    pub const MEMORY: Self = Self(64);

    /// The kernel could not hand over a copy of what it counted.
    pub const SAMPLE: Self = Self(32);

    /// Every reason with its name in reports.
    pub const NAMES: [(Self, &'static str); 7] = [
        (Self::HOLE, "hole"),
        (Self::LIMIT, "limit"),
        (Self::MEMORY, "memory"),
        (Self::OVERLAP, "overlap"),
        (Self::SAMPLE, "sample"),
        (Self::SNAPLEN, "snaplen"),
        (Self::STATE, "state"),
    ];

    /// Adds a reason.
    pub fn add(&mut self, reason: Self) {
        self.0 |= reason.0;
    }

    /// Takes a reason back.
    pub fn remove(&mut self, reason: Self) {
        self.0 &= !reason.0;
    }

    /// Tells whether a reason is among them.
    pub fn has(self, reason: Self) -> bool {
        self.0 & reason.0 != 0
    }

    /// Tells whether everything was looked into.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the names of the reasons.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(reason, _)| self.has(*reason)).map(|(_, name)| name)
    }
}

/// All that inspection knows of one flow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The initiator's protocol, once recognised.
    pub protocol: Option<Protocol>,
    /// The side that content shows to be the initiator.
    pub initiator: Option<Side>,
    /// What the other side answered in.
    pub answer: super::Answer,
    /// The packet in which the protocol was recognised.
    pub recognised: Option<At>,
    /// Evidence, one entry a kind.
    pub evidence: Vec<Evidence>,
    /// TLS's opening.
    pub tls: Option<Box<TlsFacts>>,
    /// The clear protocol handed over to TLS: StartTLS, AMQP's TLS header.
    pub upgraded: bool,
    /// RMI endpoints that the server named, at most [`LEARNED_MAX`].
    pub learned: Vec<LearnedEndpoint>,
    /// The server calls itself a WSO2 product (`Server: WSO2 Carbon Server`).
    pub wso2_server: bool,
    /// Requests seen in clear, of protocols that have such.
    pub requests: u64,
    /// Why not everything was looked into.
    pub uninspected: Uninspected,
}

/// Different secrets that one kind of evidence keeps apart in one flow: enough to show reuse.
pub const SECRETS_MAX: usize = 16;

/// Endpoints that one flow may teach: a registry has a handful of names, and a hostile one no more.
pub const LEARNED_MAX: usize = 16;

impl Facts {
    /// Returns how many things were found: whether their memory may have changed.
    pub fn items(&self) -> usize {
        let tls = self.tls.as_ref();
        let of_tls = tls.map_or(0, |tls| 1 + usize::from(tls.certificate.is_some()));
        self.evidence.len() + self.learned.len() + of_tls
    }

    /// Returns the memory of what was found, in bytes.
    pub fn held_bytes(&self) -> usize {
        let mut before = None;
        let evidence = self.evidence.iter().map(|evidence| {
            let bytes = evidence.held_bytes(before);
            before = evidence.http.as_deref().or(before);
            bytes
        });
        let evidence: usize = evidence.sum();
        let learned = self.learned.iter().map(|endpoint| endpoint.host.capacity());
        let tls = self.tls.as_ref().map_or(0, |tls| tls.held_bytes());
        evidence
            + self.evidence.capacity() * size_of::<Evidence>()
            + self.learned.capacity() * size_of::<LearnedEndpoint>()
            + learned.sum::<usize>()
            + tls
    }

    /// Notes an endpoint that the server named; the first mention of each counts.
    pub fn learn(&mut self, endpoint: LearnedEndpoint) {
        let known = self
            .learned
            .iter()
            .any(|e| (e.port, &e.host, e.tls) == (endpoint.port, &endpoint.host, endpoint.tls));
        if !known && self.learned.len() < LEARNED_MAX {
            self.learned.push(endpoint);
        }
    }

    /// Counts one observation; returns its evidence for what else is known of it.
    pub fn observe(
        &mut self,
        kind: EvidenceKind,
        at: At,
        secret: Option<Fingerprint>,
    ) -> &mut Evidence {
        let index = if let Some(index) = self.evidence.iter().position(|e| e.kind == kind) {
            index
        } else {
            // Most flows have one kind, if any, and a million flows may have it.
            self.evidence.reserve_exact(1);
            self.evidence.push(Evidence {
                kind,
                count: 0,
                first: at,
                last: at,
                secrets: Vec::new(),
                secrets_beyond: 0,
                user: None,
                http: None,
                jwt: None,
            });
            self.evidence.len() - 1
        };
        let evidence = &mut self.evidence[index];
        evidence.count += 1;
        evidence.last = evidence.last.max(at);
        evidence.first = evidence.first.min(at);
        if let Some(secret) = secret {
            if let Some((_, count)) =
                evidence.secrets.iter_mut().find(|(known, _)| *known == secret)
            {
                *count += 1;
            } else if evidence.secrets.len() < SECRETS_MAX {
                evidence.secrets.reserve_exact(1);
                evidence.secrets.push((secret, 1));
            } else {
                evidence.secrets_beyond += 1;
            }
        }
        evidence
    }
}
