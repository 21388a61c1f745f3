/** Does it proxy at all? Every number rests on that, so each process is asked before it is measured. */
export async function checkProxy(contestant, proxyOrigin, upstreamOrigin, benchCase) {
  const asked = await ask(proxyOrigin, `/api${benchCase.path}`, benchCase.body);
  const expected = await ask(upstreamOrigin, benchCase.path, benchCase.body);
  if (asked.status !== 200 || !asked.body.equals(expected.body)) {
    fail(contestant, benchCase.path, asked);
  }
  if (contestant.kind === 'headrace' && asked.headers.get('x-proxy') !== 'magical') {
    throw new Error(`${contestant.name} does not set the header that its pipeline adds`);
  }

  if (benchCase.body === undefined) return;
  const echoed = await ask(proxyOrigin, '/api/echo', benchCase.body);
  if (echoed.body.toString() !== benchCase.body) fail(contestant, '/echo', echoed);
}

async function ask(origin, path, body) {
  const init =
    body === undefined
      ? {}
      : { method: 'POST', body, headers: { 'content-type': 'application/json' } };
  const response = await fetch(origin + path, { ...init, signal: AbortSignal.timeout(5000) });
  return {
    status: response.status,
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
  };
}

function fail(contestant, path, { status, body }) {
  throw new Error(
    `${contestant.name} answers ${path} with ${status} and ${body.length} wrong bytes`,
  );
}
