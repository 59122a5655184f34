//! Lines of NDJSON, made by two threads and written in order.

use std::io;
use std::sync::mpsc::{channel, sync_channel};

use crate::error::Result;
use crate::pipeline::outputs::Outputs;

/// Flows whose lines are handed over at once: some 300 KB.
pub(super) const CHUNK_LEN: usize = 256;

/// Chunks of lines that may wait to be written.
const CHUNKS_MAX: usize = 2;

/// Tells whether so many flows are worth a second thread.
pub(super) fn are_many(flows: usize) -> bool {
    flows >= 16 * CHUNK_LEN
}

/// Makes the lines of every other chunk here and those between in a second thread, and writes them in order.
/// `make` writes the lines of a chunk into an empty buffer.
pub(super) fn write<C: Send, I: Iterator<Item = C> + Send>(
    chunks: impl Fn() -> I,
    make: &(impl Fn(&C, &mut Vec<u8>) -> io::Result<()> + Sync),
    outputs: &mut Outputs,
) -> Result<()> {
    let (to, from) = sync_channel(CHUNKS_MAX);
    // Buffers that come back, to be filled again.
    let (back_to, back) = channel::<Vec<u8>>();
    let theirs = chunks().skip(1).step_by(2);
    std::thread::scope(|scope| {
        // Gone with this closure, so that the other thread does not wait for ever.
        let from = from;
        scope.spawn(move || {
            for chunk in theirs {
                let mut lines = back.try_recv().unwrap_or_default();
                lines.clear();
                let made = make(&chunk, &mut lines).map(|()| lines);
                // Whoever takes it ends before only when it cannot write any more.
                if to.send(made).is_err() {
                    break;
                }
            }
        });
        let mut own = Vec::new();
        for chunk in chunks().step_by(2) {
            own.clear();
            outputs.lines(make(&chunk, &mut own).map(|()| own.as_slice()))?;
            // The last chunk may have none behind it.
            let Ok(made) = from.recv() else { continue };
            outputs.lines(made.as_deref().map_err(|error| error.kind().into()))?;
            let _ = made.map(|lines| back_to.send(lines));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Record, Sink, Summary};
    use std::sync::{Arc, Mutex};

    /// Keeps what comes, and fails when it has so many bytes.
    struct Keeper(Arc<Mutex<Vec<u8>>>, usize);

    impl Sink for Keeper {
        fn record(&mut self, _record: Record<'_>) -> io::Result<()> {
            Ok(())
        }
        fn takes_lines(&self) -> bool {
            true
        }
        fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
            let mut kept = self.0.lock().unwrap();
            kept.extend_from_slice(lines);
            if kept.len() > self.1 { Err(io::Error::other("full")) } else { Ok(()) }
        }
        fn finish(&mut self, _summary: &Summary) -> io::Result<()> {
            Ok(())
        }
    }

    fn write_all(numbers: &[u32], room: usize) -> (Result<()>, String) {
        let kept = Arc::default();
        let mut outputs = Outputs::default();
        outputs.add("it", Box::new(Keeper(Arc::clone(&kept), room)));
        let make = |chunk: &&[u32], out: &mut Vec<u8>| {
            chunk.iter().for_each(|number| out.extend(format!("{number}\n").bytes()));
            Ok(())
        };
        let written = write(|| numbers.chunks(7), &make, &mut outputs);
        let kept = String::from_utf8(kept.lock().unwrap().clone()).unwrap();
        (written, kept)
    }

    #[test]
    fn lines_come_in_their_order_whoever_makes_them() {
        for len in [0, 1, 7, 8, 14, 15, 100, 1000] {
            let numbers: Vec<u32> = (0..len).collect();
            let (written, kept) = write_all(&numbers, usize::MAX);
            written.unwrap();
            assert!(kept.lines().map(|line| line.parse::<u32>().unwrap()).eq(numbers));
        }
    }

    #[test]
    fn what_cannot_be_written_ends_both_threads() {
        let numbers: Vec<u32> = (0..10_000).collect();
        let error = write_all(&numbers, 100).0.unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
    }
}
