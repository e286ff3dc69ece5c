// What the user publishes: devices, the screen, or a track of the page's own.
import { BraidError, Emitter } from './events.js';

/** Cameras, microphones and speakers. Labels are empty until the user has allowed a device once. */
export async function devices() {
  const all = await navigator.mediaDevices?.enumerateDevices() ?? [];
  const of = (kind) => all.filter((d) => d.kind === kind).map(({ deviceId, label, groupId }) => ({ deviceId, label, groupId }));
  return { cameras: of('videoinput'), microphones: of('audioinput'), speakers: of('audiooutput') };
}

/** One published source. Room makes it; events: `muted`, `switched`, `stopped` (reason). */
export class LocalTrack extends Emitter {
  #home;
  #track;
  #elements = new Set();
  #release = null; // while a camera is muted: how to open it again
  #wish = false; // muted, as was asked last: a camera takes its time to open

  /** @param {{replace: Function, unpublish: Function, tellMuted: Function}} home */
  constructor(home, source, track, options) {
    super();
    this.#home = home;
    this.source = source;
    this.options = options;
    this.muted = false;
    this.stopped = false;
    /** @type {LocalTrack | undefined} of a shared screen, where there is one */
    this.sound = undefined;
    this.#take(track);
  }

  /** The browser's track; null while a muted camera is switched off. */
  get track() { return this.#track; }

  /**
   * Others get silence or no picture, and are told. A camera that the SDK opened is switched off, so that its light goes
   * out; a microphone stays open, so that unmute is immediate.
   */
  async mute() {
    this.#wish = true;
    if (this.muted || this.stopped) return;
    this.muted = true;
    if (this.#opened && this.source === 'camera') {
      this.#release = this.options;
      this.#drop();
      await this.#home.replace(null);
    } else if (this.#track) {
      this.#track.enabled = false;
    }
    await this.#tellMuted();
  }

  async unmute() {
    this.#wish = false;
    if (!this.muted || this.stopped) return;
    const track = this.#release && await open(this.source, this.#release);
    if (track) {
      if (this.stopped || this.#wish || !this.#release) { track.stop(); return; } // no longer wanted, or open already
      this.#release = null;
      this.#take(track);
    }
    this.#track.enabled = true;
    this.muted = false; // before anything is waited for: it may be muted again meanwhile
    if (track) await this.#home.replace(track);
    await this.#tellMuted();
  }

  /** Stops the device and unpublishes. */
  async stop(reason = 'asked') {
    if (this.stopped) return;
    this.stopped = true;
    this.#drop();
    this.emit('stopped', { reason });
    await this.#home.unpublish(reason);
  }

  /**
   * Changes to another camera or microphone, without renegotiation.
   * @param {{deviceId?: string, facingMode?: string}} device neither: the system's default
   */
  async switchDevice({ deviceId, facingMode } = {}) {
    const options = { ...this.options, deviceId, facingMode };
    if (this.#switchLater(options)) return;
    const phone = facingMode || /Android|iPhone|iPad/.test(navigator.userAgent);
    if (phone) this.#track?.stop(); // phones open one camera at a time
    const track = await open(this.source, options);
    if (this.stopped || this.#switchLater(options)) { track.stop(); return; }
    this.options = options;
    this.#drop();
    track.enabled = !this.muted;
    this.#take(track);
    await this.#home.replace(track);
    this.emit('switched');
  }

  /** While the camera is off: it is the one that comes on. */
  #switchLater(options) {
    if (!this.#release) return false;
    this.options = this.#release = options;
    this.emit('switched');
    return true;
  }

  /** Shows the track in a media element, muted, until the returned function is called. */
  attach(element) {
    element.muted = true;
    element.playsInline = true;
    element.autoplay = true;
    this.#elements.add(element);
    this.#show(element);
    return () => {
      if (this.#elements.delete(element)) element.srcObject = null;
    };
  }

  get #opened() { return !this.options.track; }

  #take(track) {
    this.#track = track;
    track.onended = () => this.#ended();
    this.#elements.forEach((e) => this.#show(e));
  }

  #drop() {
    const track = this.#track;
    this.#track = null;
    if (track) track.onended = null;
    if (this.#opened) track?.stop();
    this.#elements.forEach((e) => this.#show(e));
  }

  #show(element) {
    element.srcObject = this.#track ? new MediaStream([this.#track]) : null;
  }

  /** A device was unplugged: the default one takes over. A screen share that the user ended, and a track of the page's own, end. */
  async #ended() {
    if (this.#opened && !this.source.startsWith('share')) {
      try {
        await this.switchDevice({});
        return;
      } catch { /* there is no other one */ }
    }
    await this.stop('ended').catch(() => {});
  }

  async #tellMuted() {
    this.emit('muted', { muted: this.muted });
    await this.#home.tellMuted();
  }
}

/** Opens a camera or a microphone. */
export async function open(source, options) {
  const { deviceId, facingMode, constraints } = options;
  const device = { ...(deviceId && { deviceId: { exact: deviceId } }), ...(facingMode && { facingMode }) };
  const { width = 1280, height = 720, frameRate = 30 } = options;
  const wish = source === 'camera'
    ? { video: { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate, max: frameRate }, ...device, ...constraints } }
    : { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...device, ...constraints } };
  const stream = await media(source, (m) => m.getUserMedia(wish));
  return stream.getTracks()[0];
}

/**
 * Asks for a screen: its picture, and its sound where browser and user give it.
 * @param {{audio?: boolean, frameRate?: number, constraints?: object}} options
 */
export async function openScreen({ audio = true, frameRate = 15, constraints }) {
  const stream = await media('screen', (m) => {
    if (!m.getDisplayMedia) throw new BraidError('device', 'this browser cannot share its screen');
    return m.getDisplayMedia({ video: { frameRate: { max: frameRate } }, audio, ...constraints });
  });
  const [video] = stream.getVideoTracks();
  video.contentHint ||= 'detail'; // letters before motion
  return { video, audio: stream.getAudioTracks()[0] };
}

async function media(what, ask) {
  if (!navigator.mediaDevices) {
    throw new BraidError('device', 'browsers give camera, microphone and screen only to pages from https or localhost', { field: 'insecure' });
  }
  try {
    return await ask(navigator.mediaDevices);
  } catch (error) {
    if (error instanceof BraidError) throw error;
    const words = {
      NotAllowedError: `the ${what} is not allowed`,
      NotFoundError: `there is no ${what}`,
      OverconstrainedError: `no ${what} is as asked`,
      NotReadableError: `the ${what} is in use by another program`,
    };
    throw new BraidError('device', words[error.name] ?? `the ${what} does not start: ${error.message}`, { field: error.name, cause: error });
  }
}

/** What a picture of some size takes, in bits a second: 1.5 Mbit/s for 720p, 0.45 for 360p, 3 for 1080p. */
const enough = (width, height) => Math.round(1500 * (width * height / (1280 * 720)) ** 0.87) * 1000;

/**
 * The layers of a camera's picture, the smallest first, so that a weak uplink starves the large one: full, half and
 * quarter size; none that would be under 240 pixels wide: nobody has elements so small. Smaller ones never take more than
 * their size needs, however much the full one may: they are there for paths that carry little.
 * @param {{width?: number, height?: number}} size of the picture @param {number} [maxBitrate] of the full one
 */
function layers({ width = 1280, height = 720 }, maxBitrate = enough(width, height)) {
  const large = Math.max(width, height);
  if (large < 480) return [{ maxBitrate }];
  const share = maxBitrate / enough(width, height);
  return [{ rid: 'q', by: 4 }, { rid: 'h', by: 2 }, { rid: 'f', by: 1 }].filter(({ by }) => large / by >= 240).map(({ rid, by }) => ({
    rid, scaleResolutionDownBy: by, maxBitrate: by === 1 ? maxBitrate : Math.round(enough(width / by, height / by) * Math.min(1, share)),
  }));
}

/** The codecs in whose layers the server can move a viewer; others are sent in one stream. @param {string} [codec] */
function inLayers(codec = 'vp8') { return ['vp8', 'h264'].includes(codec.toLowerCase()); }

/**
 * Throws when the options of a source contradict themselves; asked before a device is opened.
 * @param {string} source @param {{codec?: string, simulcast?: boolean, scalabilityMode?: string}} options
 */
export function check(source, { codec = 'vp8', simulcast, scalabilityMode: mode }) {
  if (mode === undefined) return;
  const refuse = (words, field = 'scalabilityMode') => { throw new BraidError('invalid', `scalabilityMode ${mode}: ${words}`, { field }); };
  if (source !== 'camera' && source !== 'shareScreen') refuse(`${source} is no picture`);
  if (!/^(L1T[123]|L[23]T[123](h|_KEY|_KEY_SHIFT)?)$/.test(mode)) refuse('want L1T1 to L3T3; L2 and L3 also with h, _KEY or _KEY_SHIFT behind');
  if (mode.startsWith('L1')) return;
  if (!['vp9', 'av1'].includes(codec.toLowerCase())) refuse(`the codec ${codec} has no such layers, vp9 and av1 have`);
  if (simulcast) refuse('one stream has all layers: not with simulcast', 'simulcast');
}

/**
 * What a source is sent as: a camera's picture in several sizes, or one stream, which may have layers of its own.
 * undefined: as the browser likes.
 * @param {LocalTrack} local
 */
export function encodings({ source, track, options }) {
  const { codec, simulcast = inLayers(codec), maxBitrate, scalabilityMode } = options;
  const mode = scalabilityMode && { scalabilityMode };
  if (source === 'camera' && simulcast) return layers(track?.getSettings() ?? options, maxBitrate).map((e) => ({ ...e, ...mode }));
  if (maxBitrate || mode) return [{ ...(maxBitrate && { maxBitrate }), ...mode }];
}
