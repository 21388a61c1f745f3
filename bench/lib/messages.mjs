import { once } from 'node:events';

/** The next thing a child says. Rejects when it ends first, or says nothing for so many milliseconds. */
export async function nextMessage(child, ms) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error(`no word in ${ms} ms`)), ms);
  const exited = once(child, 'exit', { signal: abort.signal }).then(([code, signal]) => {
    throw new Error(`exited with ${code ?? signal}`);
  });
  const told = once(child, 'message', { signal: abort.signal }).then(([message]) => message);
  try {
    return await Promise.race([told, exited]);
  } catch (error) {
    throw error.name === 'AbortError' ? error.cause : error;
  } finally {
    clearTimeout(timer);
    abort.abort();
    await Promise.allSettled([told, exited]);
  }
}

/** The end of what a stream says, as a function that returns it. */
export function tail(stream) {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk) => {
    text = (text + chunk).slice(-2000);
  });
  return () => text;
}
