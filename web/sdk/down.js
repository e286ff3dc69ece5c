// The connection that a user receives on. The server offers; each offer says whose source a mid carries.
import { Guard, foreign } from './peer.js';
import { keepBack } from './buffer.js';

export class Down {
  #offer = null; // the newest that is not taken up yet
  #answer = null; // the newest answer that the server has not confirmed
  #running = false;

  /**
   * @param {{request: Function, iceServers: RTCIceServer[], lost: () => void, offline: () => boolean, doubt: () => void,
   *   tracks: (tracks: Array<{user: string, source: string, track: MediaStreamTrack, receiver: RTCRtpReceiver}>) => void}} needs
   */
  constructor({ request, iceServers, lost, offline, doubt, tracks }) {
    this.request = request;
    this.tracks = tracks;
    this.lost = lost;
    this.offline = offline;
    this.doubt = doubt;
    this.iceServers = iceServers;
    this.#open();
  }

  #open() {
    this.pc = new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: 'max-bundle' });
    this.guard = new Guard(this.pc, { restart: () => this.restart(), lost: this.lost, offline: this.offline, doubt: this.doubt });
    keepBack(this.pc);
  }

  /** Takes an offer event. Only the newest of those that wait is answered. */
  take(message) {
    this.#offer = message;
    if (!this.#running) this.#run();
  }

  restart() {
    this.request('restart', { connection: 'down' }).catch(() => {}); // the guard sees whether it helped
  }

  /** After a resume: an answer that may have been lost with the socket is given again. */
  resumed() {
    if (this.#answer && !this.#running) this.#send(this.#answer).catch(() => {});
    this.guard.check(true);
  }

  close() {
    this.guard.stop();
  }

  async #run() {
    this.#running = true;
    try {
      while (this.#offer && this.pc.signalingState !== 'closed') {
        const { offer, sdp, tracks } = this.#offer;
        this.#offer = null;
        if (foreign(this.pc, sdp)) { // the server has made another connection
          this.guard.stop();
          this.#open();
        }
        await this.pc.setRemoteDescription({ type: 'offer', sdp });
        await this.pc.setLocalDescription();
        this.#tell(tracks ?? []);
        this.#answer = { offer, sdp: this.pc.localDescription.sdp };
        await this.#send(this.#answer).catch(() => {}); // resumed gives it again
      }
    } catch {
      if (this.pc.signalingState !== 'closed') this.lost(); // an offer that this browser cannot take: start anew
    } finally {
      this.#running = false;
    }
  }

  async #send(answer) {
    try {
      await this.request('answer', answer);
    } catch (error) {
      if (error.code === 'disconnected' || error.code === 'timeout') throw error;
    }
    if (this.#answer === answer) this.#answer = null; // taken, or no longer wanted
  }

  #tell(tracks) {
    const receivers = new Map(this.pc.getTransceivers().map((t) => [t.mid, t.receiver]));
    this.tracks(tracks.filter((t) => receivers.has(t.mid)).map(({ mid, user, source }) => {
      const receiver = receivers.get(mid);
      return { user, source, receiver, track: receiver.track };
    }));
  }
}
