//! Flows as published.

use super::{Join, lines};
use crate::error::Result;
use crate::pipeline::outputs::Outputs;
use crate::report::ndjson;
use crate::report::record::Record;

impl Join<'_> {
    /// Writes every flow, by first frame.
    pub(super) fn write_flows(&self, outputs: &mut Outputs) -> Result<()> {
        if !outputs.want_flows() {
            return Ok(());
        }
        let (pen, tags, places) = (self.pen(), &self.tags, &self.places);
        if self.setting.threads && lines::are_many(places.len()) && outputs.take_lines() {
            let chunks =
                || places.chunks(lines::CHUNK_LEN).zip(self.tag_of.chunks(lines::CHUNK_LEN));
            return lines::write(
                chunks,
                &|(places, numbers), out| {
                    places.iter().zip(*numbers).try_for_each(|(place, number)| {
                        pen.flow(place, tags.tagged(*number), |flow| ndjson::write_flow(flow, out))
                    })
                },
                outputs,
            );
        }
        for (place, number) in places.iter().zip(&self.tag_of) {
            let tagged = tags.tagged(*number);
            pen.flow(place, tagged, |flow| outputs.record(Record::Flow(flow)))?;
        }
        Ok(())
    }
}
