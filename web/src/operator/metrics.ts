// The figures of the instance that answers, from Prometheus' text format.

export type Samples = Map<string, { labels: Record<string, string>; value: number }[]>;

export function parseMetrics(text: string): Samples {
  const samples: Samples = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const [, name = "", list = "", value = ""] = match;
    const labels: Record<string, string> = {};
    for (const [, key = "", label = ""] of list.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = label;
    const of = samples.get(name) ?? [];
    of.push({ labels, value: Number(value) });
    samples.set(name, of);
  }
  return samples;
}

/** The sum of a metric's series, or of those that a label selects. */
export function total(samples: Samples, name: string, where: (labels: Record<string, string>) => boolean = () => true): number {
  return (samples.get(name) ?? []).filter((it) => where(it.labels)).reduce((sum, it) => sum + it.value, 0);
}

/** The sums of a metric by one of its labels. */
export function byLabel(samples: Samples, name: string, label: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { labels, value } of samples.get(name) ?? []) {
    const key = labels[label] ?? "";
    sums.set(key, (sums.get(key) ?? 0) + value);
  }
  return sums;
}

/** Readings over time; rates are differences between the last one and the one closest to `seconds` before. */
export class History {
  private readings: { at: number; samples: Samples }[] = [];

  add(samples: Samples): void {
    const at = performance.now();
    this.readings = [...this.readings.filter((it) => at - it.at < 70_000), { at, samples }];
  }

  get last(): Samples | null {
    return this.readings.at(-1)?.samples ?? null;
  }

  /** The growth of a counter per second, over up to `seconds`. */
  rate(seconds: number, read: (samples: Samples) => number): number {
    const growth = this.growth(seconds, read);
    return growth ? growth.by / growth.seconds : 0;
  }

  growth(seconds: number, read: (samples: Samples) => number): { by: number; seconds: number } | null {
    const last = this.readings.at(-1);
    const first = this.readings.find((it) => last && last.at - it.at <= seconds * 1000);
    if (!last || !first || first === last) return null;
    // A counter that fell is another instance's, or one of a new start.
    const by = read(last.samples) - read(first.samples);
    return by < 0 ? null : { by, seconds: (last.at - first.at) / 1000 };
  }
}
