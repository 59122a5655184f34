//! How much memory what was found in a flow takes.

use super::facts::{CertificateFacts, Evidence, HttpContext, JwtFacts, TlsFacts};
use super::secret::Fingerprint;

impl Evidence {
    /// Returns the memory of what it points to, in bytes.
    pub(super) fn held_bytes(&self, before: Option<&HttpContext>) -> usize {
        let jwt = self.jwt.as_ref();
        self.secrets.capacity() * size_of::<(Fingerprint, u64)>()
            + self.user.as_ref().map_or(0, String::capacity)
            + self.http.as_ref().map_or(0, |http| http.held_bytes(before))
            + jwt.map_or(0, |jwt| size_of::<JwtFacts>() + jwt.alg.capacity() + jwt.iss.capacity())
    }
}

impl TlsFacts {
    /// Returns its memory, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let alpn = self.alpn.iter().map(|name| size_of::<String>() + name.capacity());
        let certificate = self.certificate.as_ref().map_or(0, |certificate| {
            let names = certificate.subject.capacity() + certificate.issuer.capacity();
            size_of::<CertificateFacts>() + names
        });
        let sni = self.sni.as_ref().map_or(0, String::capacity);
        size_of::<Self>() + sni + alpn.sum::<usize>() + certificate
    }
}
