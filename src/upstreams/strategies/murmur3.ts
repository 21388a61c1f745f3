/**
 * MurmurHash3 x86 32 of a text's UTF-8 bytes, which are made on the way. Half of a
 * surrogate pair is hashed as if it were a character. The hash is signed: half of the unsigned ones are
 * no small integers to V8, which would allocate them.
 */
export function murmur3(text: string, seed = 0): number {
  let hash = seed;
  let block = 0;
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i) as number;
    if (code > 0xffff) i += 1;
    for (let left = utf8Length(code) - 1, lead = left; left >= 0; left--) {
      block |= utf8Byte(code, lead, left) << (8 * (bytes & 3));
      bytes += 1;
      if ((bytes & 3) === 0) {
        hash = (Math.imul(rotateLeft(hash ^ scramble(block), 13), 5) + 0xe6546b64) | 0;
        block = 0;
      }
    }
  }
  return mix(hash ^ scramble(block) ^ bytes);
}

/** The last step of MurmurHash3: every bit of the input sways every bit of the result. */
export function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function scramble(block: number): number {
  return Math.imul(rotateLeft(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593);
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function utf8Length(code: number): number {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/** The byte before which `lead - left` others stand, of a character of `lead + 1` bytes. */
function utf8Byte(code: number, lead: number, left: number): number {
  if (lead === 0) return code;
  const bits = code >> (6 * left);
  return left < lead ? 0x80 | (bits & 0x3f) : ((0xf00 >> (lead + 1)) & 0xff) | bits;
}
