//! Percentiles, medians and rates.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::client::Sample;

/// The latencies and statuses of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
    /// The number of responses by status.
    pub(crate) statuses: BTreeMap<u16, usize>,
}

impl Latencies {
    pub(crate) fn from_samples<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut latencies = Self::default();
        for sample in samples {
            latencies.sorted.push(sample.latency);
            *latencies.statuses.entry(sample.status).or_default() += 1;
        }
        latencies.sorted.sort_unstable();
        latencies
    }

    /// The latency that this fraction (0 to 1) of the requests didn't exceed, in milliseconds.
    pub(crate) fn percentile(&self, fraction: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index that is at most the length"
        )]
        let index = (self.sorted.len() as f64 * fraction).ceil() as usize;
        self.sorted.get(index.max(1) - 1).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1_000.0)
    }
}

/// Groups samples by due time, in slices of `width` from `start` on.
pub(crate) fn slices(samples: &[Sample], start: Instant, width: Duration) -> Vec<Latencies> {
    let mut slices: Vec<Vec<&Sample>> = Vec::new();
    for sample in samples {
        let index = sample.due_at.saturating_duration_since(start).as_nanos() / width.as_nanos();
        let index = usize::try_from(index).unwrap_or(usize::MAX).min(10_000);
        if slices.len() <= index {
            slices.resize(index + 1, Vec::new());
        }
        slices[index].push(sample);
    }
    slices.into_iter().map(Latencies::from_samples).collect()
}

/// The median; NaN without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// A count per second.
pub(crate) fn rate(count: usize, elapsed: Duration) -> f64 {
    to_f64(count) / elapsed.as_secs_f64()
}

/// A count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub(crate) fn to_f64(count: usize) -> f64 {
    count as f64
}
