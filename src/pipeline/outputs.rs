//! Where a report goes: several sinks, each with a name for what goes wrong with it.

use std::io;

use crate::error::{Error, Result};
use crate::report::{Record, Sink, Summary};

/// One sink.
struct Output {
    name: String,
    sink: Box<dyn Sink>,
    /// Its reader has gone away, which is no fault of the run (`… | head`).
    closed: bool,
}

/// All sinks of a run.
#[derive(Default)]
pub struct Outputs(Vec<Output>);

impl Outputs {
    /// Adds a sink; `name` is what an error says of it.
    pub fn add(&mut self, name: impl Into<String>, sink: Box<dyn Sink>) {
        self.0.push(Output { name: name.into(), sink, closed: false });
    }

    /// Tells whether flows go anywhere.
    pub fn want_flows(&self) -> bool {
        self.0.iter().any(|output| !output.closed && output.sink.wants_flows())
    }

    /// Tells whether flows go nowhere but where their lines may be made elsewhere.
    pub fn take_lines(&self) -> bool {
        let mut wanting =
            self.0.iter().filter(|output| !output.closed && output.sink.wants_flows());
        wanting.all(|output| output.sink.takes_lines())
    }

    /// Tells whether everything goes nowhere but where its lines may be made elsewhere.
    pub fn take_nothing_else(&self) -> bool {
        self.0.iter().all(|output| output.closed || output.sink.takes_lines())
    }

    /// Hands lines of flows and alerts to every sink that wants flows, or says why there are none.
    pub fn lines(&mut self, lines: io::Result<&[u8]>) -> Result<()> {
        let lines = lines.map_err(|error| Error::new(format!("cannot make lines: {error}")))?;
        self.each(|sink| if sink.wants_flows() { sink.lines(lines) } else { Ok(()) })
    }

    /// Tells whether any reader has gone away.
    pub fn is_closed(&self) -> bool {
        self.0.iter().any(|output| output.closed)
    }

    /// Hands a record to every sink.
    pub fn record(&mut self, record: Record<'_>) -> Result<()> {
        self.each(|sink| sink.record(record))
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> Result<()> {
        self.each(|sink| sink.flush())
    }

    /// Hands the summary to every sink.
    pub fn finish(&mut self, summary: &Summary) -> Result<()> {
        self.each(|sink| sink.finish(summary))
    }

    fn each(&mut self, mut act: impl FnMut(&mut dyn Sink) -> io::Result<()>) -> Result<()> {
        for output in self.0.iter_mut().filter(|output| !output.closed) {
            match act(output.sink.as_mut()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => output.closed = true,
                Err(error) => {
                    return Err(Error::about(
                        output.name.clone(),
                        format!("cannot be written: {error}"),
                    ));
                }
            }
        }
        Ok(())
    }
}
