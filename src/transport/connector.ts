import type { LookupAddress } from 'node:dns';
import { isIP, type Socket } from 'node:net';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { isNativeError } from 'node:util/types';
import { buildConnector, errors } from 'undici';
import type { ConnectionSettings } from '../connection-settings.js';
import { Deadline } from '../deadline.js';
import { inspect } from '../options.js';
import type { Upstream } from '../upstreams/upstream.js';
import { lookupIn, strayed } from './pinned-lookup.js';

/** Begins to open a socket, and says when it is connected, or why not. */
type Open = (...args: Parameters<buildConnector.connector>) => Socket;

/** Opens sockets to an upstream, TLS handshake included, within `connectTimeoutMs`. */
export function connector(
  upstream: Upstream,
  settings: ConnectionSettings,
  offersHttp2: boolean,
): buildConnector.connector {
  // The types do not say that it returns its socket.
  const connect = buildConnector({
    ...settings.tls,
    ...verifying(settings.tls?.checkServerIdentity),
    timeout: 0,
    allowH2: offersHttp2,
    ...(settings.addresses && { lookup: lookupIn(settings.addresses) }),
    ...(upstream.socketPath === undefined ? {} : { socketPath: upstream.socketPath }),
  } as buildConnector.BuildOptions) as Open;
  const servername = settings.tls?.servername ?? upstream.servername;
  // undici remembers a session only weakly, and so until the next garbage collection.
  const latest: { session?: Buffer } = {};
  const keep = (session: Buffer): void => {
    latest.session = session;
  };
  return inTime(settings.connectTimeoutMs, (target, done) => {
    // The name to verify is the upstream's, never one that a request's Host could choose; and SNI
    // cannot carry addresses (RFC 6066, 3).
    const { servername: _, ...rest } = target;
    const told = upstream.protocol === 'https:' ? keeping(keep, done) : done;
    return connect(
      servername === '' || isIP(servername) ? rest : { ...rest, servername },
      settings.addresses === undefined ? told : unlessStrayed(settings.addresses, told),
    );
  });
}

/** A check of the user's own. What it throws, or gives by mistake, is an objection: Node would end the process, or not know it. */
function verifying(
  check: TlsOptions['checkServerIdentity'],
): Pick<TlsOptions, 'checkServerIdentity'> {
  if (check === undefined) return {};
  return {
    checkServerIdentity: (...args) => {
      try {
        const objection: unknown = check(...args);
        if (objection === undefined || isNativeError(objection)) return objection;
        throw new TypeError(
          `tls.checkServerIdentity() must return an error or undefined, received ${inspect(objection)}`,
        );
      } catch (error) {
        return isNativeError(error) ? error : new Error(inspect(error));
      }
    },
  };
}

/** Gives up what is not connected in time. undici can do so itself, but may be a second late. */
function inTime(ms: number, open: Open): buildConnector.connector {
  return (target, done) => {
    let deadline: Deadline | undefined;
    // It throws at TLS settings that cannot be.
    const socket = open(target, (...result) => {
      deadline?.end();
      done(...result);
    });
    deadline = new Deadline(ms, () => {
      socket.destroy(new errors.ConnectTimeoutError(`no connection within ${ms} ms`));
    });
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
