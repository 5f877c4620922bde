//! The series over time as CSV, one row an interval, none left out. Latencies are of what was due in it.

use std::io::Write;

use super::Report;

/// The header.
const HEADER: [&str; 12] = [
    "at_s",
    "length_s",
    "sent",
    "receipted",
    "delivered",
    "puback_p50_us",
    "puback_p99_us",
    "receipt_p50_us",
    "receipt_p99_us",
    "delivery_p50_us",
    "delivery_p99_us",
    "delivery_max_us",
];

/// See [`Report::csv`].
pub fn write(report: &Report, to: impl Write) -> std::io::Result<()> {
    let mut rows = csv::Writer::from_writer(to);
    rows.write_record(HEADER)?;
    let length = report.series.length();
    for interval in report.series.intervals() {
        let happened = interval.happened;
        let [puback, receipt, delivery] =
            [&interval.spreads.puback, &interval.spreads.receipt, &interval.spreads.delivery]
                .map(super::latency::Spread::counted);
        rows.serialize((
            (interval.at, length),
            (happened.sent, happened.receipted, happened.delivered),
            (puback.percentile(50.0), puback.percentile(99.0)),
            (receipt.percentile(50.0), receipt.percentile(99.0)),
            (delivery.percentile(50.0), delivery.percentile(99.0), delivery.longest()),
        ))?;
    }
    rows.flush()
}
