// The connection that a user publishes on. The client offers; every offer says which source each mid carries.
import { BraidError } from './events.js';
import { Guard, foreign, prefer } from './peer.js';

const tries = 8; // a change of a sender's parameters is refused while others are under way

export class Up {
  #slots = new Map(); // source → {transceiver, on, fresh: not agreed yet, refused, active, degradation, tuning}
  #asked = 0; // negotiations wanted so far
  #restart = false; // the next offer has new ICE credentials
  #running = null; // promise of the negotiation under way

  /** @param {{request: Function, iceServers: RTCIceServer[], lost: () => void, offline: () => boolean, doubt: () => void}} needs */
  constructor({ request, iceServers, lost, offline, doubt }) {
    this.request = request;
    this.lost = lost;
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this.guard = new Guard(this.pc, { restart: () => this.restart(), lost, offline, doubt });
  }

  /**
   * Publishes a track as a source. Resolves when the server has agreed; rejects with its refusal, and then nothing is
   * published.
   * @param {string} source
   * @param {MediaStreamTrack | null} track null: a camera that is switched off
   * @param {{codec?: string, encodings?: RTCRtpEncodingParameters[], degradation?: string}} options
   */
  async publish(source, track, options = {}) {
    let slot = this.#slots.get(source);
    if (slot) {
      await slot.transceiver.sender.replaceTrack(track);
      slot.transceiver.direction = 'sendonly';
    } else {
      slot = { transceiver: this.#add(track ?? kindOf(source), options.encodings) };
      this.#slots.set(source, slot);
      if (options.codec) prefer(slot.transceiver, options.codec);
    }
    Object.assign(slot, { on: true, fresh: true, refused: null, active: null, degradation: options.degradation });
    this.#tune(slot);
    try {
      await this.negotiate();
      if (slot.refused) throw slot.refused;
    } catch (error) {
      this.#off(slot);
      throw error;
    }
  }

  #add(what, sendEncodings) {
    try {
      return this.pc.addTransceiver(what, { direction: 'sendonly', sendEncodings });
    } catch (error) {
      if (!sendEncodings?.[0].scalabilityMode) throw error;
      throw new BraidError('unsupported', error.message, { field: 'scalabilityMode', cause: error });
    }
  }

  /** Stops sending a source; the place in the connection is kept for the next time. */
  async unpublish(source) {
    const slot = this.#slots.get(source);
    if (!slot?.on && !slot?.fresh) return;
    this.#off(slot);
    await this.negotiate();
  }

  /** Puts another track, or silence (null), in place of a source's, without negotiation. */
  async replace(source, track) {
    await this.#slots.get(source)?.transceiver.sender.replaceTrack(track);
  }

  /**
   * Lets the layers of a source rest that nobody takes.
   * @param {string} source @param {string[]} active rids of those that are taken
   */
  rest(source, active) {
    const slot = this.#slots.get(source);
    if (!slot?.on) return;
    slot.active = active;
    this.#tune(slot);
  }

  restart() {
    this.#restart = true;
    this.negotiate().catch(() => {}); // the guard sees whether it helped
  }

  /** Brings the server up to date. Calls made together share one offer. */
  negotiate() {
    this.#asked++;
    this.#running ??= this.#negotiate().finally(() => { this.#running = null; });
    return this.#running;
  }

  close() {
    this.guard.stop();
  }

  get #closed() { return this.pc.signalingState === 'closed'; }

  async #negotiate() {
    await null; // let calls of the same moment in
    for (let done = 0; done < this.#asked && !this.#closed;) {
      const asked = this.#asked;
      try {
        await this.#offer();
      } catch (error) {
        if (this.#closed) return;
        const fresh = [...this.#slots.values()].filter((slot) => slot.on && slot.fresh);
        if (!away(error) && fresh.length < 2) throw error;
        if (away(error) || !await this.#singly(fresh)) continue; // offered again when there is a socket
      }
      done = asked;
    }
  }

  /** Offers what is on; after an error the connection is as before. */
  async #offer() {
    const iceRestart = this.#restart;
    this.#restart = false;
    const slots = [...this.#slots.values()].filter((slot) => slot.on);
    try {
      await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart }));
      const { sdp } = await this.request('offer', { sdp: this.pc.localDescription.sdp, tracks: this.#tracks() });
      if (foreign(this.pc, sdp)) { // the server has given the old connection up
        this.lost();
        return;
      }
      await this.pc.setRemoteDescription({ type: 'answer', sdp });
      for (const slot of slots) slot.fresh = false;
    } catch (error) {
      this.#restart ||= iceRestart;
      if (!away(error) && this.pc.signalingState === 'have-local-offer') await this.pc.setLocalDescription({ type: 'rollback' });
      throw error;
    }
  }

  /** Offers new sources one by one: that one is refused costs no other its place. False when the server is away. */
  async #singly(fresh) {
    const set = (slot, on) => {
      slot.on = on;
      slot.transceiver.direction = on ? 'sendonly' : 'inactive';
    };
    for (const slot of fresh) set(slot, false);
    for (const slot of fresh) {
      if (!slot.fresh) continue; // taken back meanwhile
      set(slot, true);
      try {
        await this.#offer();
      } catch (error) {
        if (this.#closed) return true;
        if (away(error)) {
          for (const other of fresh) if (other.fresh && !other.refused) set(other, true);
          return false;
        }
        slot.refused = error;
        set(slot, false);
      }
    }
    return true;
  }

  /** Brings a sender to what its slot says, one change after the other. */
  async #tune(slot) {
    if (slot.tuning) return;
    slot.tuning = true;
    for (let n = 0; n < tries && !this.#closed; n++) {
      const { sender } = slot.transceiver;
      const parameters = sender.getParameters();
      if (!adjust(parameters, slot, n === 0)) break;
      try {
        await sender.setParameters(parameters);
      } catch {
        await new Promise((r) => setTimeout(r, 50 << n));
      }
    }
    slot.tuning = false;
  }

  #tracks() {
    return [...this.#slots].filter(([, slot]) => slot.on && slot.transceiver.mid !== null)
      .map(([source, slot]) => ({ mid: slot.transceiver.mid, source }));
  }

  #off(slot) {
    slot.on = slot.fresh = false;
    if (this.#closed) return;
    slot.transceiver.direction = 'inactive';
    slot.transceiver.sender.replaceTrack(null).catch(() => {});
  }
}

/** Tells whether a request has found no server, as opposed to a refusal. */
const away = (error) => error.code === 'disconnected' || error.code === 'timeout';

/** Writes what a slot says into parameters; true when that is news. Firefox forgets the preference, so that it is no news later. */
function adjust(parameters, { active, degradation }, first) {
  let news = false;
  for (const e of parameters.encodings ?? []) {
    const on = !e.rid || !active || active.includes(e.rid);
    news ||= on !== (e.active ?? true);
    e.active = on;
  }
  if (degradation) {
    news ||= first && parameters.degradationPreference !== degradation;
    parameters.degradationPreference = degradation;
  }
  return news;
}

function kindOf(source) {
  return source === 'camera' || source === 'shareScreen' ? 'video' : 'audio';
}
