//! The source against made-up interfaces: what goes in comes out or is counted, whatever happens.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard};

use super::tap::{LinkState, Take};
use super::*;
use crate::packet::LinkType;

/// What happens at an interface, one step a read.
#[derive(Clone, Copy)]
enum Step {
    /// So many frames are there, a nanosecond apart.
    Frames(u32),
    /// Nothing is there.
    Idle,
    /// The kernel had no room for so many frames.
    Drop(u32),
    /// The interface goes away.
    Lose,
}

#[derive(Default)]
struct Script {
    steps: Mutex<Vec<Step>>,
    time: AtomicU64,
    opened: AtomicU64,
}

impl Script {
    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().unwrap()
    }
}

struct FakeOpener(Arc<Script>);

struct FakeTap {
    script: Arc<Script>,
    dropped: u32,
    pending: u32,
}

impl Opener for FakeOpener {
    fn open(&mut self) -> Result<Box<dyn Tap>> {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FakeTap { script: Arc::clone(&self.0), dropped: 0, pending: 0 }))
    }

    fn state(&mut self) -> LinkState {
        LinkState::Up
    }
}

impl Tap for FakeTap {
    fn wait(&mut self, _timeout: Duration) {
        std::thread::yield_now();
    }

    fn read(&mut self, limit: usize, take: &mut Take<'_>) -> std::result::Result<usize, String> {
        if self.pending == 0 {
            let step = {
                let mut steps = self.script.steps();
                if steps.is_empty() { Step::Idle } else { steps.remove(0) }
            };
            match step {
                Step::Frames(count) => self.pending = count,
                Step::Idle => {}
                Step::Drop(count) => self.dropped = self.dropped.wrapping_add(count),
                Step::Lose => return Err("The interface disappeared".to_owned()),
            }
        }
        let count = self.pending.min(u32::try_from(limit).unwrap());
        self.pending -= count;
        for _ in 0..count {
            let time = self.script.time.fetch_add(1, Ordering::Relaxed);
            take(Timestamp(i64::try_from(time).unwrap()), 60, &[0; 60]);
        }
        Ok(usize::try_from(count).unwrap())
    }

    fn dropped(&mut self) -> Option<u32> {
        Some(self.dropped)
    }

    fn link(&self) -> LinkType {
        LinkType::ETHERNET
    }
}

fn live(scripts: &[(&str, Arc<Script>)], queue_len: usize) -> Live {
    let mut options = Options::new(Vec::new());
    options.queue_len = queue_len;
    let openers = scripts.iter().map(|(name, script)| {
        let opener: Box<dyn Opener> = Box::new(FakeOpener(Arc::clone(script)));
        ((*name).to_owned(), opener)
    });
    Live::with(openers.collect(), &options).unwrap()
}

fn script(steps: &[Step]) -> Arc<Script> {
    let script = Script::default();
    script.steps().extend_from_slice(steps);
    Arc::new(script)
}

/// Reads to the end; stops the capture when all steps are done and it fell silent. `each` is called
/// after each event.
fn read(live: &mut Live, scripts: &[&Script], mut each: impl FnMut()) -> (u64, Vec<String>) {
    let (mut frames, mut notices) = (0, Vec::new());
    let mut block = Block::default();
    loop {
        match live.next(&mut block).unwrap() {
            Event::Frames => frames += block.frames.len() as u64,
            Event::Notice(notice) => notices.push(notice.to_string()),
            Event::Tick(_) => {
                if scripts.iter().all(|script| script.steps().is_empty()) {
                    live.stop.store(true, Ordering::Relaxed);
                }
            }
            Event::End => return (frames, notices),
            Event::Broken(_) => panic!("interfaces have none"),
        }
        each();
    }
}

#[test]
fn every_frame_of_an_interface_comes_out_once() {
    let script = script(&[Step::Frames(3), Step::Idle, Step::Frames(100_000), Step::Frames(7)]);
    let mut live = live(&[("eth0", Arc::clone(&script))], QUEUE_LEN);
    let (frames, notices) = read(&mut live, &[&script], || {});
    assert_eq!((frames, notices.len()), (100_010, 0));
    assert_eq!(live.dropped(PointId(0)).queue, 0);
    let inputs = live.inputs();
    assert_eq!((inputs[0].name.as_str(), inputs[0].frames), ("eth0", 100_010));
    assert_eq!(inputs[0].span, Some((Timestamp(0), Timestamp(100_009))));
}

#[test]
fn a_full_queue_loses_frames_only_when_they_are_counted() {
    let script = script(&[Step::Frames(300_000)]);
    let mut live = live(&[("eth0", Arc::clone(&script))], 1);
    let (frames, _) = read(&mut live, &[&script], || {
        // A slow worker.
        std::thread::sleep(Duration::from_millis(5));
    });
    let lost = live.dropped(PointId(0)).queue;
    assert!(lost > 0, "the queue was never full");
    assert_eq!(frames + lost, 300_000);
}

#[test]
fn losses_of_the_kernel_are_counted_across_a_wrap() {
    let before = u32::MAX - 5;
    let script = script(&[Step::Drop(before), Step::Idle]);
    let mut live = live(&[("eth0", Arc::clone(&script))], QUEUE_LEN);
    let begun = Instant::now();
    while live.dropped(PointId(0)).kernel == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the counter is never read");
        live.next(&mut Block::default()).unwrap();
    }
    script.steps().push(Step::Drop(13));
    read(&mut live, &[&script], || {});
    assert_eq!(live.dropped(PointId(0)).kernel, u64::from(before) + 13);
}

#[test]
fn an_interface_that_goes_away_is_told_and_taken_up_again() {
    let script = script(&[Step::Frames(5), Step::Lose, Step::Frames(6)]);
    let mut live = live(&[("eth0", Arc::clone(&script))], QUEUE_LEN);
    let (frames, notices) = read(&mut live, &[&script], || {});
    assert_eq!(frames, 11);
    assert_eq!(
        notices,
        ["eth0: went away; its frames are missed until it returns", "eth0: is back"]
    );
    assert_eq!(script.opened.load(Ordering::Relaxed), 2);
    assert!(live.inputs()[0].broken.as_ref().is_some_and(|broken| broken.contains('1')));
}

#[test]
fn several_interfaces_give_all_their_frames() {
    let scripts = [script(&[Step::Frames(40_000)]), script(&[Step::Idle, Step::Frames(3)])];
    let named = [("eth0", Arc::clone(&scripts[0])), ("eth1", Arc::clone(&scripts[1]))];
    let mut live = live(&named, QUEUE_LEN);
    let (frames, _) = read(&mut live, &[&scripts[0], &scripts[1]], || {});
    assert_eq!(frames, 40_003);
    assert_eq!(live.inputs().iter().map(|input| input.frames).collect::<Vec<_>>(), [40_000, 3]);
}

#[test]
fn a_source_that_is_dropped_midway_ends_its_threads() {
    let script = script(&[Step::Frames(10_000_000)]);
    let mut live = live(&[("eth0", Arc::clone(&script))], 1);
    live.next(&mut Block::default()).unwrap();
    let stop = Arc::clone(&live.stop);
    drop(live);
    assert!(stop.load(Ordering::Relaxed));
    assert_eq!(Arc::strong_count(&script), 1, "a thread still holds it");
}

#[test]
fn an_interface_named_twice_is_an_error() {
    let options = Options::new(vec!["lo".to_owned(), "lo".to_owned()]);
    let error = Live::open(&options).err().unwrap();
    assert_eq!(error.to_string(), "lo: is named twice");
}

#[test]
fn an_unknown_interface_is_an_error_with_a_hint() {
    let error = Live::open(&Options::new(vec!["lp".to_owned()])).err().unwrap();
    assert_eq!(error.to_string(), "lp: no such interface");
    assert_eq!(error.hint_text(), Some("did you mean lo?"));
}
