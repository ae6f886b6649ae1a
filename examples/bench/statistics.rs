//! Percentiles and medians.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::client::Sample;

/// What became of the requests of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
    /// How many answers had which status.
    pub(crate) statuses: BTreeMap<u16, usize>,
}

impl Latencies {
    /// Of these samples.
    pub(crate) fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut latencies = Self::default();
        for sample in samples {
            latencies.sorted.push(sample.latency);
            *latencies.statuses.entry(sample.status).or_default() += 1;
        }
        latencies.sorted.sort_unstable();
        latencies
    }

    /// The latency, in milliseconds, that this part (0 to 1) of the requests didn't exceed.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index that is at most the length"
        )]
        let index = (self.sorted.len() as f64 * part).ceil() as usize;
        self.sorted.get(index.max(1) - 1).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1_000.0)
    }
}

/// The samples by when they were due, in slices of `width` from `start`.
pub(crate) fn slices(samples: &[Sample], start: Instant, width: Duration) -> Vec<Latencies> {
    let mut slices: Vec<Vec<&Sample>> = Vec::new();
    for sample in samples {
        let index = sample.due.saturating_duration_since(start).as_nanos() / width.as_nanos();
        let index = usize::try_from(index).unwrap_or(usize::MAX).min(10_000);
        if slices.len() <= index {
            slices.resize(index + 1, Vec::new());
        }
        slices[index].push(sample);
    }
    slices.into_iter().map(Latencies::of).collect()
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// How many a second.
pub(crate) fn rate(count: usize, elapsed: Duration) -> f64 {
    number(count) / elapsed.as_secs_f64()
}

/// A count as a figure to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}
