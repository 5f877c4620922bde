//! The latencies as an HdrHistogram interval log, which HistogramLogAnalyzer, wrk2's tools and others read.
//!
//! Three histograms an interval, tagged; empty ones are left out. Values are microseconds.

use std::io::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use super::Report;

/// See [`Report::hdr_log`].
pub fn write(report: &Report, mut to: impl Write) -> std::io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let since = u64::try_from(report.run.started.as_millisecond()).unwrap_or_default();
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(since);
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!("liaison {}; microseconds, by when a message was due", report.run.version))
        .with_start_time(start)
        .with_base_time(start)
        // The maximum in clear is in milliseconds, as such logs have it.
        .with_max_value_divisor(1_000.0)
        .begin_log_with(&mut to, &mut serializer)?;
    let length = Duration::from_secs(report.series.length());
    for interval in report.series.intervals() {
        let at = Duration::from_secs(interval.at);
        let spreads = interval.spreads;
        for (name, spread) in
            [("puback", &spreads.puback), ("receipt", &spreads.receipt), ("delivery", &spreads.delivery)]
        {
            let counted = spread.counted();
            if counted.count() > 0 {
                log.write_histogram(counted.as_ref(), at, length, Tag::new(name)).map_err(
                    |error| match error {
                        IntervalLogWriterError::IoError(error) => error,
                        IntervalLogWriterError::SerializeError(error) => std::io::Error::other(error),
                    },
                )?;
            }
        }
    }
    to.flush()
}
