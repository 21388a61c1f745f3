import type { Demo } from './start.js';

/** A stop of the tour: what there is to see, and the command that shows it. */
export interface Stop {
  readonly title: string;
  readonly curl: string;
}

type Places = Pick<Demo, 'gateway' | 'forward' | 'server' | 'third'>;

/** What to try, once the gateway listens. */
export function tour({ gateway, forward, server, third }: Places): Stop[] {
  return [
    { title: 'A whole proxy in one line', curl: `curl ${gateway}/simple/user/1` },
    {
      title: 'The prefix is cut: /proxy/user/1 is /user/1 there',
      curl: `curl ${gateway}/proxy/user/1`,
    },
    { title: 'Every method, and a body', curl: `curl -X PUT -d hello ${gateway}/proxy/echo` },
    { title: 'Three backends in turn: ask again', curl: `curl ${gateway}/balanced` },
    {
      title: 'Break one, and go on asking: no error comes, and after two failures it is out',
      curl: `curl -X POST ${third}/break`,
    },
    { title: 'What the gateway knows of the three', curl: `curl ${gateway}/balanced/stats` },
    {
      title: 'Mend it, and go on asking: it is back within five seconds',
      curl: `curl -X POST ${third}/mend`,
    },
    { title: 'Headers edited, there and back', curl: `curl -i ${gateway}/echo` },
    { title: 'A gzip page rewritten', curl: `curl -i --compressed ${gateway}/page` },
    {
      title: 'A parsed JSON body goes on, edited',
      curl: `curl -H 'Content-Type: application/json' -d '{"a":1}' ${gateway}/json`,
    },
    { title: 'Held, looked at and sent: the backend has it', curl: `curl ${gateway}/user/1` },
    { title: 'Held and dropped: a 404 falls through', curl: `curl ${gateway}/user/2` },
    { title: 'A redirect and a cookie come back as ours', curl: `curl -i ${gateway}/shop/login` },
    {
      title: 'A forward proxy: this backend is asked for by its own name',
      curl: `curl -x ${forward} ${server}/user/1`,
    },
    { title: 'The same through a tunnel', curl: `curl -p -x ${forward} ${server}/user/1` },
    { title: 'A WebSocket: open this page in a browser', curl: `curl ${gateway}/ws` },
    {
      title: 'Trip the breaker: break the third backend first, and the fourth answer comes at once',
      curl: `for i in 1 2 3 4; do curl -i ${gateway}/breaker; done`,
    },
    {
      title: 'Flood the limiter: the sixth in ten seconds is a 429',
      curl: `for i in 1 2 3 4 5 6; do curl -i ${gateway}/limited; done`,
    },
    {
      title: 'One at a time, one may wait: the third is a 503',
      curl: `for i in 1 2 3; do curl -i ${gateway}/narrow/slow & done; wait`,
    },
    {
      title: 'It takes a second to write, once in ten: Cache-Status says where it is from',
      curl: `for i in 1 2 3; do curl -i ${gateway}/news; done`,
    },
    {
      title: 'A backend that is down, and what we had yesterday',
      curl: `curl ${gateway}/degraded`,
    },
    { title: 'A backend that is down is a 502', curl: `curl -i ${gateway}/down` },
  ];
}
