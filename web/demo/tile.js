// One participant's picture in the page, and the loop that keeps it connected.
import { watch } from './rtc.js';

export class Tile {
  constructor(label, own) {
    this.element = document.createElement('figure');
    this.element.className = own ? 'tile own' : 'tile';
    this.video = document.createElement('video');
    this.video.autoplay = true;
    this.video.playsInline = true;
    this.video.muted = own;
    this.caption = document.createElement('figcaption');
    this.caption.textContent = label;
    this.notice = document.createElement('span');
    this.notice.className = 'note';
    this.element.append(this.video, this.caption, this.notice);
  }

  show(stream) {
    this.video.srcObject = stream;
    this.video.play().catch(() => { // sound before the first click on the page is refused
      this.video.muted = true;
      this.video.play().catch(() => {});
    });
  }

  note(text) { this.notice.textContent = text; }
  remove() { this.element.remove(); }
}

/** A remote participant's tile. It watches until close, and connects again whenever the session ends; away is told when the server has sent this user out. */
export class RemoteTile extends Tile {
  constructor(label, url, token, away) {
    super(label, false);
    this.url = url;
    this.token = token;
    this.away = away;
    this.closed = false;
    this.tracks = '';
    this.meter = setInterval(() => this.measure(), 500);
    this.run();
  }

  /** Told which tracks are published: when they change, the session starts anew. */
  published(tracks, hasVideo) {
    if (this.tracks && this.tracks !== tracks) this.session?.close();
    this.tracks = tracks;
    this.hasVideo = hasVideo;
    this.note(hasVideo ? '' : 'camera off');
  }

  async run() {
    while (!this.closed) {
      try {
        this.session = await watch({ url: this.url, token: this.token });
        if (this.closed) break;
        this.decoded = undefined;
        this.show(this.session.stream);
        this.note(this.hasVideo ? '' : 'camera off');
        const why = await this.session.ended;
        if (why && !this.closed) {
          this.away(why);
          break;
        }
      } catch (error) {
        // 409 is "does not publish at this moment": the next try finds it.
        if (error.status !== 409) this.note(error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    this.session?.close();
  }

  async measure() {
    const session = this.session;
    if (!session || session.pc.connectionState !== 'connected') return;
    for (const receiver of session.pc.getReceivers()) {
      if (receiver.track.kind !== 'audio') continue;
      const level = Math.max(0, ...receiver.getSynchronizationSources().map((s) => s.audioLevel ?? 0));
      this.element.classList.toggle('talking', level > 0.02);
    }
    if (this.hasVideo) await this.watchdog(session);
  }

  /** Reconnects when pictures stop although they are published. */
  async watchdog(session) {
    let frames = 0;
    (await session.pc.getStats()).forEach((s) => { if (s.type === 'inbound-rtp' && s.kind === 'video') frames += s.framesDecoded; });
    if (frames !== this.decoded) {
      this.decoded = frames;
      this.since = performance.now();
    } else if (performance.now() - this.since > 6000) {
      this.since = performance.now();
      session.close();
    }
  }

  remove() {
    this.closed = true;
    clearInterval(this.meter);
    this.session?.close();
    super.remove();
  }
}
