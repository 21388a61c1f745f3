import type { ServerResponse } from 'node:http';

type WriteHead = ServerResponse['writeHead'];

/**
 * Makes what has `before` run when the head of an answer is about to be written: error handlers clear the
 * fields that are set any earlier. One function for all answers: V8 takes a lot more memory and time for
 * objects that each have their own.
 */
export function headHook(before: (res: ServerResponse) => void): (res: ServerResponse) => void {
  const shared = function writeHeadHooked(this: ServerResponse, ...args: unknown[]) {
    before(this);
    const { writeHead } = Object.getPrototypeOf(this) as ServerResponse;
    return Reflect.apply(writeHead, this, args);
  } as WriteHead;
  return (res) => {
    res.writeHead = Object.hasOwn(res, 'writeHead') ? hookedInto(res.writeHead, before) : shared;
  };
}

/** The same where other middleware has put itself in the way before us, and is to be called. */
function hookedInto(writeHead: WriteHead, before: (res: ServerResponse) => void): WriteHead {
  return function writeHeadHooked(this: ServerResponse, ...args: unknown[]) {
    before(this);
    return Reflect.apply(writeHead, this, args);
  } as WriteHead;
}
