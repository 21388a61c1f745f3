import { jest } from '@jest/globals';

/** What is spied on: from Node 21 on, memory can be given back. */
const memory = ArrayBuffer.prototype as { transfer?(length: number): ArrayBuffer };

/** Whether this Node can give memory back. */
export const canGiveBack = memory.transfer !== undefined;

/** Counts how often memory is given back until mocks are restored, and how much of it. */
export function givenBack(): { times: number; bytes: number } {
  const count = { times: 0, bytes: 0 };
  const { transfer } = memory;
  if (transfer === undefined) return count;
  const spy = jest.spyOn(memory as Required<typeof memory>, 'transfer');
  spy.mockImplementation(function (this: ArrayBuffer, length) {
    count.times += 1;
    count.bytes += this.byteLength;
    return transfer.call(this, length);
  });
  return count;
}
