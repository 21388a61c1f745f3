import { type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { ALIASED, fieldInfo, HOP_BY_HOP, OWNED, PSEUDO } from '../exchange/fields.js';
import { HeaderList } from '../exchange/header-list.js';

/** Fields that Node has to know of, or writes itself, and names with odd characters. */
const PARTICULAR = HOP_BY_HOP | OWNED | PSEUDO | ALIASED;
/** What a value cannot have in it (RFC 9110, 5.5). */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/;
/** All that Express sets on an answer of its own accord. */
const POWERED_BY = 'x-powered-by';

const LINES = Symbol('lines');

/** An answer whose lines Node knows only as text. */
type PlainAnswer = ServerResponse & { _header: string; [LINES]: string[] };

const node = ServerResponse.prototype;
// As they are before anybody wraps them.
const { writeHead, setHeader } = node;

/**
 * Writes a head without having Node take each line in, look it up and give it out again: Node writes its own part,
 * and the lines are put into that text as they are. This is for the usual case. Where the answer has fields or
 * methods of somebody else's, or a line is particular, nothing is done, and `false` returned.
 */
export function writePlainHead(
  res: ServerResponse,
  status: number,
  reason: string,
  lines: readonly string[],
): boolean {
  if (res.writeHead !== writeHead || res.setHeader !== setHeader) return false;
  const names = res.getHeaderNames();
  const powered = names.length === 1 && typeof res.getHeader(POWERED_BY) === 'string';
  if (names.length > 0 && !powered) return false;
  const block = textOf(lines);
  if (block === undefined) return false;

  const { text, length, dated } = block;
  let framing = 0;
  if (length !== undefined) {
    const [name, value] = [lines[length] as string, lines[length + 1] as string];
    res.setHeader(name, value);
    framing = name.length + value.length + 4;
  }
  if (dated) res.sendDate = false;
  res.writeHead(status, reason);
  const answer = res as PlainAnswer;
  const head = answer._header;
  let at = head.indexOf('\r\n') + 2;
  if (powered) at = head.indexOf('\r\n', at) + 2;
  answer._header = head.slice(0, at) + text + head.slice(at + framing);
  answer[LINES] = lines as string[];
  answer.getHeader = getHeader;
  answer.getHeaders = getHeaders;
  answer.getHeaderNames = getHeaderNames;
  answer.hasHeader = hasHeader;
  return true;
}

/** Lines as text. */
interface Block {
  readonly text: string;
  /** Where among the lines `Content-Length` is. */
  readonly length: number | undefined;
  /** Whether there is a `Date`. */
  readonly dated: boolean;
}

/** `undefined` where one of the lines is particular, or cannot be sent. */
function textOf(lines: readonly string[]): Block | undefined {
  let text = '';
  let length: number | undefined;
  let dated = false;
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] as string;
    const value = lines[i + 1] as string;
    const { lower, flags } = fieldInfo(name);
    if (name === '' || lower === POWERED_BY || UNSENDABLE.test(value)) return undefined;
    if (flags & PARTICULAR) {
      if (lower !== 'content-length' || length !== undefined) return undefined;
      length = i;
    } else if (lower === 'date') {
      dated = true;
    }
    text += `${name}: ${value}\r\n`;
  }
  return { text, length, dated };
}

// What asks for the fields afterwards (a logger at `finish`) gets them as ever.

function getHeader(this: ServerResponse, name: string): string | number | string[] | undefined {
  const own = node.getHeader.call(this, name);
  if (own !== undefined) return own;
  const values = new HeaderList((this as PlainAnswer)[LINES]).getAll(name);
  return values.length > 1 ? values : values[0];
}

function getHeaders(this: ServerResponse): OutgoingHttpHeaders {
  const list = new HeaderList((this as PlainAnswer)[LINES]);
  return Object.assign(node.getHeaders.call(this), list.toJSON());
}

function getHeaderNames(this: ServerResponse): string[] {
  return Object.keys(getHeaders.call(this));
}

function hasHeader(this: ServerResponse, name: string): boolean {
  return getHeader.call(this, name) !== undefined;
}
