import { describe, expect, it } from '@jest/globals';
import { KeptUpload } from '../../src/exchange/kept-upload.js';

const bytes = (length: number): Buffer => Buffer.alloc(length, 'x');

describe('KeptUpload', () => {
  it('keeps chunks in their order, as they are', () => {
    const upload = new KeptUpload(10);
    expect(upload.chunks).toEqual([]);
    const [first, second] = [Buffer.from('one'), Buffer.from('two')];
    upload.keep(first);
    upload.keep(second);
    expect(upload.chunks).toEqual([first, second]);
    expect(upload.ended).toBe(false);
  });

  it('keeps as much as its limit, and nothing once that is passed', () => {
    const upload = new KeptUpload(10);
    upload.keep(bytes(4));
    upload.keep(bytes(6));
    expect(upload.chunks).toHaveLength(2);
    upload.keep(bytes(1));
    expect(upload.chunks).toBeUndefined();
    upload.keep(bytes(1));
    expect(upload.chunks).toBeUndefined();
  });

  it('keeps no body at all with a limit of 0, except an empty one', () => {
    const upload = new KeptUpload(0);
    expect(upload.chunks).toEqual([]);
    upload.keep(bytes(1));
    expect(upload.chunks).toBeUndefined();
  });
});
