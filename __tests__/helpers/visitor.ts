/** What a {@link Visitor} has come to. */
export interface Visit {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** A browser without a window: it keeps cookies for each host, and follows redirects. */
export class Visitor {
  /** Cookies by host, and then by name. Like a browser's, they are the same on all ports. */
  readonly cookies = new Map<string, Map<string, string>>();

  /** Asks for a page, and for those that it leads to. */
  async go(url: string, form?: Readonly<Record<string, string>>): Promise<Visit> {
    let visit = await this.ask(url, form);
    for (let hops = 0; visit.status >= 300 && visit.status < 400; hops++) {
      if (hops === 20) throw new Error(`${url} leads round in circles`);
      visit = await this.ask(new URL(visit.headers.get('location') ?? '', visit.url).href);
    }
    return visit;
  }

  /** Asks once, and follows nothing. With a form, it is sent. */
  async ask(
    url: string,
    form?: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Visit> {
    const own = this.#cookiesOf(url);
    const cookie = [...own].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { accept: 'text/html', ...(cookie && { cookie }), ...headers },
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/; expires=Thu, 01 Jan 1970/i.test(line)) own.delete(name);
      else own.set(name, value);
    }
    return { url, status: response.status, headers: response.headers, text: await response.text() };
  }

  #cookiesOf(url: string): Map<string, string> {
    const { hostname } = new URL(url);
    let own = this.cookies.get(hostname);
    if (own === undefined) {
      own = new Map();
      this.cookies.set(hostname, own);
    }
    return own;
  }
}
