// Recordings: the files that were made of the origin's streams; to watch, to download, to delete.
import { html, useState } from '../preact.js';
import { bearer, get, list, path, remove } from '../api.js';
import { useAction, useLoad, usePages } from '../hooks.js';
import { t, bytes, number, span } from '../i18n.js';
import { StreamVideo } from '../player.js';
import { Badge, Button, Card, Confirm, Dialog, Empty, Loaded, Note, PageHead, SelectField, Table, TextField, Time, Trouble, toast } from '../ui.js';

const filters = ['application', 'template', 'app', 'stream', 'state', 'from', 'to'];
const utc = (local) => local ? new Date(local).toISOString() : '';

export function Recordings({ route, me }) {
  const [filter, setFilter] = useState(() => Object.fromEntries(filters.map((name) => [name, route.query.get(name) ?? ''])));
  const set = (name) => (value) => setFilter((f) => ({ ...f, [name]: value, ...(name === 'application' ? { template: '' } : {}) }));
  const apps = useLoad((signal) => list(path('applications'), { signal }), []);
  const named = (apps.data ?? []).map((a) => [a.id, a.name]);
  if (filter.application && !named.some(([id]) => id === filter.application)) named.push([filter.application, filter.application]);
  return html`<${PageHead} title=${t('Recordings')} about=${t('Files that templates have made of the origin’s streams.')} />
    <${Card}>
      <div class="inline filters">
        <${SelectField} label=${t('Application')} value=${filter.application} onchange=${set('application')} options=${[['', t('all')], ...named]} />
        <${TextField} label=${t('Stream')} value=${filter.stream} oninput=${set('stream')} maxlength="255" />
        <${TextField} label="AppName" value=${filter.app} oninput=${set('app')} maxlength="255" />
        <${SelectField} label=${t('State')} value=${filter.state} onchange=${set('state')} options=${[['', t('all')], ...Object.entries(states).map(([id, [word]]) => [id, t(word)])]} />
        <${TextField} label=${t('From')} type="datetime-local" value=${filter.from} oninput=${set('from')} />
        <${TextField} label=${t('To')} type="datetime-local" value=${filter.to} oninput=${set('to')} />
      </div>
      ${filter.template && html`<p class="inline"><span>${t('Of the template {id} alone.', { id: filter.template })}</span><${Button} kind="text" onclick=${() => set('template')('')}>${t('Show all')}<//></p>`}
      <${Files} filter=${filter} me=${me} />
    <//>`;
}

const states = { open: ['being recorded', 'good'], done: ['waits for its upload', 'warn'], kept: ['kept', ''] };

function State({ of }) {
  const [word, kind] = states[of] ?? [of, ''];
  return html`<${Badge} kind=${kind}>${t(word)}<//>`;
}

const codecNames = { H264: 'H.264', H265: 'H.265' };
const form = (f) => [{ ts: 'MPEG-TS', hls: 'HLS', mp3: 'MP3' }[f.format] ?? 'MP4', f.video && (codecNames[f.video] ?? f.video), f.audio, f.width && `${f.width}×${f.height}`].filter(Boolean);

function Files({ filter, me }) {
  const query = { ...filter, from: utc(filter.from), to: utc(filter.to) };
  const load = usePages((cursor, signal) => get(path('recordings'), { signal, query: { ...query, limit: 50, cursor } }), [query]);
  const [played, setPlayed] = useState(null);
  const [deleted, setDeleted] = useState(null);
  const narrowed = Object.values(filter).some(Boolean);
  return html`<div class="actions between"><span class="soft">${load.data?.items.length > 0 && t('{n} shown, the newest first', { n: number(load.data.items.length) })}</span>
      <${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//></div>
    <${Loaded} load=${load}>${({ items, next }) => !items.length ? html`<${Empty} icon="film" title=${narrowed ? t('No recording is like this') : t('There are no recordings yet')}>
        <p>${narrowed ? t('Names are compared exactly. Widen the filter, or clear it.') : t('A template of the kind recording makes them, of an application: it records each stream of its domain and AppName.')}</p>
        ${!narrowed && html`<a class="button" href="#/applications">${t('Applications')}</a>`}<//>`
      : html`<${Table} label=${t('Recordings')} rows=${items} rowKey=${(f) => f.id} columns=${[
          [t('Begin'), (f) => html`<${Time} of=${f.begin} />`, 'nowrap'],
          [t('Stream'), (f) => html`<span><b class="rowname">${f.stream}</b><span class="sub">${[f.domain, f.app].filter(Boolean).join(' · ')}</span></span>`],
          [t('File'), (f) => html`<span>${form(f)[0]}<span class="sub">${form(f).slice(1).join(' · ')}</span></span>`],
          [t('Duration'), (f) => f.duration_ms ? span(f.duration_ms / 1000) : html`<span class="soft">–</span>`, 'num nowrap'],
          [t('Size'), (f) => f.size ? bytes(f.size) : html`<span class="soft">–</span>`, 'num nowrap'],
          [t('State'), (f) => html`<span><${State} of=${f.state} />${f.recovered && html`<span class="sub">${t('cut by a crash, mended')}</span>`}</span>`],
          [t('Kept until'), (f) => f.expires ? html`<${Time} of=${f.expires} />` : html`<span class="soft">${f.state === 'open' ? '–' : t('for ever')}</span>`, 'nowrap'],
          [t('Actions'), (f) => html`<span>
            <${Button} kind="text" aria-label=${t('Play {name}', { name: f.name })} onclick=${() => setPlayed(f)}>${t('Play')}<//>
            <${Download} file=${f} />
            ${me.role !== 'viewer' && html`<${Button} kind="text danger" disabled=${f.state === 'open'} aria-label=${t('Delete {name}', { name: f.name })} onclick=${() => setDeleted(f)}>${t('Delete')}<//>`}</span>`, 'end'],
        ]} />
        ${next && html`<div><${Button} busy=${load.loading} onclick=${load.more}>${t('Show more')}<//></div>`}`}<//>
    ${played && html`<${Play} file=${played} onclose=${() => setPlayed(null)} />`}
    ${deleted && html`<${Delete} file=${deleted} onclose=${() => setDeleted(null)} done=${load.reload} />`}`;
}

const fileName = (f) => f.name.split('/').pop();

/** A link; with an admin token, which a link cannot carry, a button that fetches the file. */
function Download({ file }) {
  const [fetched, busy, problem] = useAction(async () => {
    const link = Object.assign(document.createElement('a'), { download: fileName(file), href: URL.createObjectURL(await content(file)) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
  const label = t('Download {name}', { name: file.name });
  return bearer() ? html`<${Button} kind="text" busy=${busy} aria-label=${label} onclick=${fetched}>${t('Download')}<//><${Trouble} error=${problem} />`
    : html`<a class="button text" href=${file.content} download=${fileName(file)} aria-label=${label}>${t('Download')}</a>`;
}

async function content(file) {
  const response = await fetch(file.content, { headers: { Authorization: `Bearer ${bearer()}` } });
  if (!response.ok) throw new Error(t('The server answered {code}.', { code: response.status }));
  return response.blob();
}

function Play({ file, onclose }) {
  return html`<${Dialog} wide title=${t('{stream}, {time}', { stream: file.stream, time: new Date(file.begin).toLocaleString() })} onclose=${onclose}>
    <div class="body">
      ${file.format === 'hls' ? html`<${Slices} file=${file} />` : file.format === 'ts' ? html`<${Segment} file=${file} />` : html`<${Film} file=${file} />`}
      <dl class="facts">
        <dt>${t('File')}</dt><dd class="mono">${file.name}</dd>
        <dt>${t('Media')}</dt><dd>${form(file).join(' · ')}</dd>
        <dt>${t('Storage')}</dt><dd>${file.storage || t('this server’s directory')}</dd>
        <dt>${t('Template')}</dt><dd>${file.application ? `${file.application} / ${file.template}` : '–'}</dd>
      </dl>
    </div>
    <footer><${Download} file=${file} /><${Button} onclick=${onclose}>${t('Close')}<//></footer>
  <//>`;
}

const Segment = ({ file }) => html`<${StreamVideo} key=${file.id} kind="mpegts" url=${new URL(file.content, location.origin).href} label=${file.name} />`;

/** The slices of an HLS playlist, one at a time. */
function Slices({ file }) {
  const [at, setAt] = useState(0);
  const load = useLoad(async (signal) => (await list(path('recordings'), { signal, most: 1000, query: { playlist: file.id } })).reverse(), [file.id]);
  return html`<${Loaded} load=${load}>${(slices) => slices.length > 0 && html`<${Segment} file=${slices[at]} />
    <div class="actions between">
      <${Button} disabled=${at === 0} onclick=${() => setAt(at - 1)}>${t('Earlier slice')}<//>
      <span>${t('Slice {n} of {all}', { n: at + 1, all: slices.length })} <${Download} file=${slices[at]} /></span>
      <${Button} disabled=${at === slices.length - 1} onclick=${() => setAt(at + 1)}>${t('Later slice')}<//>
    </div>`}<//>`;
}

/** An MP4 file in the browser's own player. */
function Film({ file }) {
  const [wrong, setWrong] = useState('');
  const token = bearer();
  const load = useLoad(async () => token ? URL.createObjectURL(await content(file)) : file.content, [file.id]);
  return html`<${Loaded} load=${load}>${(src) => html`<div class="watch">
    <video src=${src} controls autoplay playsinline aria-label=${file.name} onerror=${(e) => setWrong(e.target.error?.message || String(e.target.error?.code))}></video>
    ${wrong && html`<${Note} kind="bad" role="alert">${t('This browser cannot play what comes: {why}', { why: wrong })}<//>`}</div>`}<//>`;
}

function Delete({ file, onclose, done }) {
  const [del, busy, problem] = useAction(async () => {
    await remove(path('recordings', file.id));
    toast(t('The file has been deleted.'));
    done();
    onclose();
  });
  return html`<${Confirm} title=${t('Delete this recording?')} ok=${t('Delete')} onclose=${onclose} act=${del} busy=${busy} problem=${problem}>
    <p class="mono">${file.name}</p><p>${t('{size}, {time}. The file is removed where it is kept. There is no way back.', { size: bytes(file.size), time: span(file.duration_ms / 1000) })}</p><//>`;
}
