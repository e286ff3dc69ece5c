// What both WebRTC connections need: somebody who notices that the path is gone, and a way to choose a codec.

const patience = 2500; // ms of `disconnected`: short gaps mend themselves
const connectWithin = 10000; // ms
const restartWithin = 6000; // ms
const restarts = 3; // in a row; then only a new session can help
const listenEvery = 500; // ms
const proof = 300; // ms in which something arrives where a path is alive: feedback alone comes ten times a second

/**
 * Watches a connection: calls restart when it has lost its path, lost when restarts do not bring it back, doubt when
 * nothing arrives any more. While offline() is true it waits: nothing can be negotiated then.
 */
export class Guard {
  #timer = 0;
  #tries = 0;
  #listening = 0; // timer

  /** @param {RTCPeerConnection} pc @param {{restart: () => void, lost: () => void, offline: () => boolean, doubt: () => void}} does */
  constructor(pc, { restart, lost, offline, doubt }) {
    this.pc = pc;
    this.doubt = doubt;
    this.restart = restart;
    this.lost = lost;
    this.offline = offline;
    pc.addEventListener('connectionstatechange', () => this.check());
    this.#listen();
  }

  /** Looks at once; called when the socket is live again (now), too: what broke it may have been the network. */
  check(now = false) {
    const state = this.pc.connectionState;
    clearTimeout(this.#timer);
    if (state === 'connected') {
      this.#tries = 0;
      if (now) this.#prove();
    } else if (state === 'failed' || state === 'disconnected' && now) this.#again();
    else if (state === 'disconnected') this.#in(patience);
    else if (state === 'connecting') this.#in(connectWithin);
  }

  /** Browsers take five seconds and more to see that a path is dead. One on which nothing arrives gets a new one at once. */
  async #prove() {
    const before = await arrived(this.pc);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      if (this.pc.connectionState !== 'connected' || await arrived(this.pc) !== before) return;
      this.restart();
      this.#timer = setTimeout(() => this.check(true), restartWithin);
    }, proof);
  }

  /** Sudden silence is reason enough to ask the socket, and costs little where it is a camera that went off. */
  #listen() {
    let [bytes, busy] = [0, 0]; // so far; looks in a row at which something had come
    this.#listening = setInterval(async () => {
      const now = await arrived(this.pc);
      if (now > bytes) busy++;
      else {
        if (busy > 5) this.doubt();
        busy = 0;
      }
      bytes = now;
    }, listenEvery);
  }

  stop() {
    clearTimeout(this.#timer);
    clearInterval(this.#listening);
    this.pc.close(); // no event comes after it
  }

  #in(ms) {
    this.#timer = setTimeout(() => this.#again(), ms);
  }

  #again() {
    if (this.pc.connectionState === 'closed') return;
    if (this.offline()) {
      this.#in(1000);
      return;
    }
    if (++this.#tries > restarts) {
      this.lost();
      return;
    }
    this.restart();
    this.#in(restartWithin);
  }
}

/** Bytes that a connection has received on all its paths. */
async function arrived(pc) {
  let bytes = 0;
  (await pc.getStats()).forEach((s) => { if (s.type === 'candidate-pair') bytes += s.bytesReceived ?? 0; });
  return bytes;
}

/** Whether a description comes from another connection than the one that a pc has been talking to: its keys differ. */
export function foreign(pc, sdp) {
  const keys = (text) => text?.match(/^a=fingerprint:.*$/m)?.[0].toLowerCase();
  const known = keys(pc.currentRemoteDescription?.sdp);
  return known !== undefined && known !== keys(sdp);
}

/** Puts a codec first; the others stay as a way out. An unknown name changes nothing. */
export function prefer(transceiver, codec) {
  const all = RTCRtpSender.getCapabilities(transceiver.receiver.track.kind)?.codecs ?? [];
  const is = (c) => c.mimeType.split('/')[1].toLowerCase() === codec.toLowerCase();
  if (all.some(is)) transceiver.setCodecPreferences([...all.filter(is), ...all.filter((c) => !is(c))]);
}
