// Plays the mixed stream with mpegts.js and draws its SEI at the picture it belongs to.
/* global mpegts */
import { parse, draw } from './sei.js';

// What goes wrong is shown in the page; a stream that is not there yet is no error.
mpegts.LoggingControl.applyConfig({ enableAll: false, enableVerbose: false, enableDebug: false, enableInfo: false, enableWarn: false, enableError: false });

export class Player {
  /** @param {{video: HTMLVideoElement, overlay: HTMLElement, onMessage: (m: object) => void, onPicture: (playing: boolean) => void}} parts */
  constructor(parts) {
    this.parts = parts;
    this.url = '';
    const each = () => {
      this.apply();
      requestAnimationFrame(each);
    };
    requestAnimationFrame(each);
    parts.video.addEventListener('playing', () => parts.onPicture(true));
    parts.video.addEventListener('resize', () => {
      if (parts.video.videoWidth) parts.video.parentElement.style.aspectRatio = `${parts.video.videoWidth} / ${parts.video.videoHeight}`;
    });
  }

  /** Plays url until stop, and tries again each second while the stream is not there. With a new signature it is the same stream: the next try takes it. */
  play(url) {
    const goes = this.url.split('?')[0] === url.split('?')[0];
    if (!goes) this.stop();
    this.url = url;
    if (!goes) this.open();
  }

  stop() {
    clearTimeout(this.retry);
    this.url = '';
    this.close();
  }

  open() {
    this.pending = [];
    const player = mpegts.createPlayer({ type: 'flv', isLive: true, url: this.url }, {
      enableStashBuffer: false, // show what arrives at once
      liveSync: true, // and catch up when the buffer has grown
      liveSyncMaxLatency: 1.2,
      liveSyncTargetLatency: 0.6,
      liveBufferLatencyChasing: true, // jump where that is not enough: a machine too slow to play 1.2 times as fast
      liveBufferLatencyMaxLatency: 4,
      liveBufferLatencyMinRemain: 0.6,
      autoCleanupSourceBuffer: true,
    });
    const again = () => {
      if (this.player !== player) return;
      this.close();
      this.retry = setTimeout(() => this.open(), 1000);
    };
    player.on(mpegts.Events.ERROR, again);
    player.on(mpegts.Events.LOADING_COMPLETE, again);
    player.on(mpegts.Events.SEI_ARRIVED, (data) => this.arrived(data));
    this.player = player;
    player.attachMediaElement(this.parts.video);
    player.load();
    player.play()?.catch(() => {}); // the element is muted: only a stop can refuse it
  }

  close() {
    const player = this.player;
    this.player = null;
    player?.destroy();
    this.parts.onPicture(false);
    draw(this.parts.overlay, {});
  }

  /** A message arrives with its bytes, up to a second before its picture is shown; pts is on the video element's clock, in ms. */
  arrived(data) {
    const message = parse(data);
    if (!message) return;
    this.pending.push({ at: data.pts / 1000, message });
    this.parts.onMessage(message);
  }

  apply() {
    if (!this.player || !this.pending?.length) return;
    const now = this.parts.video.currentTime;
    let due;
    while (this.pending.length && this.pending[0].at <= now + 0.02) due = this.pending.shift();
    if (due) draw(this.parts.overlay, due.message);
  }
}
