// The addresses of a stream at a streaming domain, or at the origin inside braid: to push it and to watch it.
import { html, useEffect, useRef, useState } from '../preact.js';
import { get, path } from '../api.js';
import { useLoad } from '../hooks.js';
import { t, date, span } from '../i18n.js';
import { Button, Check, Copy, Loaded, Note, SelectField, TextField } from '../ui.js';
import { checkAppName } from './relay.js';

/**
 * Addresses of a stream; domain '' is the origin's own. They are signed where there is a key.
 * @param {{expiry?: string, forms?: string}} options expiry: seconds, '' for the domain's; forms: common, all, '' for what fits
 */
export const readURLs = (domain, app, stream, signal, { expiry = '', forms = '' } = {}) =>
  get(domain ? path('domains', domain, 'urls') : path('origin', 'urls'), { signal, query: { app_name: app, stream, expires_in: expiry, forms } });

/** Who is let in at hosts of no streaming domain. */
export const readOrigin = (signal) => get(path('origin'), { signal });

function protocol(url) {
  const way = url.split('?')[0];
  if (url.startsWith('rtmp')) return 'RTMP';
  if (way.endsWith('.flv')) return 'HTTP-FLV';
  if (way.endsWith('/ll.m3u8')) return 'LL-HLS';
  if (way.endsWith('/fmp4.m3u8')) return 'HLS, fMP4';
  return way.endsWith('/master.m3u8') ? t('HLS, all sizes') : 'HLS';
}

/** Text fields for the stream, and its addresses below them. */
export function URLMaker({ domain }) {
  const [app, setApp] = useState('live');
  const [stream, setStream] = useState('test');
  const [here, setHere] = useState(false);
  const [settled, setSettled] = useState({ app, stream });
  useEffect(() => {
    const timer = setTimeout(() => setSettled({ app, stream }), 300);
    return () => clearTimeout(timer);
  }, [app, stream]);
  return html`<div class="inline"><${TextField} label="AppName" value=${app} oninput=${setApp} wrong=${checkAppName(app)} />
      <${TextField} label=${t('Stream name')} value=${stream} oninput=${setStream} /></div>
    <p class="hint">${t('Relayed streams are named AppID_ChannelID_UserID_camera, and AppID_ChannelID_mix.')}</p>
    ${domain && html`<${Check} label=${t('The domain leads to the origin inside braid')} checked=${here} onchange=${setHere}
      hint=${t('Then its streams can also be had as low-latency HLS, HLS with fragmented MP4, in all sizes, and over RTMP.')} />`}
    ${settled.stream && !checkAppName(settled.app) ? html`<${Addresses} domain=${domain} app=${settled.app} stream=${settled.stream} forms=${here ? 'all' : ''} />`
      : html`<p class="soft">${t('Give an AppName and a stream name.')}</p>`}`;
}

const lives = ['60', '600', '3600', '86400', '604800']; // seconds

/** The addresses of one stream. onair: it is here now, so it is not to be pushed; sizes: renditions are made of it. */
export function Addresses({ domain, app, stream, onair, sizes, forms }) {
  const [expiry, setExpiry] = useState('');
  const load = useLoad(async (signal) => {
    const [urls, own] = await Promise.all([readURLs(domain, app, stream, signal, { expiry, forms }), domain ? {} : readOrigin(signal)]);
    return { ...urls, own };
  }, [domain, app, stream]);
  const asked = useRef(expiry + forms);
  useEffect(() => { // what is there stays meanwhile, and with it the focus
    if (asked.current !== expiry + forms) load.reload();
    asked.current = expiry + forms;
  }, [expiry, forms]);
  return html`<div class="addresses"><${Loaded} load=${load}>${({ ingest, play, expires, own }) => html`
    <dl class="facts">
      ${!onair && html`<dt>${t('Ingest')}</dt><dd><${Copy} text=${ingest} /></dd>`}
      ${play.filter((url) => !onair || sizes || protocol(url) !== t('HLS, all sizes')).map((url) => html`<dt>${t('Play, {protocol}', { protocol: protocol(url) })}</dt><dd><${Copy} text=${url} /></dd>`)}
    </dl>
    ${own.host_of && html`<${Note} kind="warn">${t('The host in these addresses is one of the streaming domain {name}: take the addresses of that domain.', { name: own.host_of })}<//>`}
    ${own.closed && !own.host_of ? html`<${Note} kind="warn">${t('The server refuses these addresses: a streaming domain has a key, so hosts of no domain are closed. origin.auth_key in the config signs them, origin.open opens them.')}<//>`
      : expires ? html`<div class="inline narrow"><${SelectField} label=${t('They open a connection for')} value=${expiry} onchange=${setExpiry}
            options=${[['', t('as long as the domain says')], ...lives.map((s) => [s, span(Number(s))])]} />
          <div><${Button} icon="refresh" busy=${load.loading} onclick=${load.reload}>${t('Sign anew')}<//></div></div>
        <${Expiry} of=${expires} />` : html`<p class="hint">${t('They are not signed: there is no key.')}</p>`}
    ${!play.length && html`<p class="hint">${t('The domain has no address for players.')}</p>`}`}<//></div>`;
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
