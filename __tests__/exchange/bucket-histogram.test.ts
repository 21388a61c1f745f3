import { describe, expect, it } from '@jest/globals';
import { BucketHistogram } from '../../src/exchange/bucket-histogram.js';

describe('BucketHistogram', () => {
  it('counts up to each bound, the bound included, and beyond the last', () => {
    const histogram = new BucketHistogram(Float64Array.of(0.005, 1));
    for (const ms of [5, 5.1, 1_000, 1_001]) histogram.record(ms);
    const samples: string[] = [];
    histogram.collect(
      (value, labels, suffix) => samples.push(`${suffix} ${JSON.stringify(labels)} ${value}`),
      { route: '/' },
    );
    expect(samples).toEqual([
      '_bucket {"route":"/","le":"0.005"} 1',
      '_bucket {"route":"/","le":"1.0"} 3',
      '_bucket {"route":"/","le":"+Inf"} 4',
      '_sum {"route":"/"} 2.0111',
      '_count {"route":"/"} 4',
    ]);
  });

  it('takes what is no duration for none', () => {
    const histogram = new BucketHistogram(Float64Array.of(1));
    for (const ms of [-5, Number.NaN]) histogram.record(ms);
    const values: number[] = [];
    histogram.collect((value) => values.push(value), {});
    expect(values).toEqual([2, 2, 0, 2]);
  });
});
