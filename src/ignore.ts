/** Hears something of which nothing follows: an `error` that nobody hears would end the process. */
export function ignore(): void {}
