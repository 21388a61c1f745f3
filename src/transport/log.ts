import createDebug from 'debug';
import { redactor, SECRET_PARAMETERS } from '../exchange/redact.js';

/** `DEBUG=headrace` shows where each request goes and what becomes of it. */
export const log = createDebug('headrace');

/** A path as it may stand in a log. */
export const masked = redactor('log', SECRET_PARAMETERS);
