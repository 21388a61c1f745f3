import { ForbiddenError } from '../exchange/errors.js';

/** Why a client may not pass: for logs alone. */
export type RefusalReason =
  /** Its address is denied, or not allowed. */
  | 'ADDRESS'
  /** A rule denies it, or the policy's function does. */
  | 'DENIED'
  /** No rule allows it. */
  | 'NOT_ALLOWED'
  /** Its path can be read in several ways, and not all of them are allowed. */
  | 'AMBIGUOUS_PATH'
  /** It was allowed, and has become another request since, which is not. */
  | 'CHANGED';

/** A {@link ForbiddenError} whose cause has the reason, as `code`, and says it in words. */
export function forbidden(code: RefusalReason, message: string): ForbiddenError {
  return new ForbiddenError({ cause: Object.assign(new Error(message), { code }) });
}
