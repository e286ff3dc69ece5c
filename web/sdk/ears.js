// The sound of everybody who is heard. It needs no element in the page.

/** Plays the sound of everybody who is heard, without an element in the page. */
export class Ears {
  #players = new Map(); // key → HTMLAudioElement
  #speaker = '';
  #volumes = new Map();

  /** @param {() => void} blocked called when the browser wants a click first */
  constructor(blocked) {
    this.blocked = blocked;
  }

  update(key, track) {
    let player = this.#players.get(key);
    if (!track) {
      if (player) player.srcObject = null;
      this.#players.delete(key);
      return;
    }
    if (!player) {
      player = new Audio();
      player.volume = this.#volumes.get(key) ?? 1;
      if (this.#speaker) player.setSinkId?.(this.#speaker).catch(() => {});
      this.#players.set(key, player);
    }
    if (player.srcObject?.getTracks()[0] !== track) player.srcObject = new MediaStream([track]);
    player.play().catch((error) => { if (error.name === 'NotAllowedError') this.blocked(); });
  }

  /** To be called from a click, when blocked has been. */
  async start() {
    await Promise.all([...this.#players.values()].map((p) => p.play()));
  }

  volume(key, volume) {
    this.#volumes.set(key, volume);
    if (this.#players.has(key)) this.#players.get(key).volume = volume;
  }

  async speaker(deviceId) {
    this.#speaker = deviceId;
    await Promise.all([...this.#players.values()].map((p) => p.setSinkId?.(deviceId)));
  }

  close() {
    this.#players.forEach((p) => { p.srcObject = null; });
    this.#players.clear();
  }
}
