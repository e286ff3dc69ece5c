// A channel as one user lives in it: the others and their sources, the own tracks, and everything that happens.
import { BraidError, Emitter } from './events.js';
import { Session } from './session.js';
import { Up } from './up.js';
import { Down } from './down.js';
import { Users } from './users.js';
import { Views } from './view.js';
import { Ears } from './ears.js';
import { LocalTrack, check, encodings, open, openScreen } from './local.js';

const measureEvery = 3000; // ms between looks at what the own encoder is short of

const isPicture = (source) => source === 'camera' || source === 'shareScreen';
const keyOf = (user, source) => `${user}/${source}`;

export class Room extends Emitter {
  #session;
  #users;
  #views;
  #ears; // null: the page plays sound itself
  #up = null;
  #down = null;
  #ice = [];
  #all; // everything is subscribed to unless the page says otherwise
  #received = new Map(); // key → {track, receiver}: what the connection carries
  #asked = new Map(); // key → need: what the page subscribed to itself; null: it unsubscribed
  #told = new Map(); // key → JSON of the need that the server has been told
  #joins = 0;
  #timer = 0;
  #cpu = false; // the own encoder is short of processor time
  #leave = () => this.leave();

  /**
   * @param {{url?: string | URL, token: string | (() => string | Promise<string>), name?: string, role?: string,
   *   subscribe?: string, sound?: boolean, giveUp?: number}} options as join takes them
   */
  constructor({ url, token, name, role, subscribe = 'all', sound = true, giveUp = 120_000 }) {
    super();
    this.state = 'joining';
    this.app = this.channel = '';
    this.me = { id: '', role: '', grants: {}, quality: null };
    /** @type {Map<string, LocalTrack>} source → what this user publishes */
    this.tracks = new Map();
    this.#all = subscribe === 'all';
    this.#users = new Users((type, fields) => this.#change(type, fields), () => this.me.id);
    this.#views = new Views((user, source) => this.#source(user, source)?.track ?? null, (user, source) => this.#sync(user, source));
    this.#ears = sound ? new Ears(() => this.emit('soundblocked')) : null;
    this.#session = new Session({ url: endpoint(url), token, name, role, subscribe, giveUp }, {
      joined: (answer, fresh) => this.#joined(answer, fresh),
      event: (message) => this.#event(message),
      lost: () => { this.state = 'reconnecting'; },
      trying: (attempt) => this.emit('reconnecting', { attempt }),
      over: (reason, error) => this.#end(reason, error),
    });
  }

  /** @type {Map<string, import('./users.js').RemoteUser>} the others, by id */
  get users() { return this.#users.all; }

  async start() {
    try {
      await this.#session.start();
    } catch (error) {
      this.state = 'ended';
      this.#views.close(); // the document would keep it
      throw error;
    }
    addEventListener('pagehide', this.#leave); // else the others see a ghost until the grace time is over
    this.#timer = setInterval(() => this.#measure(), measureEvery);
    return this;
  }

  leave() {
    if (this.state === 'ended') return;
    this.#session.leave();
    this.#end('left');
  }

  // ---- publishing

  async publishCamera(options = {}) {
    this.#mayPublish('camera', options);
    return this.#publish('camera', await open('camera', options), options);
  }

  async publishMicrophone(options = {}) {
    this.#mayPublish('microphone', options);
    return this.#publish('microphone', await open('microphone', options), options);
  }

  /** The result is the picture; its `sound` is the LocalTrack of the screen's sound, where there is one. */
  async publishScreen(options = {}) {
    this.#mayPublish('shareScreen', options);
    const { video, audio } = await openScreen(options);
    try {
      const [screen, sound] = await Promise.all([
        this.#publish('shareScreen', video, { degradation: 'maintain-resolution', ...options }),
        audio && this.#publish('shareAudio', audio, {}),
      ]);
      if (sound) {
        screen.sound = sound;
        screen.on('stopped', ({ reason }) => sound.stop(reason).catch(() => {}));
      }
      return screen;
    } catch (error) {
      video.stop();
      audio?.stop();
      throw error;
    }
  }

  /** Publishes a track of the page's own: a canvas, a file, a sound that it makes. It is the page's to stop. */
  async publish(source, track, options = {}) {
    this.#mayPublish(source, options);
    return this.#publish(source, track, { ...options, track });
  }

  // ---- receiving

  /**
   * Shows a user's camera or screen in an element, now and whenever it is published, until the returned function is
   * called. The server is told how large the element is, and that nobody sees it while it is hidden.
   */
  attach(element, user, source) {
    if (!isPicture(source)) throw new BraidError('invalid', `${source} is no picture; sound is played without an element`, { field: 'source' });
    return this.#views.attach(element, user, source);
  }

  /** Subscribes, or changes the size; an attached element's own need goes first. */
  subscribe(user, source, { width = 0, height = 0, paused = false } = {}) {
    this.#asked.set(keyOf(user, source), { width, height, paused });
    this.#sync(user, source);
  }

  unsubscribe(user, source) {
    this.#asked.set(keyOf(user, source), null);
    this.#sync(user, source);
  }

  /** Sound that the browser holds back until somebody clicks: call it from that click, after `soundblocked`. */
  async startSound() { await this.#ears?.start(); }

  /** Where sound is played; deviceId as devices() gives it. Not every browser can. */
  async setSpeaker(deviceId) { await this.#ears?.speaker(deviceId); }

  /** How loud a user's source is played here, 0 to 1. */
  setVolume(user, volume, source = 'microphone') { this.#ears?.volume(keyOf(user, source), volume); }

  // ---- everything else

  /**
   * Sends JSON to the users in `to`, or to everyone else.
   * @param {unknown} payload
   * @param {{to?: string[], topic?: string, reliable?: boolean}} options
   */
  async data(payload, { to, topic = '', reliable = true } = {}) {
    await this.#session.request('data', { to, topic, payload, reliable });
  }

  /** streamer or viewer; a viewer publishes nothing, and what is published ends. */
  async setRole(role) {
    await this.#session.request('role', { role });
    this.#role(role);
  }

  /** Changes the channel's mixed stream, where the token grants `mix`. panes as in UpdateLiveMPUTask's UserPanes. */
  async layout(task, panes) {
    await this.#session.request('layout', { task, panes });
  }

  /** Looks for new paths, for both connections. It happens by itself when one breaks. */
  restartMedia() {
    this.#up?.restart();
    this.#down?.restart();
  }

  /** The reports of both connections, null for one that does not exist. */
  async stats() {
    const [up, down] = await Promise.all([this.#up?.pc.getStats() ?? null, this.#down?.pc.getStats() ?? null]);
    return { up, down };
  }

  // ---- the session

  #joined(answer, fresh) {
    const first = this.#joins++ === 0;
    this.app = answer.app;
    this.channel = answer.channel;
    Object.assign(this.me, { id: answer.user, role: answer.role, grants: answer.grants ?? {} });
    this.#session.options.role = answer.role; // the part to come back with
    this.#ice = answer.ice_servers ?? [];
    this.state = 'joined';
    if (fresh) this.#anew();
    this.#users.reconcile(answer.users ?? []);
    if (fresh) this.#republish();
    else this.#resume();
    for (const user of this.users.values()) for (const source of user.sources.keys()) this.#sync(user.id, source);
    if (!first) this.emit('reconnected', { resumed: !fresh });
  }

  /** A new session knows nothing of the old one's connections and subscriptions. */
  #anew() {
    this.#up?.close();
    this.#down?.close();
    this.#up = this.#down = null;
    this.#told.clear();
    this.#receive([]);
  }

  #republish() {
    for (const local of this.tracks.values()) {
      if (this.me.role === 'viewer') {
        local.stop('role').catch(() => {});
        continue;
      }
      this.#send(local).catch((error) => { if (error.code !== 'ended') local.stop('refused').catch(() => {}); });
    }
  }

  #resume() {
    this.#up?.guard.check(true);
    this.#down?.resumed();
    for (const local of this.tracks.values()) this.#tellMuted(local); // it may have been lost with the socket
  }

  #event(message) {
    const users = this.#users;
    switch (message.type) {
      case 'offer': this.#connectDown().take(message); break;
      case 'joined': users.joined(message.user); break;
      case 'left': users.left(message.user, message.reason); break;
      case 'published': users.published(message.user, message.source); break;
      case 'unpublished': users.unpublished(message.user, message.source); break;
      case 'muted': users.muted(message.user, message.source, message.muted); break;
      case 'role': if (message.user === this.me.id) this.#role(message.role); else users.role(message.user, message.role); break;
      case 'levels': users.levels(new Map(Object.entries(message.users ?? {})), message.speakers ?? []); break;
      case 'quality': this.#quality(new Map(Object.entries(message.users ?? {}))); break;
      case 'layers': this.#up?.rest(message.source, message.active ?? []); break;
      case 'data': this.emit('data', { from: message.from, topic: message.topic ?? '', payload: message.payload }); break;
      case 'draining': this.emit('draining', { withinMs: message.within_ms }); break;
    }
  }

  #end(reason, error) {
    if (this.state === 'ended') return;
    this.state = 'ended';
    removeEventListener('pagehide', this.#leave);
    clearInterval(this.#timer);
    for (const local of this.tracks.values()) local.stop(reason).catch(() => {});
    this.#up?.close();
    this.#down?.close();
    this.#views.close();
    this.#ears?.close();
    this.emit('end', { reason, error });
  }

  #media(needs) {
    return {
      request: (type, fields) => this.#session.request(type, fields), iceServers: this.#ice,
      lost: () => this.#session.renew(), offline: () => !this.#session.live, doubt: () => this.#session.doubt(), ...needs,
    };
  }

  #connectUp() { return this.#up ??= new Up(this.#media()); }

  #connectDown() { return this.#down ??= new Down(this.#media({ tracks: (tracks) => this.#receive(tracks) })); }

  // ---- own tracks

  #mayPublish(source, options) {
    check(source, options);
    if (this.state === 'ended') throw new BraidError('ended', 'the room is over');
    if (this.tracks.has(source)) throw new BraidError('exists', `${source} is published already`, { field: 'source' });
  }

  async #publish(source, track, options) {
    if (this.state === 'ended' || this.tracks.has(source)) { // while the device was opened
      if (!options.track) track.stop();
      this.#mayPublish(source, options);
    }
    const local = new LocalTrack({
      replace: (t) => this.#up?.replace(source, t),
      unpublish: (reason) => this.#unpublish(local, reason),
      tellMuted: () => this.#tellMuted(local),
    }, source, track, options);
    this.tracks.set(source, local);
    try {
      if (options.muted) await local.mute();
      await this.#send(local);
    } catch (error) {
      this.tracks.delete(source);
      await local.stop('refused').catch(() => {});
      throw error;
    }
    return local;
  }

  async #send(local) {
    const { codec, degradation } = local.options;
    await this.#connectUp().publish(local.source, local.track, { codec, encodings: encodings(local), degradation });
    if (local.muted) await this.#tellMuted(local);
  }

  async #unpublish(local, reason) {
    if (this.tracks.get(local.source) !== local) return;
    this.tracks.delete(local.source);
    this.emit('stopped', { track: local, reason });
    if (this.state === 'ended') return;
    const asked = reason === 'role' || reason === 'refused' ? null // the server has ended it itself
      : this.#session.live && this.#session.request('unpublish', { source: local.source });
    await Promise.all([asked, this.#up?.unpublish(local.source)]);
  }

  async #tellMuted(local) {
    if (!this.#session.live || this.tracks.get(local.source) !== local) return; // #resume and #send tell it
    try {
      await this.#session.request('mute', { source: local.source, muted: local.muted });
    } catch (error) {
      if (!['disconnected', 'timeout', 'ended', 'not_found'].includes(error.code)) throw error;
    }
  }

  #role(role) {
    if (this.me.role === role) return;
    this.me.role = this.#session.options.role = role;
    if (role === 'viewer') for (const local of [...this.tracks.values()]) local.stop('role').catch(() => {});
    this.emit('role', { user: this.me, role });
  }

  // ---- others' sources

  #source(user, source) { return this.users.get(user)?.sources.get(source); }

  /** What the connection carries now, all of it. */
  #receive(tracks) {
    const old = this.#received;
    this.#received = new Map(tracks.map((t) => [keyOf(t.user, t.source), t]));
    for (const key of new Set([...old.keys(), ...this.#received.keys()])) {
      const { user, source } = this.#received.get(key) ?? old.get(key);
      this.#bind(user, source);
    }
  }

  /** Ties a source to the track that carries it. */
  #bind(user, name) {
    const key = keyOf(user, name);
    const source = this.#source(user, name);
    const carried = source && this.#received.get(key);
    const track = carried?.track ?? null;
    if (source && source.track !== track) {
      source.track = track;
      source.receiver = carried?.receiver ?? null;
      this.emit('track', { user: source.user, source, track });
    }
    if (isPicture(name)) this.#views.update(user, name);
    else this.#ears?.update(key, track);
  }

  /** Applies what the list of users tells, then lets the page know. */
  #change(type, fields) {
    const { user, source } = fields;
    if (type === 'unpublished') {
      this.#told.delete(keyOf(user.id, source.source));
      this.#bind(user.id, source.source);
    }
    this.emit(type, fields);
    if (type === 'published') {
      this.#bind(user.id, source.source);
      this.#sync(user.id, source.source);
    }
  }

  /** Tells the server what is needed of a source, when that differs from what it knows. */
  #sync(user, source) {
    if (!this.#session.live || !this.#source(user, source)) return; // told when there is somebody to tell
    const key = keyOf(user, source);
    let need = this.#views.need(user, source) ?? this.#asked.get(key);
    if (need === undefined && this.#told.has(key)) need = this.#all ? { width: 0, height: 0, paused: true } : null;
    if (need === undefined) return;
    const text = JSON.stringify(need);
    if (this.#told.get(key) === text) return;
    this.#told.set(key, text);
    const type = need ? 'subscribe' : 'unsubscribe';
    this.#session.request(type, { user, source, ...need }).catch(() => {
      if (this.#told.get(key) === text) this.#told.delete(key); // told again after the resume, or with the next change
    });
  }

  // ---- quality

  #quality(quality) {
    const own = quality.get(this.me.id);
    if (own) {
      if (this.#cpu) own.reasons = [...new Set([...(own.reasons ?? []), 'cpu'])];
      this.me.quality = own;
    }
    this.#users.quality(quality);
  }

  /** Sees whether the own encoder is short of processor time: the server cannot. */
  async #measure() {
    if (!this.#up || ![...this.tracks.keys()].some(isPicture)) return;
    let cpu = false;
    (await this.#up.pc.getStats()).forEach((s) => { cpu ||= s.type === 'outbound-rtp' && s.qualityLimitationReason === 'cpu'; });
    if (cpu === this.#cpu || this.state === 'ended') return;
    this.#cpu = cpu;
    const { up = 5, down = 5, reasons = [] } = this.me.quality ?? {};
    this.#quality(new Map([[this.me.id, { up, down, reasons: reasons.filter((r) => r !== 'cpu') }]]));
  }
}

/** The socket's address; a server's address alone means its /v1/rtc. The default is the server that the SDK came from. @param {string | URL} url */
function endpoint(url = new URL('/v1/rtc', import.meta.url)) {
  const address = new URL(url, location.href);
  if (address.pathname === '/') address.pathname = '/v1/rtc';
  address.protocol = address.protocol.replace('http', 'ws');
  return address.href;
}
