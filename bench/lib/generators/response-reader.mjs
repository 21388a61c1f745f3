/** Finds the end of each answer on a connection that carries one at a time. */
export class ResponseReader {
  #text = '';

  /** The status, when `chunk` completes an answer. */
  push(chunk) {
    this.#text += chunk.latin1Slice();
    const end = this.#text.indexOf('\r\n\r\n');
    if (end === -1 || !this.#isWhole(end)) return undefined;
    const status = Number(this.#text.slice(9, 12));
    this.#text = '';
    return status;
  }

  #isWhole(end) {
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.#text.slice(0, end))?.[1];
    if (length === undefined) return this.#text.endsWith('\r\n0\r\n\r\n');
    return this.#text.length >= end + 4 + Number(length);
  }
}
