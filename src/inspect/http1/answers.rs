//! Which response answers which request (RFC 9112 §9.3.2: in order).

use std::collections::VecDeque;

use super::Upgrade;
use super::credentials::Firsts;
use super::head::Method;
use crate::inspect::Facts;

/// Requests whose answers may lag behind: what clients pipeline, many times over. Beyond it, one side is
/// not captured.
const UNANSWERED_MAX: usize = 256;

/// What is remembered of a request until its answer.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Number of the request.
    pub(super) number: u32,
    /// Its method, as far as it matters.
    pub(super) method: Method,
    /// What it asked to go on with.
    pub(super) upgrade: Upgrade,
    /// It waits for permission to send its body.
    pub(super) expects: bool,
    /// The evidence whose first request it is.
    pub(super) firsts: Firsts,
}

/// The requests without an answer.
#[derive(Default)]
pub(super) struct Answers {
    waiting: VecDeque<Asked>,
    asked: u32,
    /// The last one that was answered, and how.
    last: Option<(u32, u16)>,
    /// Answers that were captured before their requests.
    early: VecDeque<u16>,
    /// Answers may be for requests before the capture.
    midway: bool,
    /// Answers cannot be told apart any more.
    lost: bool,
}

impl Answers {
    /// Returns the memory of what is waited for, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Asked>() + self.early.capacity() * size_of::<u16>()
    }

    /// Tells that requests before the capture may be without an answer.
    pub(super) fn begin_midway(&mut self) {
        self.midway = true;
    }

    /// Notes a request. Returns it with its answer where that was captured before it.
    pub(super) fn ask(
        &mut self,
        method: Method,
        upgrade: Upgrade,
        expects: bool,
        firsts: Firsts,
        facts: &mut Facts,
    ) -> Option<(Asked, u16)> {
        self.asked = self.asked.wrapping_add(1);
        let asked = Asked { number: self.asked, method, upgrade, expects, firsts };
        if let Some(status) = self.early.pop_front() {
            self.last = Some((asked.number, status));
            firsts.answered(status, facts);
            return Some((asked, status));
        }
        if self.waiting.len() >= UNANSWERED_MAX {
            self.lose();
        }
        if !self.lost {
            self.waiting.push_back(asked);
        }
        None
    }

    /// Adds evidence that was found in a request's body, maybe after its answer.
    pub(super) fn add(&mut self, number: u32, firsts: Firsts, facts: &mut Facts) {
        if firsts.is_empty() {
            return;
        }
        if let Some(asked) = self.waiting.iter_mut().rev().find(|asked| asked.number == number) {
            asked.firsts.join(firsts);
        } else if let Some((_, status)) = self.last.filter(|(last, _)| *last == number) {
            firsts.answered(status, facts);
        }
    }

    /// Takes a final answer; returns the request it answers, where that is known.
    pub(super) fn answer(&mut self, status: u16, facts: &mut Facts) -> Option<Asked> {
        let Some(asked) = self.waiting.pop_front() else {
            self.answer_early(status);
            return None;
        };
        self.last = Some((asked.number, status));
        asked.firsts.answered(status, facts);
        Some(asked)
    }

    /// Keeps an answer for its request: mirrors may swap the two.
    fn answer_early(&mut self, status: u16) {
        if self.early.len() >= UNANSWERED_MAX {
            self.lose();
        }
        if !self.lost && !self.midway {
            self.early.push_back(status);
        }
    }

    /// Tells whether the last answer waits for its request.
    pub(super) fn is_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Returns the request that the next answer is for.
    pub(super) fn next(&self) -> Option<&Asked> {
        self.waiting.front()
    }

    /// Returns the last request's number.
    pub(super) fn last_number(&self) -> u32 {
        self.asked
    }

    /// Tells whether a request is the last one.
    pub(super) fn is_last(&self, number: u32) -> bool {
        self.asked == number
    }

    /// Gives up: one side has a hole, or is not there.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.waiting = VecDeque::new();
        self.early = VecDeque::new();
    }
}
