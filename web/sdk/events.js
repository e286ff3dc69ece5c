// What the SDK's objects have in common: events with fields, errors with a code.

/** An event whose fields are its own properties. */
export class RoomEvent extends Event {
  constructor(type, fields) {
    super(type);
    Object.assign(this, fields);
  }
}

/** An EventTarget with `on`, which gives back the way to stop listening. */
export class Emitter extends EventTarget {
  on(type, listener) {
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }

  emit(type, fields = {}) {
    this.dispatchEvent(new RoomEvent(type, fields));
  }
}

/**
 * What went wrong. code is the server's (doc/protocol.md), or one of the SDK's own: `disconnected` (the socket broke
 * before the answer), `timeout`, `ended` (the room is over), `device` (cause is the browser's error).
 */
export class BraidError extends Error {
  /** @param {string} code @param {string} message @param {{field?: string, reason?: string, cause?: unknown}} more */
  constructor(code, message, { field = '', reason = '', cause } = {}) {
    super(message, cause && { cause });
    this.name = 'BraidError';
    this.code = code;
    this.field = field;
    this.reason = reason;
  }
}
