//! One secret, several clients.

use std::collections::HashMap;
use std::net::IpAddr;

use super::judge::Subject;
use crate::inspect::EvidenceKind;
use crate::inspect::secret::Fingerprint;
use crate::packet::At;

/// Secrets that are followed over a run: some 100 bytes each, and more than a platform issues in an hour.
const SECRETS_MAX: usize = 1 << 18;

/// Addresses that are kept of one secret: enough to show that it is shared.
const ADDRESSES_MAX: usize = 16;

/// Who presented which secret. Fed with every flow of a run, in the order of the flows.
///
/// Whoever was itself given the secret by somebody passes it on, as a proxy does, and is no client.
#[derive(Debug, Default)]
pub struct TokenUse {
    secrets: HashMap<Fingerprint, Use>,
    /// Secrets that a second client presented since the last question.
    fresh: Vec<Fingerprint>,
    beyond: u64,
}

#[derive(Debug)]
struct Use {
    kind: EvidenceKind,
    /// Who presented it, the first one first.
    clients: Vec<Client>,
    /// To whom.
    servers: Vec<IpAddr>,
    last: At,
    count: u64,
    /// It was told that several clients present it.
    told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Client {
    address: IpAddr,
    flow: u64,
    first: At,
}

/// A secret that several clients presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedToken {
    /// The secret.
    pub fingerprint: Fingerprint,
    /// What it is.
    pub kind: EvidenceKind,
    /// Who presented it, the first one first; at most 16.
    pub clients: Vec<IpAddr>,
    /// How often it was presented.
    pub count: u64,
    /// The flow that showed it: the second client's first one, by the join's own number.
    pub flow: u64,
    /// When the second client presented it first.
    pub first: At,
    /// When it was presented last.
    pub last: At,
}

impl TokenUse {
    /// Looks at one flow; `flow` is the join's own number for it.
    pub fn flow(&mut self, subject: &Subject<'_>, flow: u64) {
        let Some(facts) = subject.facts else { return };
        let evidence = facts.evidence.iter().filter(|evidence| is_presented(evidence.kind));
        for evidence in evidence {
            for (fingerprint, count) in &evidence.secrets {
                if self.secrets.len() >= SECRETS_MAX && !self.secrets.contains_key(fingerprint) {
                    self.beyond += 1;
                    continue;
                }
                let client =
                    Client { address: subject.initiator.ip(), flow, first: evidence.first };
                let known = self.secrets.entry(*fingerprint).or_insert_with(|| Use {
                    kind: evidence.kind,
                    clients: Vec::new(),
                    servers: Vec::new(),
                    last: evidence.last,
                    count: 0,
                    told: false,
                });
                if known.see(client, subject.responder.ip(), evidence.last, *count) {
                    self.fresh.push(*fingerprint);
                }
            }
        }
    }

    /// Returns the secrets of which it showed since the last call that several clients present them, in the
    /// order in which that showed. Each is told once.
    pub fn take_shared(&mut self) -> Vec<SharedToken> {
        let fresh = std::mem::take(&mut self.fresh);
        let mut shared: Vec<SharedToken> = fresh
            .iter()
            .filter_map(|fingerprint| {
                let used = self.secrets.get_mut(fingerprint)?;
                let passes_on = |client: &&Client| used.servers.contains(&client.address);
                let clients: Vec<&Client> =
                    used.clients.iter().filter(|client| !passes_on(client)).collect();
                let second = *clients.get(1)?;
                let clients = clients.iter().map(|client| client.address).collect();
                used.told = true;
                Some(SharedToken {
                    fingerprint: *fingerprint,
                    kind: used.kind,
                    clients,
                    count: used.count,
                    flow: second.flow,
                    first: second.first,
                    last: used.last,
                })
            })
            .collect();
        shared.sort_by_key(|token| (token.first, token.flow, token.fingerprint));
        shared.dedup_by_key(|token| token.fingerprint);
        shared
    }

    /// Returns how often a secret was presented that could not be followed any more.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

impl Use {
    /// Takes one more use; tells whether a client is new that makes the secret a shared one.
    fn see(&mut self, client: Client, server: IpAddr, last: At, count: u64) -> bool {
        let is_new = self.clients.len() < ADDRESSES_MAX
            && !self.clients.iter().any(|known| known.address == client.address);
        if is_new {
            self.clients.push(client);
        }
        if self.servers.len() < ADDRESSES_MAX && !self.servers.contains(&server) {
            self.servers.push(server);
        }
        self.last = self.last.max(last);
        self.count += count;
        is_new && self.clients.len() > 1 && !self.told
    }
}

/// Tells whether a client presents the secret of such evidence as its own.
fn is_presented(kind: EvidenceKind) -> bool {
    matches!(
        kind,
        EvidenceKind::BearerToken
            | EvidenceKind::ApiKey
            | EvidenceKind::InternalKey
            | EvidenceKind::SessionCookie
    )
}
