//! The server's own certificate in a Certificate message of TLS 1.2 and older (RFC 5246 §7.4.2).

use x509_parser::parse_x509_certificate;
use x509_parser::x509::X509Name;

use crate::inspect::bytes::{Reader, wire_text};
use crate::inspect::facts::CertificateFacts;
use crate::packet::Timestamp;

/// Longest name of a subject or an issuer that is kept.
const NAME_LEN_MAX: usize = 256;

const SECOND_NS: i64 = 1_000_000_000;

/// Reads the first certificate of the chain, by a packet's time.
pub(super) fn leaf(body: &[u8], time: Timestamp) -> Option<CertificateFacts> {
    let mut reader = Reader::new(body);
    reader.u24()?;
    let len = reader.u24()?;
    let (_, certificate) = parse_x509_certificate(reader.take(len.try_into().ok()?)?).ok()?;
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    let not_after = certificate.validity().not_after.timestamp();
    Some(CertificateFacts {
        subject: wire_text(subject.to_string().as_bytes(), NAME_LEN_MAX),
        issuer: wire_text(issuer.to_string().as_bytes(), NAME_LEN_MAX),
        not_before: certificate.validity().not_before.timestamp(),
        not_after,
        expired: time.0.div_euclid(SECOND_NS) > not_after,
        self_signed: subject.as_raw() == issuer.as_raw(),
        product_default: is_product_default(subject),
    })
}

/// Tells whether the subject is that of the key store in WSO2's downloads: CN=localhost, O=WSO2.
fn is_product_default(subject: &X509Name<'_>) -> bool {
    let is = |attribute: Option<&str>, value: &str| {
        attribute.is_some_and(|attribute| attribute.eq_ignore_ascii_case(value))
    };
    is(subject.iter_common_name().next().and_then(|name| name.as_str().ok()), "localhost")
        && is(subject.iter_organization().next().and_then(|name| name.as_str().ok()), "WSO2")
}
