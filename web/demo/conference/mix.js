// The channel's mixed stream: started and stopped by the demo's backend, as a product's server would; its layout changed
// over the SDK when the token grants it; played with its SEI drawn over it.
import { $, ask, problem } from '../kit.js';
import { Player } from '../player.js';

let player = null; // one for the page: it holds the page's elements

export class Mix {
  constructor(room) {
    this.room = room;
    this.state = null; // {layout, task, flv, …} while it runs
    this.leading = false; // the page that last changed the mix also changes it when people come and go
    player ??= new Player({ video: $('mixed'), overlay: $('overlay'), onMessage: () => {}, onPicture: (on) => { $('waiting').hidden = on; } });
    this.events = new EventSource(`/demo/events?channel=${encodeURIComponent(room.channel)}`);
    this.events.onmessage = (event) => { this.state = JSON.parse(event.data).mix; this.show(); };
    $('mixer').onclick = () => this.toggle();
    $('layouts').onchange = () => { if (this.state) this.set(); };
  }

  get layout() { return document.querySelector('input[name=layout]:checked').value; }

  async toggle() {
    $('mixer').disabled = true;
    try {
      if (this.state) {
        this.leading = false;
        await ask(`/demo/mix?channel=${encodeURIComponent(this.room.channel)}`, undefined, 'DELETE');
      } else {
        await this.start();
      }
    } catch (error) {
      problem(`The mix: ${error.message}`);
    }
    $('mixer').disabled = false;
  }

  /** Asks the backend, which starts the mix or changes it. */
  async start() {
    const users = this.seats();
    const answer = await ask('/demo/mix', { channel: this.room.channel, layout: this.layout, users });
    this.leading = true;
    this.mixed = JSON.stringify(users);
    this.state = answer.mix;
    this.show();
  }

  /** Changes the running mix's layout. */
  async set() {
    const users = this.seats();
    try {
      if (this.room.me.grants.mix) await this.room.layout(this.state.task, panes(this.layout, users));
      else await this.start();
      this.leading = true;
      problem('');
    } catch (error) {
      problem(`The layout: ${error.message}`);
    }
  }

  /** Who publishes a picture or a sound, screens first: they are the large pane of the speaker layout. */
  seats() {
    const list = [];
    for (const u of [this.room.me, ...this.room.users.values()]) {
      const of = u === this.room.me ? this.room.tracks : u.sources;
      if (of.has('shareScreen')) list.unshift({ user: u.id, source: 'shareScreen' });
      if (of.has('camera') || of.has('microphone')) list.push({ user: u.id, source: 'camera' });
    }
    return list.slice(0, 9); // as many as the SEI can name
  }

  follow() {
    const now = this.seats();
    if (!this.leading || !this.state || !now.length || this.mixed === JSON.stringify(now)) return;
    this.start().catch((error) => problem(`The mix: ${error.message}`)); // who takes part is the backend's to say
  }

  show() {
    $('mixer').textContent = this.state ? 'Stop mix' : 'Start mix';
    $('playing').hidden = !this.state;
    if (this.state && !$('mix').hidden) player.play(new URL(this.state.flv, location.href).href);
    else player.stop();
  }

  close() {
    this.events.close();
    $('mix').hidden = true;
    player.stop();
  }
}

/** The same plans as the backend's, as UserPanes: shares of the picture. */
function panes(layout, seats) {
  const n = seats.length;
  const columns = Math.ceil(Math.sqrt(n));
  const rows = Math.ceil(n / columns);
  const small = 1 / Math.max(4, n - 1);
  const place = {
    grid: (i) => [i % columns / columns, Math.floor(i / columns) / rows, 1 / columns, 1 / rows],
    speaker: (i) => (n === 1 ? [0, 0, 1, 1] : i === 0 ? [0, 0, 0.75, 1] : [0.75, (i - 1) * small, 0.25, small]),
    side: (i) => [i / n, (1 - 1 / n) / 2, 1 / n, 1 / n],
  }[layout];
  return seats.map(({ user, source }, i) => {
    const [X, Y, Width, Height] = place(i);
    return { X, Y, Width, Height, ZOrder: 1, RenderMode: source === 'shareScreen' ? 0 : 1, UserInfo: { UserId: user, SourceType: source } };
  });
}
