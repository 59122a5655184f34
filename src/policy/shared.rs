//! One secret, several clients.

use std::collections::HashMap;
use std::net::IpAddr;

use super::judge::Subject;
use crate::inspect::EvidenceKind;
use crate::inspect::secret::Fingerprint;
use crate::packet::At;

/// Secrets that are followed over a run: some 130 bytes each, and more than a platform issues in an hour.
const SECRETS_MAX: usize = 1 << 18;

/// Secrets in one slab: some 100 KB.
const SLAB_LEN: usize = 1 << 10;

/// Addresses that are kept of one secret: enough to show that it is shared.
const ADDRESSES_MAX: usize = 16;

/// Addresses that are kept of all secrets beside the first two of each: some 20 MB.
const MORE_MAX: usize = 1 << 18;

/// Shared secrets that are told of in a run: more than anybody changes. Some kilobyte each on its way.
const TOLD_MAX: usize = 1 << 15;

/// Who presented which secret. Fed with every flow of a run, in the order of the flows.
///
/// Whoever was itself given the secret by somebody passes it on, as a proxy does, and is no client.
#[derive(Debug, Default)]
pub struct TokenUse {
    /// Where each secret is in `uses`. Fingerprints are keyed: nobody chooses where they fall.
    secrets: HashMap<Fingerprint, u32, foldhash::fast::RandomState>,
    /// In slabs, which stay where they are when there are more.
    uses: Vec<Vec<Use>>,
    /// Secrets that a second client presented since the last question.
    fresh: Vec<Fingerprint>,
    /// Addresses that are kept beside the first two of each secret.
    more: usize,
    told: usize,
    beyond: u64,
}

/// What is known of one secret. Nearly all have one client and one server, which need no room of their own.
#[derive(Debug)]
struct Use {
    kind: EvidenceKind,
    /// It was told that several clients present it.
    told: bool,
    /// Who presented it first.
    client: Client,
    /// To whom.
    server: IpAddr,
    last: At,
    count: u64,
    more: Option<Box<More>>,
}

/// Who else presented a secret, and to whom else.
#[derive(Debug, Default)]
struct More {
    clients: Vec<Client>,
    servers: Vec<IpAddr>,
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
                let client =
                    Client { address: subject.initiator.ip(), flow, first: evidence.first };
                let server = subject.responder.ip();
                let has_room = self.more < MORE_MAX;
                let Some(known) = self.used(*fingerprint, || Use {
                    kind: evidence.kind,
                    told: false,
                    client,
                    server,
                    last: evidence.last,
                    count: 0,
                    more: None,
                }) else {
                    self.beyond += 1;
                    continue;
                };
                let kept = known.more_len();
                let is_fresh = known.see(client, server, evidence.last, *count, has_room);
                let kept_now = known.more_len();
                self.more += kept_now - kept;
                if is_fresh {
                    self.fresh.push(*fingerprint);
                }
            }
        }
    }

    /// Returns what is known of a secret, made when it is new; `None` when there are too many.
    fn used(&mut self, fingerprint: Fingerprint, first: impl FnOnce() -> Use) -> Option<&mut Use> {
        let len = self.secrets.len();
        let number = match self.secrets.get(&fingerprint) {
            Some(number) => *number as usize,
            None if len >= SECRETS_MAX => return None,
            None => {
                if len.is_multiple_of(SLAB_LEN) {
                    self.uses.push(Vec::with_capacity(SLAB_LEN));
                }
                self.uses.last_mut()?.push(first());
                self.secrets.insert(fingerprint, u32::try_from(len).ok()?);
                len
            }
        };
        Some(&mut self.uses[number / SLAB_LEN][number % SLAB_LEN])
    }

    /// Returns the secrets of which it showed since the last call that several clients present them, in the
    /// order in which that showed. Each is told once.
    pub fn take_shared(&mut self) -> Vec<SharedToken> {
        let fresh = std::mem::take(&mut self.fresh);
        let mut shared: Vec<SharedToken> = fresh
            .iter()
            .filter_map(|fingerprint| {
                if self.told >= TOLD_MAX {
                    self.beyond += 1;
                    return None;
                }
                let number = *self.secrets.get(fingerprint)? as usize;
                let used = &mut self.uses[number / SLAB_LEN][number % SLAB_LEN];
                let passes_on = |client: &&Client| used.servers().any(|at| at == client.address);
                let clients: Vec<&Client> =
                    used.clients().filter(|client| !passes_on(client)).collect();
                let second = *clients.get(1)?;
                let token = SharedToken {
                    fingerprint: *fingerprint,
                    kind: used.kind,
                    clients: clients.iter().map(|client| client.address).collect(),
                    count: used.count,
                    flow: second.flow,
                    first: second.first,
                    last: used.last,
                };
                self.told += usize::from(!std::mem::replace(&mut used.told, true));
                Some(token)
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
    /// Returns who presented it, the first one first.
    fn clients(&self) -> impl Iterator<Item = &Client> {
        std::iter::once(&self.client).chain(self.more.iter().flat_map(|more| &more.clients))
    }

    fn more_len(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.clients.len() + more.servers.len())
    }

    /// Returns to whom it was presented.
    fn servers(&self) -> impl Iterator<Item = IpAddr> {
        let others = self.more.iter().flat_map(|more| &more.servers);
        std::iter::once(self.server).chain(others.copied())
    }

    /// Takes one more use; tells whether a client is new that makes the secret a shared one.
    fn see(
        &mut self,
        client: Client,
        server: IpAddr,
        last: At,
        count: u64,
        has_room: bool,
    ) -> bool {
        let is_new = has_room
            && self.clients().all(|known| known.address != client.address)
            && self.clients().count() < ADDRESSES_MAX;
        if is_new {
            self.more.get_or_insert_default().clients.push(client);
        }
        if has_room
            && self.servers().all(|known| known != server)
            && self.servers().count() < ADDRESSES_MAX
        {
            self.more.get_or_insert_default().servers.push(server);
        }
        self.last = self.last.max(last);
        self.count += count;
        is_new && !self.told
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
