import { type BlockList, isIP } from 'node:net';
import { plainAddress } from '../exchange/client.js';
import { rangeList } from '../exchange/ranges.js';

/**
 * What is not the public Internet, of IANA's special-purpose registries: a forward proxy that reaches
 * these for anybody opens the network it stands in.
 */
const SPECIAL: readonly string[] = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // shared address space (CGNAT); some clouds keep metadata here
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // Azure's platform services, though the address looks public
  '169.254.0.0/16', // link-local, and the metadata services of most clouds
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarking
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, and broadcast
  '2001::/23', // protocol assignments: Teredo, benchmarking, ORCHID
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '3fff::/20', // documentation
];

/** Outside of these, IPv6 has nothing public: loopback, link-local, unique local, multicast. */
const UNICAST: readonly string[] = ['2000::/3', '64:ff9b::/96'];

const special = rangeList(SPECIAL);
const unicast = rangeList(UNICAST);

/** Whether an address belongs to the public Internet, and so does every address that it embeds. */
export function isPublic(address: string): boolean {
  return facesOf(address).every((face) => {
    if (holds(special, face)) return false;
    return isIP(face) === 4 || holds(unicast, face);
  });
}

/** Whether an address is in a list. */
export function holds(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/**
 * An address in each of the forms that it can be reached under: itself, IPv4 behind `::ffff:` in its
 * own form, and the IPv4 addresses that a translator or a tunnel would take out of an IPv6 one.
 */
export function facesOf(address: string): string[] {
  const plain = plainAddress(address) ?? '';
  if (isIP(plain) !== 6) return [plain];
  // One spelling for each address; the URL parser also writes a dotted end in hexadecimal.
  const canonical = new URL(`http://[${plain}]`).hostname.slice(1, -1);
  const bytes = bytesOf(canonical);
  const startsWith = (...start: number[]) => start.every((byte, i) => bytes[i] === byte);
  const at = (offset: number, flip = 0) =>
    [0, 1, 2, 3].map((i) => (bytes[offset + i] as number) ^ flip).join('.');
  const zeros = Array.from({ length: 10 }, () => 0);
  // RFC 4291, 2.5.5.2: the address that the socket goes to is the IPv4 one.
  if (startsWith(...zeros, 0xff, 0xff)) return [at(12)];
  const faces = [canonical];
  // RFC 4291, 2.5.5.1; `::` and `::1` are none of them.
  if (startsWith(...zeros, 0, 0) && (bytes[12] || bytes[13])) faces.push(at(12));
  // RFC 2765, 2.1: SIIT.
  if (startsWith(...zeros.slice(2), 0xff, 0xff, 0, 0)) faces.push(at(12));
  // RFC 6052, 2.1 and RFC 8215: NAT64.
  if (startsWith(0x00, 0x64, 0xff, 0x9b)) faces.push(at(12));
  // RFC 3056, 2: 6to4.
  if (startsWith(0x20, 0x02)) faces.push(at(2));
  // RFC 4380, 4: Teredo has the server, and the client with its bits flipped.
  if (startsWith(0x20, 0x01, 0x00, 0x00)) faces.push(at(4), at(12, 0xff));
  // RFC 5214, 6.1: ISATAP, under any prefix.
  if (((bytes[8] as number) & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e) {
    if (bytes[11] === 0xfe) faces.push(at(12));
  }
  return faces;
}

/** The sixteen bytes of an IPv6 address without a dotted end. */
function bytesOf(address: string): number[] {
  const [front = '', back] = address.split('::');
  const groupsOf = (part: string) => (part === '' ? [] : part.split(':'));
  const first = groupsOf(front);
  const last = groupsOf(back ?? '');
  const gap = Array.from({ length: 8 - first.length - last.length }, () => '0');
  return [...first, ...gap, ...last].flatMap((group) => {
    const word = Number.parseInt(group, 16);
    return [word >> 8, word & 0xff];
  });
}
