/** What is asked of every proxy. `body` makes it a POST. Paths are without the `/api` of the clients. */
export const cases = [
  {
    name: 'small',
    title: 'GET, JSON answer of 150 bytes, 64 connections',
    path: '/small',
    connections: 64,
  },
  {
    name: 'post',
    title: 'POST, JSON body of 1 KiB, 64 connections',
    path: '/post',
    connections: 64,
    body: jsonOf(1024),
  },
  {
    name: 'large',
    title: 'GET, answer of 1 MiB, 16 connections',
    path: '/large',
    connections: 16,
  },
];

function jsonOf(bytes) {
  const frame = '{"text":""}';
  return `{"text":"${'x'.repeat(bytes - frame.length)}"}`;
}
