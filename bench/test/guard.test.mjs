import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { guardVerdict } from '../lib/guard.mjs';

const rules = {
  margin: 0.08,
  twins: ['floor', 'floor-again'],
  limits: [
    { case: 'small', ours: 'headrace', than: 'floor', atLeast: 0.92 },
    { case: 'small', ours: 'headrace', than: 'best-peer', atLeast: 0.8 },
  ],
};

describe('the guard', () => {
  it('passes when headrace keeps to its limits', () => {
    assert.equal(verdict({}).exitCode, 0);
  });

  it('passes what is under a limit by less than the margin', () => {
    assert.equal(verdict({ headrace: [87, 88, 89] }).exitCode, 0);
  });

  it('fails with 1 and a sentence past the margin', () => {
    const { exitCode, lines } = verdict({ headrace: [70, 71, 72] });
    assert.equal(exitCode, 1);
    assert.equal(
      lines[0],
      'small: headrace / floor is 0.71: less than 0.92 less the margin of 8 %',
    );
  });

  it('says that it cannot tell, with 75, when the floor strays from itself', () => {
    const { exitCode, lines } = verdict({ headrace: [70, 71, 72], again: [80, 100, 125] });
    assert.equal(exitCode, 75);
    assert.match(lines[0], /too noisy to tell, the floor strays from itself by 13 %$/);
  });

  it('fails when an answer was wrong', () => {
    const { exitCode, lines } = verdict({ badStatus: 1 });
    assert.equal(exitCode, 1);
    assert.match(lines[0], /had errors$/);
  });
});

function verdict({ headrace = [96, 97, 98], again = [99, 100, 101], badStatus = 0 }) {
  const samples = {
    floor: samplesOf([100, 100, 100]),
    'floor-again': samplesOf(again),
    peer: samplesOf([90, 90, 90]),
    headrace: samplesOf(headrace, badStatus),
  };
  const runs = [{ benchCase: { name: 'small' }, samples }];
  return guardVerdict({ runs, contestants: [{ name: 'peer', kind: 'peer' }], major: 24 }, rules);
}

function samplesOf(numbers, badStatus = 0) {
  return numbers.map((perCpuSecond) => ({ perCpuSecond, badStatus, socketErrors: 0 }));
}
