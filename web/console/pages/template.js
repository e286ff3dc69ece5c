// The dialog of one template: its streams, and by its kind what is made of them.
import { html, useState } from '../preact.js';
import { path, post, request } from '../api.js';
import { useAction } from '../hooks.js';
import { t } from '../i18n.js';
import { Button, Check, FormDialog, IconButton, Note, SelectField, Switch, TextField, toast } from '../ui.js';
import { checkAppName } from './relay.js';

const recordName = '{domain}/{app}/{stream}/{start}_{sequence}';
const snapshotName = '{domain}/{app}/{stream}/{time}';

/** Sizes that "Add a size" offers, one after the other. */
const ladder = [['720p', 720, 2000], ['480p', 480, 1000], ['360p', 360, 600], ['1080p', 1080, 4000], ['240p', 240, 300], ['180p', 180, 200]];
const rung = ([name, height, bitrate]) => ({ name, height: String(height), bitrate: String(bitrate), fps: '0' });

/** A template as the form has it: numbers are texts while they are written. */
function draft(template, relay) {
  const { record = {}, snapshot = {}, transcode } = template ?? {};
  const text = (value, or) => String(value ?? or);
  return {
    kind: template?.kind ?? 'record', id: '', domain: template?.domain ?? relay.domain, app: template?.app_name ?? relay.app_name, on: !template?.disabled,
    fmp4: record.format?.includes('fmp4') ?? true, ts: record.format?.includes('ts') ?? false, segment: text(record.segment_seconds, 1800),
    retention: text(record.retention_days, 0), recordName: record.name ?? recordName,
    interval: text(snapshot.interval_seconds, 10), history: text(snapshot.history, 0), snapshotName: snapshot.name ?? snapshotName,
    storage: record.storage ?? snapshot.storage ?? '',
    sizes: transcode ? transcode.renditions.map((r) => ({ name: r.name, height: String(r.height), bitrate: String(r.bitrate), fps: String(r.fps) })) : ladder.slice(0, 2).map(rung),
  };
}

/** A number, or the text as it is: the server says what is wrong with it. */
const whole = (text) => /^-?\d{1,9}$/.test(text.trim()) ? Number(text) : text;

function body(s) {
  const out = { kind: s.kind, domain: s.domain, app_name: s.app, disabled: !s.on };
  if (s.kind === 'record') {
    out.record = { format: [s.fmp4 && 'fmp4', s.ts && 'ts'].filter(Boolean), segment_seconds: whole(s.segment), retention_days: whole(s.retention), name: s.recordName.trim(), storage: s.storage.trim() };
  } else if (s.kind === 'snapshot') {
    out.snapshot = { interval_seconds: whole(s.interval), history: whole(s.history), name: s.snapshotName.trim(), storage: s.storage.trim() };
  } else {
    out.transcode = { renditions: s.sizes.map((r) => ({ name: r.name.trim(), height: whole(r.height), bitrate: whole(r.bitrate), fps: whole(r.fps || '0') })) };
  }
  return out;
}

export function TemplateDialog({ app, template, etag, domains, relay, onclose, done }) {
  const [s, setS] = useState(() => draft(template, relay));
  const set = (change) => setS((now) => ({ ...now, ...change }));
  const wrongApp = checkAppName(s.app);
  const [save, busy, problem] = useAction(async () => {
    if (wrongApp) return;
    if (template) await request('PUT', path('applications', app.id, 'templates', template.id), { body: body(s), ifMatch: etag });
    else await post(path('applications', app.id, 'templates'), s.id.trim() ? { id: s.id.trim(), ...body(s) } : body(s));
    toast(template ? t('The template has been changed. It applies at once.') : t('The template has been created. It applies at once.'));
    done();
    onclose();
  });
  const fields = problem?.fields ?? {};
  const Kind = { record: Recording, snapshot: Snapshots, transcode: Transcoding }[s.kind];
  const elsewhere = relay.enabled && (relay.app_name !== s.app || relay.domain !== s.domain);
  return html`<${FormDialog} wide title=${template ? t('Edit {url}', { url: template.id }) : t('Create Template')} onclose=${onclose} submit=${save} busy=${busy} problem=${problem} ok=${template ? t('Save') : t('Create')}>
    <${Switch} label=${t('On')} checked=${s.on} onchange=${(on) => set({ on })} />
    <div class="pair">
      <${SelectField} label=${t('Kind')} value=${s.kind} onchange=${(kind) => set({ kind })} disabled=${!!template} wrong=${fields.kind}
        options=${[['record', t('Recording')], ['snapshot', t('Snapshots')], ['transcode', t('Transcoding')]]} />
      ${!template && html`<${TextField} label="ID" optional value=${s.id} oninput=${(id) => set({ id })} wrong=${fields.id} maxlength="64" name="id" hint=${t('Letters, digits, _ and -. Left empty, braid makes one.')} />`}
      <${SelectField} label=${t('Streaming Domain')} value=${s.domain} onchange=${(domain) => set({ domain })} wrong=${fields.domain}
        options=${[['', t('The origin inside braid')], ...domains.map((d) => [d.name, d.name])]} />
      <${TextField} label="AppName" value=${s.app} oninput=${(value) => set({ app: value })} wrong=${wrongApp || fields.app_name} name="app_name" hint=${t('The same as that of the stream relay.')} />
    </div>
    ${elsewhere && html`<${Note} kind="warn">${t('The stream relay of this application goes to {domain} with the AppName {name}: its streams are not those of this template.',
      { domain: relay.domain || t('the origin inside braid'), name: relay.app_name })}<//>`}
    <${Kind} s=${s} set=${set} fields=${fields} />
  <//>`;
}

function Recording({ s, set, fields }) {
  return html`<fieldset><legend>${t('Format')}</legend>
      <${Check} label="MP4" checked=${s.fmp4} onchange=${(fmp4) => set({ fmp4 })} hint=${t('Fragmented, so that a crash costs nothing of what is written. With H.264, H.265, AV1, VP9, AAC and Opus.')} />
      <${Check} label="MPEG-TS" checked=${s.ts} onchange=${(ts) => set({ ts })} hint=${t('With H.264, H.265 and AAC.')} />
      ${fields['record.format'] && html`<p class="problem" role="alert">${fields['record.format']}</p>`}</fieldset>
    <div class="pair">
      <${TextField} label=${t('Segment length (seconds)')} value=${s.segment} oninput=${(segment) => set({ segment })} wrong=${fields['record.segment_seconds']} inputmode="numeric"
        hint=${t('10 to 7,200: a file ends at the first key frame after so long.')} />
      <${TextField} label=${t('Kept for (days)')} value=${s.retention} oninput=${(retention) => set({ retention })} wrong=${fields['record.retention_days']} inputmode="numeric" hint=${t('0: for ever.')} />
    </div>
    <${TextField} label=${t('File names')} value=${s.recordName} oninput=${(name) => set({ recordName: name })} wrong=${fields['record.name']} class="mono"
      hint=${t('With {stream}, and {start} and {sequence} or {date} and {time}; also {domain} and {app}. Times are those of UTC.')} />
    <${Storage} s=${s} set=${set} wrong=${fields['record.storage']} />`;
}

function Snapshots({ s, set, fields }) {
  return html`<div class="pair">
      <${TextField} label=${t('A picture every (seconds)')} value=${s.interval} oninput=${(interval) => set({ interval })} wrong=${fields['snapshot.interval_seconds']} inputmode="numeric" hint=${t('1 to 3,600.')} />
      <${TextField} label=${t('Pictures kept beside the latest')} value=${s.history} oninput=${(history) => set({ history })} wrong=${fields['snapshot.history']} inputmode="numeric" hint=${t('0 to 10,000. The oldest go.')} />
    </div>
    <${TextField} label=${t('File names')} value=${s.snapshotName} oninput=${(name) => set({ snapshotName: name })} wrong=${fields['snapshot.name']} class="mono"
      hint=${t('With {stream}, and {time} or {sequence}.')} />
    <${Storage} s=${s} set=${set} wrong=${fields['snapshot.storage']} />`;
}

const Storage = ({ s, set, wrong }) => html`<${TextField} label=${t('Storage')} optional value=${s.storage} oninput=${(storage) => set({ storage })} wrong=${wrong}
  hint=${t('Left empty: this server’s directory. Else the name of an S3 storage in the config.')} />`;

function Transcoding({ s, set, fields }) {
  const change = (n, to) => set({ sizes: s.sizes.map((r, i) => i === n ? { ...r, ...to } : r) });
  const add = () => set({ sizes: [...s.sizes, rung(ladder.find(([name]) => !s.sizes.some((r) => r.name === name)) ?? ladder[0])] });
  const wrong = (n, field) => fields[`transcode.renditions[${n}].${field}`];
  return html`<fieldset><legend>${t('Sizes')}</legend>
    <p class="hint">${t('One decoding, shared by all. Each is a stream of its own, {name}, and all are in the master playlist of HLS.', { name: '{stream}_720p' })}</p>
    ${fields['transcode.renditions'] && html`<p class="problem" role="alert">${fields['transcode.renditions']}</p>`}
    ${s.sizes.map((r, n) => html`<div class="rendition" role="group" aria-label=${t('Size {n}', { n: n + 1 })}>
      <${TextField} label=${t('Name')} value=${r.name} oninput=${(name) => change(n, { name })} wrong=${wrong(n, 'name')} maxlength="16" />
      <${TextField} label=${t('Height (pixels)')} value=${r.height} oninput=${(height) => change(n, { height })} wrong=${wrong(n, 'height')} inputmode="numeric" />
      <${TextField} label="kbit/s" value=${r.bitrate} oninput=${(bitrate) => change(n, { bitrate })} wrong=${wrong(n, 'bitrate')} inputmode="numeric" />
      <${TextField} label=${t('Pictures a second')} value=${r.fps} oninput=${(fps) => change(n, { fps })} wrong=${wrong(n, 'fps')} inputmode="numeric" />
      <${IconButton} icon="trash" label=${t('Remove size {n}', { n: n + 1 })} disabled=${s.sizes.length === 1} onclick=${() => set({ sizes: s.sizes.filter((_, i) => i !== n) })} />
    </div>`)}
    <p class="hint">${t('Height 120 to 1,080 and even, 50 to 10,000 kbit/s; 0 pictures a second: as many as the source has.')}</p>
    <div><${Button} icon="plus" disabled=${s.sizes.length >= 6} onclick=${add}>${t('Add a size')}<//></div>
  </fieldset>`;
}
