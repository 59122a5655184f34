//! Pass, findings or inconclusive: the closed list of what could hide something.

use super::kind::Severity;

/// One thing that could hide a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// Packets were lost before they could be looked at.
    Dropped,
    /// Flows were thrown out of a full table before they were decided.
    Evicted,
    /// Flows were folded into sums before they were decided.
    Folded,
    /// Bytes of clear or undecided flows were never captured.
    Hole,
    /// The kernel could not hand over samples of clear or undecided flows.
    LostSample,
    /// Frames of clear or undecided flows were cut.
    Snaplen,
    /// An input could not be read to its end.
    UnreadTail,
}

impl Doubt {
    /// Every one, in the order in which reports list them. The list is closed: joined midway, one direction
    /// only and unknown protocols are shown, and are no doubt.
    pub const ALL: [Self; 7] = [
        Self::Dropped,
        Self::Evicted,
        Self::Folded,
        Self::Hole,
        Self::LostSample,
        Self::Snaplen,
        Self::UnreadTail,
    ];

    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Evicted => "evicted",
            Self::Folded => "folded",
            Self::Hole => "hole",
            Self::LostSample => "lost-sample",
            Self::Snaplen => "snaplen",
            Self::UnreadTail => "unread-tail",
        }
    }

    /// Says what could be hidden and how to avoid it, in one sentence without a full stop.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Dropped => {
                "packets were lost before they could be looked at; filter, or capture with a larger buffer"
            }
            Self::Evicted => {
                "flows, or datagrams in fragments, were thrown out of a full table before they were decided; raise --memory-limit"
            }
            Self::Folded => {
                "flows were folded into sums before they were decided; raise --memory-limit"
            }
            Self::Hole => {
                "bytes of clear or undecided flows were never captured; see whether the tap or mirror drops"
            }
            Self::LostSample => {
                "the kernel could not hand over samples of clear or undecided flows; the machine is too busy"
            }
            Self::Snaplen => {
                "clear or undecided flows were cut, and what was cut could hide a credential; capture with -s 0"
            }
            Self::UnreadTail => "an input could not be read to its end; capture or copy it again",
        }
    }
}

/// How much of each doubt a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts {
    counts: [u64; Doubt::ALL.len()],
}

impl Doubts {
    /// Adds packets (`Dropped`), inputs (`UnreadTail`) or flows (the others).
    pub fn add(&mut self, doubt: Doubt, count: u64) {
        self.counts[doubt as usize] += count;
    }

    /// Returns each doubt that there is, with how much.
    pub fn iter(&self) -> impl Iterator<Item = (Doubt, u64)> + '_ {
        Doubt::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// Tells whether nothing could hide something.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; Doubt::ALL.len()]
    }
}

/// The verdict's first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing at or above the threshold, and nothing that could hide it.
    Pass,
    /// At least one finding at or above the threshold.
    Findings,
    /// No such finding, but something could hide one.
    Inconclusive,
}

impl Outcome {
    /// Judges a run by its gravest finding that nobody accepted, and by its doubts.
    pub fn of(worst: Option<Severity>, fail_on: Severity, doubts: &Doubts) -> Self {
        if worst.is_some_and(|worst| worst >= fail_on) {
            Self::Findings
        } else if doubts.is_empty() {
            Self::Pass
        } else {
            Self::Inconclusive
        }
    }

    /// Returns the exit code; 2 is left for a run that failed.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Findings => 1,
            Self::Inconclusive => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_outweighs_doubt_and_doubt_outweighs_silence() {
        let mut doubts = Doubts::default();
        let of = |worst, doubts: &Doubts| Outcome::of(worst, Severity::High, doubts).exit_code();
        assert_eq!(of(None, &doubts), 0);
        assert_eq!(of(Some(Severity::Medium), &doubts), 0);
        assert_eq!(of(Some(Severity::High), &doubts), 1);
        doubts.add(Doubt::Snaplen, 2);
        assert_eq!(of(Some(Severity::Medium), &doubts), 3);
        assert_eq!(of(Some(Severity::Critical), &doubts), 1);
        assert_eq!(doubts.iter().collect::<Vec<_>>(), [(Doubt::Snaplen, 2)]);
    }

    #[test]
    fn doubts_are_listed_by_name_and_counted_by_place() {
        let names: Vec<&str> = Doubt::ALL.into_iter().map(Doubt::name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        for (place, doubt) in Doubt::ALL.into_iter().enumerate() {
            assert_eq!(place, doubt as usize);
        }
    }
}
