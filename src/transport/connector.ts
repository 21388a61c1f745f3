import type { LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import { buildConnector } from 'undici';
import type { ConnectionSettings } from '../connection-settings.js';
import type { Upstream } from '../upstreams/upstream.js';
import { lookupIn, strayed } from './pinned-lookup.js';

/** Opens sockets to an upstream, TLS handshake included, within `connectTimeoutMs`. */
export function connector(
  upstream: Upstream,
  settings: ConnectionSettings,
  offersHttp2: boolean,
): buildConnector.connector {
  const connect = buildConnector({
    ...settings.tls,
    timeout: settings.connectTimeoutMs,
    allowH2: offersHttp2,
    ...(settings.addresses && { lookup: lookupIn(settings.addresses) }),
    ...(upstream.socketPath === undefined ? {} : { socketPath: upstream.socketPath }),
  } as buildConnector.BuildOptions);
  const servername = settings.tls?.servername ?? upstream.servername;
  return (target, done) => {
    // The name to verify is the upstream's, never one that a request's Host could choose; and SNI
    // cannot carry addresses (RFC 6066, 3).
    const { servername: _, ...rest } = target;
    connect(
      servername === '' || isIP(servername) ? rest : { ...rest, servername },
      settings.addresses === undefined ? done : unlessStrayed(settings.addresses, done),
    );
  };
}

function unlessStrayed(
  addresses: readonly LookupAddress[],
  done: buildConnector.Callback,
): buildConnector.Callback {
  return (...result) => {
    const [error, socket] = result;
    const refusal = error === null ? strayed(socket, addresses) : undefined;
    if (refusal === undefined) return done(...result);
    socket?.destroy();
    done(refusal, null);
  };
}
