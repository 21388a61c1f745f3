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
  // undici remembers a session only weakly, and so until the next garbage collection.
  const latest: { session?: Buffer } = {};
  const keep = (session: Buffer): void => {
    latest.session = session;
  };
  return (target, done) => {
    // The name to verify is the upstream's, never one that a request's Host could choose; and SNI
    // cannot carry addresses (RFC 6066, 3).
    const { servername: _, ...rest } = target;
    const told = upstream.protocol === 'https:' ? keeping(keep, done) : done;
    connect(
      servername === '' || isIP(servername) ? rest : { ...rest, servername },
      settings.addresses === undefined ? told : unlessStrayed(settings.addresses, told),
    );
  };
}

/** Has the TLS sessions of a connection kept, so that the next one can resume the latest of them. */
function keeping(
  keep: (session: Buffer) => void,
  done: buildConnector.Callback,
): buildConnector.Callback {
  return (...result) => {
    result[1]?.on('session', keep);
    done(...result);
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
