import { inspect } from '../options.js';

/**
 * Stands behind the prototype of what holds fields, where an assignment to a name that is not there ends up.
 * `headers['x-proxy'] = 'magical'` is what other proxies want, and would set nothing here.
 */
const FIELDS_ARE_SET_BY_METHOD = new Proxy(Object.prototype, {
  set(_target, name) {
    const field = inspect(name);
    throw new TypeError(`headers[${field}] = … sets no field, use headers.set(${field}, …)`);
  },
});

/** Has assignments of fields to objects of this class throw, in place of nothing. */
export function setByMethod({ prototype }: { readonly prototype: object }): void {
  Object.setPrototypeOf(prototype, FIELDS_ARE_SET_BY_METHOD);
}
