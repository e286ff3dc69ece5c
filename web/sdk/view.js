// Shows remote sources in elements of the page, and tells the room how large each is really needed.

const settle = 200; // ms that an element's size has to stay before the server is told
const hideAfter = 2000; // ms out of sight before a picture is paused

/** Every element that shows somebody. */
export class Views {
  #views = new Map(); // key → Set of View
  #timers = new Map(); // key → {timer, at}

  /**
   * @param {(user: string, source: string) => MediaStreamTrack | null} find
   * @param {(user: string, source: string, need: {width: number, height: number, paused: boolean} | null) => void} want
   *   told when the need changes; null: no element is left
   */
  constructor(find, want) {
    this.find = find;
    this.want = want;
    this.changed = () => this.#views.forEach((_, key) => this.#later(key));
    document.addEventListener('visibilitychange', this.changed);
  }

  attach(element, user, source) {
    const key = `${user}/${source}`;
    const view = new View(element, () => this.#later(key));
    if (!this.#views.has(key)) this.#views.set(key, new Set());
    this.#views.get(key).add(view);
    view.show(this.find(user, source));
    this.#tell(key);
    return () => {
      if (!this.#views.get(key)?.delete(view)) return;
      view.close();
      if (this.#views.get(key).size === 0) this.#views.delete(key);
      this.#tell(key);
    };
  }

  /** The source's track has come, changed or gone. */
  update(user, source) {
    this.#views.get(`${user}/${source}`)?.forEach((view) => view.show(this.find(user, source)));
  }

  /** What the elements of a source need together: the largest; paused when none can be seen. null: there is none. */
  need(user, source) {
    const views = this.#views.get(`${user}/${source}`);
    if (!views) return null;
    const seen = [...views].filter((v) => v.seen);
    return {
      width: Math.max(0, ...seen.map((v) => v.width)),
      height: Math.max(0, ...seen.map((v) => v.height)),
      paused: seen.length === 0,
    };
  }

  close() {
    document.removeEventListener('visibilitychange', this.changed);
    this.#timers.forEach(({ timer }) => clearTimeout(timer));
    this.#views.forEach((views) => views.forEach((view) => view.close()));
    this.#views.clear();
  }

  #later(key) {
    const need = this.need(...split(key));
    const delay = need?.paused ? hideAfter : settle;
    const old = this.#timers.get(key);
    if (old && delay === hideAfter && old.delay === hideAfter) return; // being out of sight is not put off by more of it
    clearTimeout(old?.timer);
    this.#timers.set(key, { delay, timer: setTimeout(() => this.#tell(key), delay) });
  }

  #tell(key) {
    clearTimeout(this.#timers.get(key)?.timer);
    this.#timers.delete(key);
    const [user, source] = split(key);
    this.want(user, source, this.need(user, source));
  }
}

/** User ids may hold a slash, sources do not. */
function split(key) {
  const at = key.lastIndexOf('/');
  return [key.slice(0, at), key.slice(at + 1)];
}

/** One element. */
class View {
  #visible = true; // until the observer has looked
  #observers = [];

  constructor(element, changed) {
    this.element = element;
    element.playsInline = true;
    element.autoplay = true;
    const size = new ResizeObserver(changed);
    const sight = new IntersectionObserver((entries) => {
      this.#visible = entries.at(-1).isIntersecting;
      changed();
    });
    size.observe(element);
    sight.observe(element);
    this.#observers = [size, sight];
    this.changed = changed;
    for (const type of ['enterpictureinpicture', 'leavepictureinpicture']) element.addEventListener(type, changed);
  }

  /** In pixels of the screen; more than two for one of the page's is not seen on phones. */
  get width() { return Math.round(this.element.clientWidth * this.#ratio); }
  get height() { return Math.round(this.element.clientHeight * this.#ratio); }
  get #ratio() { return Math.min(2, devicePixelRatio || 1); }

  get seen() {
    if (document.pictureInPictureElement === this.element) return true;
    return this.#visible && !document.hidden && this.element.clientWidth > 0 && this.element.clientHeight > 0;
  }

  show(track) {
    const stream = this.element.srcObject;
    if (stream?.getTracks?.()[0] === (track ?? undefined) && (stream || !track)) return;
    this.element.srcObject = track ? new MediaStream([track]) : null;
    if (track) this.element.play?.().catch(() => {}); // a picture without sound is never refused; autoplay tries again
  }

  close() {
    this.#observers.forEach((o) => o.disconnect());
    for (const type of ['enterpictureinpicture', 'leavepictureinpicture']) this.element.removeEventListener(type, this.changed);
    this.element.srcObject = null;
  }
}
