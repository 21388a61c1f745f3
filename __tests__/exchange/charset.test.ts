import { describe, expect, it } from '@jest/globals';
import { asUtf8, charsetOf, decodeText, isJson } from '../../src/exchange/charset.js';

describe('charsetOf', () => {
  it.each([
    [undefined, undefined],
    ['text/plain', undefined],
    ['text/plain; charset=UTF-8', 'utf-8'],
    ['text/plain;charset="ISO-8859-1"', 'iso-8859-1'],
    ['text/plain; format=flowed; Charset = latin1; x=y', 'latin1'],
    ['text/plain; xcharset=latin1', undefined],
  ])('of %p is %p', (type, charset) => {
    expect(charsetOf(type)).toBe(charset);
  });
});

describe('asUtf8', () => {
  it.each([
    ['text/html; charset=latin1', 'text/html; charset=utf-8'],
    ['text/html;charset="latin1"; x=y', 'text/html; charset=utf-8; x=y'],
    ['text/html', 'text/html'],
  ])('makes %p into %p', (type, utf8) => {
    expect(asUtf8(type)).toBe(utf8);
  });
});

describe('decodeText', () => {
  const latin1 = Buffer.from('caf\xe9', 'latin1');

  it('takes the charset that the type names', () => {
    expect(decodeText(latin1, 'text/plain; charset=iso-8859-1')).toBe('café');
    expect(decodeText(Buffer.from('日本', 'utf16le'), 'text/plain; charset=utf-16le')).toBe('日本');
    expect(decodeText(Buffer.from([0x93, 0xfa]), 'text/plain; charset=Shift_JIS')).toBe('日');
  });

  it('reads windows-1252 as such, in latin-1 too, as the Encoding Standard has it', () => {
    const quoted = Buffer.from([0x93, 0x61, 0x94, 0x80]);
    expect(decodeText(quoted, 'text/plain; charset=windows-1252')).toBe('“a”€');
    expect(decodeText(quoted, 'text/plain; charset=iso-8859-1')).toBe('“a”€');
  });

  it('leaves byte order marks out', () => {
    const marked = Buffer.from('\ufeffcafé');
    expect(decodeText(marked, 'application/json')).toBe('café');
    expect(decodeText(marked, 'text/plain; charset=klingon')).toBe('café');
    const utf16 = Buffer.from('\ufeffcafé', 'utf16le');
    expect(decodeText(utf16, 'text/plain; charset=utf-16le')).toBe('café');
    expect(decodeText(Buffer.from('a\ufeff'), undefined)).toBe('a\ufeff');
  });

  it('is UTF-8 where the type names none or one that nobody knows', () => {
    const utf8 = Buffer.from('café');
    expect(decodeText(utf8, undefined)).toBe('café');
    expect(decodeText(utf8, 'text/plain; charset=utf8')).toBe('café');
    expect(decodeText(utf8, 'text/plain; charset=klingon')).toBe('café');
  });
});

describe('isJson', () => {
  it.each(['application/json', 'Application/JSON; charset=utf-8', 'text/json', 'a/problem+json'])(
    'says yes to %p',
    (type) => {
      expect(isJson(type)).toBe(true);
    },
  );

  it.each([undefined, 'text/plain', 'application/jsonp', 'text/plain; x=a/json', 'json'])(
    'says no to %p',
    (type) => {
      expect(isJson(type)).toBe(false);
    },
  );
});
