import assert from 'node:assert/strict';
import { it } from 'node:test';
import { picture } from '../lib/picture.mjs';

it('draws the most frugal first, and escapes what it is told', () => {
  const svg = picture({
    benchCase: { title: 'a < b & "c"', unit: 'request' },
    samples: { slow: samplesOf([90, 100, 110]), headrace: samplesOf([45, 50, 55]) },
  });
  assert.match(
    svg,
    /aria-label="CPU µs per request, less is better\. headrace 50\.0, slow 100\.0"/,
  );
  assert.match(svg, />a &lt; b &amp; &quot;c&quot;</);
  const widths = [...svg.matchAll(/<rect class="\w+" x="\d+" y="\d+" width="([\d.]+)"/g)];
  assert.equal((widths[1][1] / widths[0][1]).toFixed(2), '2.00');
});

function samplesOf(numbers) {
  return numbers.map((cpuMicros) => ({ cpuMicros, badStatus: 0, socketErrors: 0 }));
}
