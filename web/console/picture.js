// Small pictures of what is live. They are read anew every few seconds while they can be seen: the server makes them only for
// those who look.
import { html, useEffect, useRef, useState } from './preact.js';
import { path, picture } from './api.js';
import { t } from './i18n.js';

const every = 4000; // ms

/** Whether an element can be seen, on a page that can. */
function useSeen(ref) {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    let inView = false;
    const look = () => setSeen(inView && !document.hidden);
    const observer = new IntersectionObserver((entries) => {
      inView = entries.at(-1).isIntersecting;
      look();
    });
    observer.observe(ref.current);
    document.addEventListener('visibilitychange', look);
    return () => {
      observer.disconnect();
      document.removeEventListener('visibilitychange', look);
    };
  }, []);
  return seen;
}

/** The newest picture behind a URL, for an img: undefined until the first answer, null when there is none. */
function usePicture(url, seen) {
  const [state, setState] = useState({ url, src: undefined });
  useEffect(() => {
    if (!seen) return undefined;
    const end = new AbortController();
    let timer = 0;
    const read = async () => {
      const file = await picture(url, end.signal).catch(() => null); // the next may succeed; the page says what else is wrong
      if (end.signal.aborted) return;
      setState({ url, src: file && URL.createObjectURL(file) });
      timer = setTimeout(read, every);
    };
    read();
    return () => {
      end.abort();
      clearTimeout(timer);
    };
  }, [url, seen]);
  useEffect(() => () => { if (state.src) URL.revokeObjectURL(state.src); }, [state.src]);
  return state.url === url ? state.src : undefined;
}

/** A picture in a frame of 16:9, or words in its place. */
export function LivePicture({ url, alt, kind = '' }) {
  const ref = useRef(null);
  const src = usePicture(url, useSeen(ref));
  return html`<span ref=${ref} class=${`livepicture ${kind}`}>${src ? html`<img src=${src} alt=${alt} />`
    : html`<span>${src === null ? t('no picture') : t('waiting for a picture')}</span>`}</span>`;
}

/** What lies behind the words of a pane; the pane itself says who is in it. */
export function PanePicture({ url, whole }) {
  const ref = useRef(null);
  const src = usePicture(url, useSeen(ref));
  return html`<span ref=${ref} class=${`panepicture ${whole ? 'whole' : ''}`} aria-hidden="true">${src && html`<img src=${src} alt="" draggable=${false} />`}</span>`;
}

/** Where the picture of a user's camera or screen is. */
export const userPicture = (app, channel, user, source, width) =>
  `${path('applications', app, 'channels', channel, 'users', user)}/thumbnail.jpg?source=${source === 'shareScreen' ? 'screen' : 'camera'}&width=${width}`;

/** Where the picture of a relay task is. */
export const taskPicture = (app, task, width) => `${path('applications', app, 'tasks', task)}/picture.jpg?width=${width}`;
