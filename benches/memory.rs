//! What the memory costs, piece by piece: a commit with its sync, a query through zones, a scan: `cargo bench --bench memory`.
//!
//! At a size that fits a run of a minute; `--bench archive` does the same at millions, with start and disk.

#[path = "support/records.rs"]
mod records;

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use liaison::archive::{Archive, Draft};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records of the archive that is read.
const RECORDS: u64 = 50_000;

criterion_group!(benches, commit, query, scan);
criterion_main!(benches);

fn drafts(first: u64, count: u64) -> Vec<Draft> {
    (first..first + count).map(|n| records::draft(n, &records::words(n))).collect()
}

fn fill(directory: &Path) {
    let (mut archive, _) = Archive::open(directory, &records::root()).expect("opens");
    for first in (1..=RECORDS).step_by(256) {
        archive.commit(drafts(first, 256)).expect("commits");
    }
    archive.close().expect("closes");
}

/// Packing, hashing, appending, fdatasync, index; every 256 records a block goes to sled beside it.
fn commit(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temp folder");
    let (mut archive, _) = Archive::open(folder.path(), &records::root()).expect("opens");
    let mut group = criterion.benchmark_group("commit");
    for count in [1, 32, 256, 512] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_batched(
                || drafts(1, count),
                |drafts| archive.commit(drafts).expect("commits"),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
    archive.close().expect("closes");
}

/// One country in a 260th of the time, from the journal alone: what the zones leave out is not unpacked.
fn query(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temp folder");
    fill(folder.path());
    let archive = Archive::read_only(folder.path()).expect("opens");
    let stamp = |seq| archive.records(seq).next().expect("a record").expect("reads").archived_ms;
    let (first, last) = (stamp(1), stamp(archive.last()));
    let from = first + (last - first) / 2;
    let to = from + (last - first) / 260 + 1;
    criterion.bench_function("query/country and time", |bencher| {
        bencher.iter(|| {
            let hits = archive.records_between(1, from, to).filter(|record| {
                let summary = record.as_ref().ok().and_then(|record| record.summary.as_ref());
                summary.is_some_and(|summary| summary.country.as_deref() == Some("TN"))
            });
            black_box(hits.count())
        });
    });
}

/// Every record decoded, content too.
fn scan(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temp folder");
    fill(folder.path());
    let archive = Archive::read_only(folder.path()).expect("opens");
    let mut group = criterion.benchmark_group("scan");
    group.sample_size(10).throughput(Throughput::Elements(archive.last()));
    group.bench_function("all", |bencher| {
        bencher.iter(|| black_box(archive.records(1).filter(Result::is_ok).count()));
    });
}
