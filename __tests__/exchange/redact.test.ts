import { describe, expect, it } from '@jest/globals';
import { redactor, SECRET_PARAMETERS } from '../../src/exchange/redact.js';

const redact = redactor('redact', SECRET_PARAMETERS);

describe('redactor', () => {
  it.each([
    ['/a?token=s3cret', '/a?token=***'],
    ['/a?page=2&TOKEN=s3cret&sort=up', '/a?page=2&TOKEN=***&sort=up'],
    ['/a?%74oken=s3cret', '/a?%74oken=***'],
    ['/a?to%6Ben=s3cret;password=s3cret', '/a?to%6Ben=***;password=***'],
    ['/a?user[password]=s3cret', '/a?user[password]=***'],
    ['/a?user%5Bpassword%5D=s3cret', '/a?user%5Bpassword%5D=***'],
    ['/a?user.password=s3cret&token[]=s3cret', '/a?user.password=***&token[]=***'],
    ['/a?+token=s3cret&token=a=b', '/a?+token=***&token=***'],
    ['/cb#access_token=s3cret&x=1', '/cb#access_token=***&x=1'],
    ['/cb?x=1#access_token=s3cret', '/cb?x=1#access_token=***'],
    ['http://ada:s3cret@a.example/b', 'http://a.example/b'],
    ['http://ada:s3@cret@a.example/b?token=s3cret', 'http://a.example/b?token=***'],
    ['ada:s3cret@a.example:443', 'a.example:443'],
  ])('masks %s', (url, fit) => {
    expect(redact(url)).toBe(fit);
  });

  it.each([
    '/',
    '/token=1',
    '/a?',
    '/a?token',
    '/a?tokens=1&mytoken=2&n=token',
    '/a?q=%zz&%zz=1',
    '/a@b?c=d@e',
    '*',
    'a.example:443',
    'http://a.example/x@y?at=a@b',
  ])('leaves %s alone', (url) => {
    expect(redact(url)).toBe(url);
  });

  it('takes names that are patterns for names', () => {
    const own = redactor('redact', ['a.b', 'c(d']);
    expect(own('/?a.b=1&axb=2&c(d=3&token=4')).toBe('/?a.b=***&axb=2&c(d=***&token=4');
    expect(redactor('redact', [])('/?token=1&x=%20')).toBe('/?token=1&x=%20');
  });

  it('says what is no list of names', () => {
    expect(() => redactor('accessLog: redact', 'token' as never)).toThrow(
      'accessLog: redact must be an array of names, received "token"',
    );
    expect(() => redactor('accessLog: redact', ['a', ''])).toThrow(
      'accessLog: redact[1] must be the name of a parameter, received ""',
    );
  });
});
