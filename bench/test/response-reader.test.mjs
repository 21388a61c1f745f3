import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ResponseReader } from '../lib/generators/response-reader.mjs';

describe('the reader of answers', () => {
  it('finds the end by Content-Length, wherever the answer is cut', () => {
    const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
    for (let cut = 1; cut < answer.length; cut++) {
      const statuses = push([answer.slice(0, cut), answer.slice(cut)]);
      assert.deepEqual(statuses, [undefined, 200]);
    }
  });

  it('finds the end of a chunked body', () => {
    const head = 'HTTP/1.1 502 Bad Gateway\r\ntransfer-encoding: chunked\r\n\r\n';
    assert.deepEqual(push([head, '2\r\nhi\r\n', '0\r\n\r\n']), [undefined, undefined, 502]);
  });

  it('begins anew with the next answer', () => {
    const empty = (line) => `HTTP/1.1 ${line}\r\nContent-Length: 0\r\n\r\n`;
    assert.deepEqual(push([empty('200 OK'), empty('404 Not Found')]), [200, 404]);
  });
});

function push(chunks) {
  const reader = new ResponseReader();
  return chunks.map((chunk) => reader.push(Buffer.from(chunk)));
}
