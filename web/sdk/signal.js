// One WebSocket of the session protocol (doc/protocol.md): requests with their answers, events, and whether it lives.
import { BraidError } from './events.js';

const answerWithin = 15000; // ms: as long as the server gives a WebSocket that is silent
const pingAfter = 5000; // ms of silence: pages do not see WebSocket pings, so they ask by themselves
const deadAfter = 10000; // ms more: then the path is broken, whatever TCP says
const doubtFor = 800; // ms, when media have stopped, too

export class Signal {
  #socket;
  #next = 1;
  #waiting = new Map(); // id → {resolve, reject, timer}
  #alive = 0; // timer
  #closed = false;

  /**
   * @param {string} url
   * @param {{event: (message: object) => void, closed: () => void}} tell closed is called once, when the socket is gone
   *   without close() having been called
   */
  constructor(url, tell) {
    this.tell = tell;
    this.#socket = new WebSocket(url, 'braid.v1');
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = () => this.#end(true);
    this.opened = new Promise((resolve, reject) => {
      this.#socket.addEventListener('open', () => { this.#watch(); resolve(); });
      this.#socket.addEventListener('close', () => reject(new BraidError('disconnected', `${url} cannot be reached`)));
    });
    this.opened.catch(() => {}); // whoever waits for it sees it
  }

  /** Sends a request and waits for its answer. */
  request(type, fields = {}) {
    if (this.#closed || this.#socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(new BraidError('disconnected', `${type}: the socket is closed`));
    }
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new BraidError('timeout', `${type}: no answer within ${answerWithin / 1000} s`));
      }, answerWithin);
      this.#waiting.set(id, { resolve, reject, timer, type });
      this.#socket.send(JSON.stringify({ ...fields, id, type }));
    });
  }

  /** Asks at once whether the path is alive: there is a reason to think that it is not. */
  doubt() {
    if (this.#closed || this.#socket.readyState !== WebSocket.OPEN) return;
    clearTimeout(this.#alive);
    this.request('ping').catch(() => {});
    this.#alive = setTimeout(() => this.#end(true), doubtFor);
  }

  close() {
    this.#end(false);
  }

  #receive(text) {
    this.#watch();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not ours
    }
    if (message.id === undefined) {
      this.tell.event(message);
      return;
    }
    const waiter = this.#waiting.get(message.id);
    if (!waiter) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiter.timer);
    if (message.type === 'error') waiter.reject(new BraidError(message.code, message.message, { field: message.field, reason: message.reason }));
    else waiter.resolve(message);
  }

  #watch() {
    clearTimeout(this.#alive);
    if (this.#closed) return;
    this.#alive = setTimeout(() => {
      this.request('ping').catch(() => {}); // any answer will do
      this.#alive = setTimeout(() => this.#end(true), deadAfter);
    }, pingAfter);
  }

  #end(tell) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#alive);
    this.#socket.onmessage = null;
    this.#socket.close();
    for (const { reject, timer, type } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new BraidError('disconnected', `${type}: the socket closed before the answer`));
    }
    this.#waiting.clear();
    if (tell) this.tell.closed();
  }
}
