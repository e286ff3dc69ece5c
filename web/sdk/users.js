// Who else is in the room and what they publish, as the server tells it. Every change is applied once, however often it
// is told: a resume tells the present state and then the events that led to it.

/** Another user. */
export class RemoteUser {
  constructor({ id, name = '', role = '' }) {
    this.id = id;
    this.name = name;
    this.role = role;
    /** @type {Map<string, RemoteSource>} */
    this.sources = new Map();
    this.level = -127; // dBov, as last told; -127: not heard
    this.quality = null; // {up, down, reasons}
  }
}

/** One source of another user. */
export class RemoteSource {
  constructor(user, source) {
    this.user = user;
    this.source = source;
    this.muted = false;
    this.codec = '';
    this.width = 0;
    this.height = 0;
    /** @type {MediaStreamTrack | null} null while it is not received */
    this.track = null;
    /** @type {RTCRtpReceiver | null} */
    this.receiver = null;
  }
}

export class Users {
  /** @type {Map<string, RemoteUser>} */
  all = new Map();

  /** @param {(type: string, fields: object) => void} emit @param {() => string} me own id, which is left out */
  constructor(emit, me) {
    this.emit = emit;
    this.me = me;
  }

  /** The truth, all of it: what differs is told as events. */
  reconcile(users) {
    const present = new Set(users.map((u) => u.id));
    for (const id of [...this.all.keys()]) if (!present.has(id)) this.left(id, 'left');
    for (const u of users) this.joined(u);
  }

  joined(told) {
    if (told.id === this.me()) return;
    let user = this.all.get(told.id);
    if (!user) {
      user = new RemoteUser(told);
      this.all.set(user.id, user);
      this.emit('joined', { user });
    } else if (told.role && user.role !== told.role) {
      this.role(user.id, told.role);
    }
    const sources = told.sources ?? [];
    for (const name of [...user.sources.keys()]) {
      if (!sources.some((s) => s.source === name)) this.unpublished(user.id, name);
    }
    for (const s of sources) this.published(user.id, s);
  }

  left(id, reason) {
    const user = this.all.get(id);
    if (!user) return;
    for (const name of [...user.sources.keys()]) this.unpublished(id, name);
    this.all.delete(id);
    this.emit('left', { user, reason });
  }

  published(id, told) {
    const user = this.all.get(id);
    if (!user) return;
    let source = user.sources.get(told.source);
    const known = source !== undefined;
    source ??= new RemoteSource(user, told.source);
    for (const field of ['codec', 'width', 'height']) source[field] = told[field] ?? source[field];
    if (known) {
      this.muted(id, told.source, !!told.muted);
      return;
    }
    source.muted = !!told.muted;
    user.sources.set(told.source, source);
    this.emit('published', { user, source });
  }

  unpublished(id, name) {
    const user = this.all.get(id);
    const source = user?.sources.get(name);
    if (!source) return;
    user.sources.delete(name);
    source.track = source.receiver = null;
    this.emit('unpublished', { user, source });
  }

  muted(id, name, muted) {
    const source = this.all.get(id)?.sources.get(name);
    if (!source || source.muted === muted) return;
    source.muted = muted;
    this.emit('muted', { user: source.user, source, muted });
  }

  role(id, role) {
    const user = this.all.get(id);
    if (!user || user.role === role) return;
    user.role = role;
    this.emit('role', { user, role });
  }

  levels(levels, speakers) {
    for (const user of this.all.values()) user.level = levels.get(user.id) ?? -127;
    this.emit('levels', { levels, speakers });
  }

  quality(quality) {
    for (const [id, q] of quality) {
      const user = this.all.get(id);
      if (user) user.quality = q;
    }
    this.emit('quality', { quality });
  }
}
