// Plays a stream of the origin, or an MPEG-TS file, with mpegts.js, which is loaded when somebody wants to watch.
import { html, useEffect, useRef, useState } from './preact.js';
import { bearer } from './api.js';
import { t } from './i18n.js';
import { Note } from './ui.js';

const loading = { script: null };

/** mpegts.js, which is not a module: it makes itself a global. */
function library() {
  loading.script ??= new Promise((done, fail) => {
    const script = Object.assign(document.createElement('script'), { src: '../vendor/mpegts.js' });
    script.onload = () => {
      window.mpegts.LoggingControl.applyConfig({ enableAll: false, enableVerbose: false, enableDebug: false, enableInfo: false, enableWarn: false, enableError: false });
      done(window.mpegts);
    };
    script.onerror = () => {
      loading.script = null;
      fail(new Error(t('The player cannot be loaded.')));
    };
    document.head.append(script);
  });
  return loading.script;
}

/** What went wrong, in words. */
function words(type, detail, info) {
  if (info?.code === 401) return t('The sign-in has ended.');
  if (info?.code === 404) return t('The stream is not on air at this address.');
  if (type === 'MediaError') return t('This browser cannot play what comes: {why}', { why: info?.msg || detail });
  return t('The connection ended: {why}', { why: info?.msg || detail });
}

/**
 * A video with the browser's own controls. kind is flv (live) or mpegts (a file).
 * A live stream begins without sound, as browsers want it.
 */
export function StreamVideo({ url, kind, label }) {
  const video = useRef(null);
  const [state, setState] = useState({ of: url, word: 'opening', problem: '' });
  useEffect(() => {
    let player;
    let over = false;
    const say = (word, problem = '') => over || setState({ of: url, word, problem });
    say('opening');
    const onPlaying = () => say('playing');
    video.current.addEventListener('playing', onPlaying);
    library().then((mpegts) => {
      if (over) return;
      if (!mpegts.isSupported()) throw new Error(t('This browser cannot play it: it has no Media Source Extensions.'));
      const live = kind === 'flv';
      player = mpegts.createPlayer({ type: kind, isLive: live, url }, {
        ...(live ? { enableStashBuffer: false, liveSync: true, liveSyncMaxLatency: 1.5, liveSyncTargetLatency: 0.8,
          liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 4, liveBufferLatencyMinRemain: 0.8 } : {}), autoCleanupSourceBuffer: true,
        headers: bearer() ? { Authorization: `Bearer ${bearer()}` } : undefined,
      });
      player.on(mpegts.Events.ERROR, (type, detail, info) => say('failed', words(type, detail, info)));
      if (live) player.on(mpegts.Events.LOADING_COMPLETE, () => say('failed', t('The stream has ended.')));
      player.attachMediaElement(video.current);
      player.load();
      player.play()?.catch(() => {}); // the reader can press play
    }).catch((error) => say('failed', error.message));
    const element = video.current;
    return () => {
      over = true;
      element.removeEventListener('playing', onPlaying);
      player?.destroy();
    };
  }, [url, kind]);
  return html`<div class="watch">
    <video ref=${video} aria-label=${label} controls muted=${kind === 'flv'} playsinline></video>
    ${state.word === 'opening' && html`<p class="soft" role="status">${t('Opening the stream …')}</p>`}
    ${state.word === 'failed' && html`<${Note} kind="bad" role="alert">${state.problem}<//>`}
  </div>`;
}
