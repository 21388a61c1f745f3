import { type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { ALIASED, fieldInfo, HOP_BY_HOP, OWNED, PSEUDO } from '../exchange/fields.js';
import { HeaderList } from '../exchange/header-list.js';
import { growsSlowly } from './room-for-fields.js';

/** Fields that Node has to know of, or writes itself, and names with odd characters. */
const PARTICULAR = HOP_BY_HOP | OWNED | PSEUDO | ALIASED;
/** What a value cannot have in it (RFC 9110, 5.5). */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/;
const LINES = Symbol('lines');

/** An answer whose lines Node knows only as text. */
type PlainAnswer = NodeAnswer & { _header: string; [LINES]: string[] };
/** Our types of Node do not know all of its methods. */
type NodeAnswer = ServerResponse & { getRawHeaderNames(): string[] };

const node = ServerResponse.prototype as NodeAnswer;
// As they are before anybody wraps them.
const { writeHead, setHeader } = node;

/**
 * Writes a head without having Node take each line in, look it up and give it out again: Node writes its own part, and
 * the lines are put into that text as they are, behind what middleware has set. This is for the usual case. Where
 * methods of the answer are somebody else's, or fields more would cost what that saves, or a line is particular or of a
 * name that has been set, nothing is done, and `false` returned.
 */
export function writePlainHead(
  res: ServerResponse,
  status: number,
  reason: string,
  lines: readonly string[],
): boolean {
  if (res.writeHead !== writeHead || res.setHeader !== setHeader || growsSlowly(res)) return false;
  const names = res.getHeaderNames();
  if (!names.every(isOneLine, res)) return false;
  const block = textOf(lines, names);
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
  let at = head.indexOf('\r\n');
  for (let i = 0; i < names.length; i++) at = head.indexOf('\r\n', at + 2);
  answer._header = head.slice(0, at) + text + head.slice(at + framing);
  answer[LINES] = lines as string[];
  answer.getHeader = getHeader;
  answer.getHeaders = getHeaders;
  answer.getHeaderNames = getHeaderNames;
  answer.getRawHeaderNames = getRawHeaderNames;
  answer.hasHeader = hasHeader;
  return true;
}

/** Whether a field that has been set is one line of the head, of which Node need not know more. */
function isOneLine(this: ServerResponse, name: string): boolean {
  if (fieldInfo(name).flags & PARTICULAR) return false;
  const value = this.getHeader(name);
  return typeof value === 'string' || typeof value === 'number';
}

/** Lines as text, each with the end of the line before it. */
class Block {
  constructor(
    readonly text: string,
    /** Where among the lines `Content-Length` is. */
    readonly length: number | undefined,
    /** Whether there is a `Date`. */
    readonly dated: boolean,
  ) {}
}

/** `undefined` where one of the lines is particular, cannot be sent, or is of a name that has been set. */
function textOf(lines: readonly string[], set: readonly string[]): Block | undefined {
  let text = '';
  let length: number | undefined;
  let dated = false;
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] as string;
    const value = lines[i + 1] as string;
    const { lower, flags, opening } = fieldInfo(name);
    if (name === '' || set.includes(lower) || UNSENDABLE.test(value)) return undefined;
    if (flags & PARTICULAR) {
      if (lower !== 'content-length' || length !== undefined) return undefined;
      length = i;
    } else if (lower === 'date') {
      dated = true;
    }
    text += opening + value;
  }
  return new Block(text, length, dated);
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

function getRawHeaderNames(this: ServerResponse): string[] {
  const names = node.getRawHeaderNames.call(this);
  const own = new Set(node.getHeaderNames.call(this));
  for (const [name] of new HeaderList((this as PlainAnswer)[LINES])) {
    if (!own.has(name.toLowerCase())) names.push(name);
    own.add(name.toLowerCase());
  }
  return names;
}

function hasHeader(this: ServerResponse, name: string): boolean {
  return getHeader.call(this, name) !== undefined;
}
