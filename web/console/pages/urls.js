// The addresses of a stream at a streaming domain, or at the origin inside braid: to push it and to watch it.
import { html, useEffect, useState } from '../preact.js';
import { get, path } from '../api.js';
import { useLoad } from '../hooks.js';
import { t, date, span } from '../i18n.js';
import { Button, Copy, Loaded, Note, TextField } from '../ui.js';
import { checkAppName } from './relay.js';

/** Addresses of a stream; domain '' is the origin's own. They are signed where there is a key. */
export const readURLs = (domain, app, stream, signal) =>
  get(domain ? path('domains', domain, 'urls') : path('origin', 'urls'), { signal, query: { app_name: app, stream } });

function protocol(url) {
  const way = url.split('?')[0];
  if (url.startsWith('rtmp')) return 'RTMP';
  if (way.endsWith('.flv')) return 'HTTP-FLV';
  if (way.endsWith('/ll.m3u8')) return 'LL-HLS';
  return way.endsWith('/master.m3u8') ? t('HLS, all sizes') : 'HLS';
}

/** Text fields for the stream, and its addresses below them. */
export function URLMaker({ domain }) {
  const [app, setApp] = useState('live');
  const [stream, setStream] = useState('test');
  const [settled, setSettled] = useState({ app, stream });
  useEffect(() => {
    const timer = setTimeout(() => setSettled({ app, stream }), 300);
    return () => clearTimeout(timer);
  }, [app, stream]);
  return html`<div class="inline"><${TextField} label="AppName" value=${app} oninput=${setApp} wrong=${checkAppName(app)} />
      <${TextField} label=${t('Stream name')} value=${stream} oninput=${setStream} /></div>
    <p class="hint">${t('Relayed streams are named AppID_ChannelID_UserID_camera, and AppID_ChannelID_mix.')}</p>
    ${settled.stream && !checkAppName(settled.app) ? html`<${Addresses} domain=${domain} app=${settled.app} stream=${settled.stream} />`
      : html`<p class="soft">${t('Give an AppName and a stream name.')}</p>`}`;
}

/** The addresses of one stream. onair: it is here now, so what takes it plays it, too; sizes: renditions are made of it. */
export function Addresses({ domain, app, stream, onair, sizes }) {
  const load = useLoad(async (signal) => {
    const urls = await readURLs(domain, app, stream, signal);
    return { ...urls, closed: !domain && !urls.expires && await refused(urls.play, signal) };
  }, [domain, app, stream]);
  const again = html`<${Button} icon="refresh" busy=${load.loading} onclick=${load.reload}>${t('Sign anew')}<//>`;
  return html`<div class="addresses"><${Loaded} load=${load}>${({ ingest, play, expires, closed }) => html`
    <dl class="facts">
      ${!onair && html`<dt>${t('Ingest')}</dt><dd><${Copy} text=${ingest} /></dd>`}
      ${watched({ ingest, play, expires, onair, sizes }).map((url) => html`<dt>${t('Play, {protocol}', { protocol: protocol(url) })}</dt><dd><${Copy} text=${url} /></dd>`)}
    </dl>
    ${closed ? html`<${Note} kind="warn">${t('The server refuses these addresses: a streaming domain has a key, so hosts of no domain are closed. origin.auth_key in the config signs them, origin.open opens them.')}<//>`
      : expires ? html`<${Expiry} of=${expires} /><div>${again}</div>` : html`<p class="hint">${t('They are not signed: there is no key.')}</p>`}
    ${!play.length && html`<p class="hint">${t('The domain has no address for players.')}</p>`}`}<//></div>`;
}

/** Addresses that play the stream; one that is not signed can be written here, too. */
function watched({ ingest, play, expires, onair, sizes }) {
  const hls = play.find((url) => url.endsWith('.m3u8') && !url.endsWith('/ll.m3u8'));
  const all = [...play, ...(onair ? [ingest] : []), ...(sizes && hls && !expires ? [hls.replace(/\.m3u8$/, '/master.m3u8')] : [])];
  return [...new Set(all)];
}

/** Whether this server closes an address that is not signed, at the host of this page. */
async function refused(play, signal) {
  const flv = play.find((url) => url.endsWith('.flv'));
  if (!flv) return false;
  const response = await fetch(new URL(flv).pathname, { method: 'HEAD', signal }).catch(() => null);
  return response?.status === 403;
}

/** Until when signed addresses hold, counted down. */
function Expiry({ of }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = (new Date(of) - now) / 1000;
  return left <= 0 ? html`<${Note} kind="warn">${t('The signatures have expired. What plays goes on; a new connection needs new addresses.')}<//>`
    : html`<${Note}>${t('Signed; a connection can be opened with them until {time}.', { time: date(of) })} ${t('{time} left.', { time: span(left) })}<//>`;
}
