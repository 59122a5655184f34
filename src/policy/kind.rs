//! The closed lists that rules and reports share: severities, finding kinds, and what makes a kind arise.

use std::fmt;

use serde::Serialize;

/// How grave a finding is. Ordered: `Critical` is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Odd, and harmless alone.
    Low,
    /// Should be changed.
    Medium,
    /// Breaks a rule of the platform's documents.
    High,
    /// Gives access to whoever listens.
    Critical,
}

impl Severity {
    /// Every severity, the gravest first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// Returns the name as rules and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Returns the severity of a name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }

    /// Returns EVE's number: 1 is the gravest.
    pub fn number(self) -> u8 {
        match self {
            Self::Critical | Self::High => 1,
            Self::Medium => 2,
            Self::Low => 3,
            Self::Info => 4,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What has to be there before rules of a kind are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Evidence that the rule names.
    Evidence,
    /// A mismatch between what is spoken and what every candidate of the port speaks.
    Mismatch,
    /// TLS older than 1.2.
    ObsoleteTls,
    /// A fault of a server's certificate.
    Certificate,
    /// A protocol in clear on an established connection.
    ClearSpoken,
    /// An established connection.
    Established,
    /// An established connection to a service that the site declares disabled.
    DisabledService,
    /// Nothing of one flow alone: the join raises it.
    Join,
}

impl Trigger {
    /// Says what has to be there, in words.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Evidence => "evidence in the flow's clear text",
            Self::Mismatch => "what is spoken speaks against everything that the port could be",
            Self::ObsoleteTls => "the server chose TLS older than 1.2",
            Self::Certificate => "the server's certificate has a fault",
            Self::ClearSpoken => "a protocol is spoken in clear, as its service is documented",
            Self::Established => "the flow was answered",
            Self::DisabledService => "a service that the site declares disabled answered",
            Self::Join => "several flows, or a host as a whole",
        }
    }
}

/// Defines [`FindingKind`] with its names and triggers, so that none is forgotten.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal from $trigger:ident,)+) => {
        /// What a finding says; stable, in every report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingKind {
            $($(#[$doc])* $variant,)+
        }

        impl FindingKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the name as rules and reports write it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Returns what has to be there before rules of the kind are asked.
            pub fn trigger(self) -> Trigger {
                match self {
                    $(Self::$variant => Trigger::$trigger,)+
                }
            }
        }
    };
}

kinds! {
    /// An OAuth token presented in clear (RFC 6750 §5.3).
    PlaintextBearer = "plaintext-bearer" from Evidence,
    /// Basic credentials in clear.
    BasicAuthCleartext = "basic-auth-cleartext" from Evidence,
    /// Digest credentials in clear.
    DigestAuthCleartext = "digest-auth-cleartext" from Evidence,
    /// An API key in clear.
    ApiKeyCleartext = "api-key-cleartext" from Evidence,
    /// A publisher's internal key in clear.
    InternalKeyCleartext = "internal-key-cleartext" from Evidence,
    /// A gateway's JWT for the back end in clear.
    BackendJwtCleartext = "backend-jwt-cleartext" from Evidence,
    /// A token issued in clear.
    TokenIssuedCleartext = "token-issued-cleartext" from Evidence,
    /// A user's password exchanged for a token in clear.
    PasswordGrantCleartext = "password-grant-cleartext" from Evidence,
    /// A session cookie in clear.
    SessionCookieCleartext = "session-cookie-cleartext" from Evidence,
    /// A login form in clear.
    FormLoginCleartext = "form-login-cleartext" from Evidence,
    /// A WS-Security `UsernameToken` in clear.
    WsSecurityCleartext = "ws-security-cleartext" from Evidence,
    /// An LDAP bind with a password in clear.
    LdapSimpleBindCleartext = "ldap-simple-bind-cleartext" from Evidence,
    /// A JRMP session in clear.
    JmxNoTls = "jmx-no-tls" from Evidence,
    /// JMX that lets clients in without a login.
    JmxNoAuth = "jmx-no-auth" from Evidence,
    /// A JMX login in clear.
    JmxLoginCleartext = "jmx-login-cleartext" from Evidence,
    /// An AMQP login in clear.
    AmqpLoginCleartext = "amqp-login-cleartext" from Evidence,
    /// An MQTT login in clear.
    MqttLoginCleartext = "mqtt-login-cleartext" from Evidence,
    /// A Thrift login in clear.
    ThriftLoginCleartext = "thrift-login-cleartext" from Evidence,
    /// A login to WSO2's binary databridge in clear.
    DatabridgeLoginCleartext = "databridge-login-cleartext" from Evidence,
    /// An SNMP community in clear.
    SnmpCommunityCleartext = "snmp-community-cleartext" from Evidence,
    /// A credential that ships with the product.
    DefaultCredentials = "default-credentials" from Evidence,
    /// One secret presented by several clients.
    TokenShared = "token-shared" from Join,
    /// A JWT past its expiry.
    TokenExpired = "token-expired" from Evidence,
    /// A JWT without a signature.
    JwtUnsigned = "jwt-unsigned" from Evidence,
    /// A protocol in clear on a port that demands TLS.
    PlaintextOnTlsPort = "plaintext-on-tls-port" from Mismatch,
    /// TLS on a port that is clear only.
    TlsOnPlainPort = "tls-on-plain-port" from Mismatch,
    /// A protocol that no candidate of the port speaks.
    UnexpectedProtocol = "unexpected-protocol" from Mismatch,
    /// TLS older than 1.2.
    ObsoleteTls = "obsolete-tls" from ObsoleteTls,
    /// A certificate that proves little.
    WeakCertificate = "weak-certificate" from Certificate,
    /// A transport that the documents say to disable is in use.
    CleartextTransport = "cleartext-transport" from ClearSpoken,
    /// A port of the platform's inside, reached from outside.
    ExposedManagement = "exposed-management" from Established,
    /// Traffic between named zones that no row allows.
    ZoneViolation = "zone-violation" from Join,
    /// A service in use that the catalogue does not have, or no longer.
    UncataloguedService = "uncatalogued-service" from Established,
    /// A host where some ports moved with the offset and others did not.
    PartialOffset = "partial-offset" from Join,
    /// A transport that is declared disabled answers.
    DisabledPortOpen = "disabled-port-open" from DisabledService,
    /// A flow that the deployment needs was never seen to succeed.
    ExpectedFlowAbsent = "expected-flow-absent" from Join,
}

impl FindingKind {
    /// Returns the kind of a name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Returns the kind's bit in a set of kinds.
    pub(super) fn bit(self) -> u64 {
        1 << self as u8
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_severity_is_found_by_its_name() {
        for kind in FindingKind::ALL {
            assert_eq!(FindingKind::from_name(kind.name()), Some(*kind));
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::from_name(severity.name()), Some(severity));
        }
        assert!(FindingKind::ALL.len() <= 64, "a set of kinds is 64 bits");
        assert!(Severity::Critical > Severity::High);
    }
}
