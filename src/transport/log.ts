import createDebug from 'debug';

/** `DEBUG=headrace` shows where each request goes and what becomes of it. */
export const log = createDebug('headrace');
