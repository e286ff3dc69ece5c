// A session over however many sockets it takes: joins, resumes with the last event's number, joins anew when that is
// too late, and gives up in the end.
import { BraidError } from './events.js';
import { Signal } from './signal.js';

const firstDelay = 300; // ms before the second attempt; the first is made at once
const longestDelay = 5000; // ms: somebody is waiting in front of the page
const final = new Set(['unauthorized', 'forbidden', 'invalid', 'unsupported']); // another attempt gets the same answer

/**
 *            start()                socket lost              grace over
 *   idle ──► connecting ──► live ──────────────► resuming ───────────────► joining anew
 *                │           ▲                      │ resumed or not            │
 *                │ refused   └──────────────────────┴───────────────────────────┘
 *                ▼                                        giveUp over, refused, end event: over
 *              over
 */
export class Session {
  #signal = null; // the socket in use; null while there is none
  #seq = 0;
  #id = '';
  #grace = 0;
  #lostAt = 0;
  #attempt = 0;
  #timer = 0;
  #over = false;
  #live = null; // {promise, resolve, reject}: until the session is live
  #kick = () => { if (this.#timer) this.#soon(0); };

  /**
   * @param {{url: string, token: string | (() => string | Promise<string>), name?: string, role?: string, subscribe?: string, giveUp: number}} options
   * @param {{joined: (answer: object, fresh: boolean) => void, event: (message: object) => void,
   *   lost: () => void, trying: (attempt: number) => void, over: (reason: string, error?: Error) => void}} tell
   */
  constructor(options, tell) {
    this.options = options;
    this.tell = tell;
    this.#wait();
    addEventListener('online', this.#kick);
  }

  get live() { return this.#signal !== null; }

  /** Joins for the first time. What is wrong is the caller's to know: there is no second attempt. */
  async start() {
    try {
      await this.#connect();
    } catch (error) {
      this.#finish();
      throw error;
    }
  }

  /** Sends a request, after the session is live again when it is not. */
  async request(type, fields) {
    for (;;) {
      const signal = this.#signal;
      if (signal) return signal.request(type, fields);
      await this.#live.promise;
    }
  }

  /** Drops the session and joins anew: for media that no restart brings back. */
  renew() {
    if (this.#over) return;
    this.#signal?.close();
    this.#id = '';
    if (this.#signal) this.#lost();
  }

  /** Media have stopped to arrive: is the socket dead, too? */
  doubt() { this.#signal?.doubt(); }

  leave() {
    if (this.#over) return;
    this.#signal?.request('leave').catch(() => {}); // the socket closes before the answer is read
    this.#finish();
  }

  async #connect() {
    const token = typeof this.options.token === 'function' ? await this.options.token() : this.options.token;
    const early = []; // events that come with the answer are told after it
    let told = false;
    const signal = new Signal(this.options.url, {
      event: (message) => { if (told) this.#event(signal, message); else early.push(message); },
      closed: () => { if (signal === this.#signal) this.#lost(); },
    });
    try {
      await signal.opened;
      if (this.#over) throw new BraidError('ended', 'the room was left');
      const { name, role, subscribe } = this.options;
      const resume = this.#id ? { session: this.#id, seq: this.#seq } : undefined;
      const answer = await signal.request('join', { token, name, role, subscribe, resume });
      if (this.#over) {
        signal.request('leave').catch(() => {}); // else the others see a ghost until the grace time is over
        throw new BraidError('ended', 'the room was left');
      }
      const fresh = !answer.resumed;
      if (fresh) this.#seq = 0;
      this.#id = answer.session;
      this.#grace = answer.grace_ms ?? 20000;
      this.#signal = signal;
      this.#attempt = 0;
      told = true;
      this.tell.joined(answer, fresh);
      this.#live.resolve();
      early.forEach((message) => this.#event(signal, message));
    } catch (error) {
      signal.close();
      throw error;
    }
  }

  #event(signal, message) {
    if (signal !== this.#signal) return;
    if (message.seq !== undefined) {
      if (message.seq <= this.#seq) return; // known from before the resume
      this.#seq = message.seq;
    }
    if (message.type === 'end') this.#ended(message.reason);
    else if (message.type === 'expiring') this.#renewToken();
    else this.tell.event(message);
  }

  #ended(reason) {
    if (reason === 'draining' || reason === 'timeout') { // the server restarts, or had forgotten: another session will do
      this.renew();
      return;
    }
    this.#finish();
    this.tell.over(reason);
  }

  /** The token's time is nearly over: the page's function may have a newer one. */
  async #renewToken() {
    if (typeof this.options.token !== 'function') return;
    try {
      await this.request('token', { token: await this.options.token() });
    } catch { /* the server ends the session when it has to */ }
  }

  #lost() {
    this.#signal = null;
    this.#lostAt = performance.now();
    this.#wait();
    this.tell.lost();
    this.#soon(Math.random() * 200); // everybody's socket may have broken at once
  }

  #soon(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#timer = 0; this.#again(); }, delay);
  }

  async #again() {
    if (this.#over) return;
    const gone = performance.now() - this.#lostAt;
    if (gone > this.#grace) this.#id = '';
    this.#attempt++;
    this.tell.trying(this.#attempt);
    try {
      await this.#connect();
    } catch (error) {
      if (this.#over) return;
      if (error.code === 'ended') { // by somebody else, while there was no socket
        this.#ended(error.reason);
        return;
      }
      if (final.has(error.code) || gone > this.options.giveUp) {
        this.#finish();
        this.tell.over(final.has(error.code) ? 'refused' : 'lost', error);
        return;
      }
      const ceiling = Math.min(longestDelay, firstDelay * 2 ** (this.#attempt - 1));
      this.#soon(ceiling / 2 + Math.random() * ceiling / 2);
    }
  }

  #wait() {
    /** @type {any} */
    let settle;
    const promise = new Promise((resolve, reject) => { settle = { resolve, reject }; });
    promise.catch(() => {}); // nobody may be waiting
    this.#live = { promise, resolve: settle.resolve, reject: settle.reject };
  }

  #finish() {
    this.#over = true;
    clearTimeout(this.#timer);
    removeEventListener('online', this.#kick);
    this.#signal?.close();
    this.#signal = null;
    this.#wait();
    this.#live.reject(new BraidError('ended', 'the room is over'));
  }
}
