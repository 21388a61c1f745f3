import { inspect } from '../options.js';
import { warnOfThrown } from '../warnings.js';

/**
 * Asks a function of the user's. Where it throws, or says what is neither yes nor no (as a promise, which
 * would be a yes to everything), the usual rule takes its place: that is told once, since it would be so of every call.
 */
export function yesOrNo<T>(
  at: string,
  decide: (about: T) => unknown,
  usual: (about: T) => boolean,
): (about: T) => boolean {
  let warned = false;
  return (about) => {
    try {
      const answer = decide(about);
      if (typeof answer === 'boolean') return answer;
      throw new TypeError(`it must return true or false, received ${inspect(answer)}`);
    } catch (error) {
      if (!warned) warnOfThrown(`${at} has failed`, error);
      warned = true;
      return usual(about);
    }
  };
}
