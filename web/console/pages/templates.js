// Templates: what is made of an application's streams at the origin while they are on air: recordings, snapshots, other sizes.
import { html, useState } from '../preact.js';
import { get, list, path, remove, request } from '../api.js';
import { to, useAction, useLoad } from '../hooks.js';
import { t, number, span } from '../i18n.js';
import { Button, Card, Confirm, Empty, Loaded, Note, PageHead, Table, Time, Trouble, toast } from '../ui.js';
import { TemplateDialog } from './template.js';

export const kindName = (kind) => ({ record: t('Recording'), snapshot: t('Snapshots'), transcode: t('Transcoding') })[kind] ?? kind;

export function Templates({ app }) {
  const load = useLoad(async (signal) => {
    const [items, domains, relay] = await Promise.all([list(path('applications', app.id, 'templates'), { signal }), list(path('domains'), { signal }),
      get(path('applications', app.id, 'relay'), { signal })]);
    return { items, domains, relay };
  }, [app.id]);
  const [edited, setEdited] = useState(null); // { data, etag } of a template, or {} for a new one
  const [deleted, setDeleted] = useState(null);
  const [edit, , problem] = useAction(async (template) => setEdited(await request('GET', path('applications', app.id, 'templates', template.id))));
  const create = html`<${Button} kind="primary" icon="plus" disabled=${!load.data} onclick=${() => setEdited({})}>${t('Create Template')}<//>`;
  return html`<${PageHead} title=${t('Templates')} about=${t('What is made of streams while they are on air at the origin inside braid: they are recorded, pictures are taken, or they can be had in smaller sizes, too.')}>
      <${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//>${create}<//>
    <${Note}><p>${t('A template is for every stream of one streaming domain and AppName. It takes effect on relayed streams only when its AppName is the same as that of the stream relay.')} <a
      href=${to('applications', app.id, 'relay')}>${t('Stream Relay')}</a></p><//>
    <${Card}><${Trouble} error=${problem} />
      <${Loaded} load=${load}>${({ items }) => items.length ? html`<${All} app=${app} items=${items} edit=${edit} del=${setDeleted} reload=${load.reload} />`
        : html`<${Empty} icon="template" title=${t('There is no template yet')}><p>${t('Without one a stream can be watched, and nothing of it stays.')}</p>${create}<//>`}<//><//>
    ${edited && html`<${TemplateDialog} app=${app} template=${edited.data} etag=${edited.etag} domains=${load.data.domains} relay=${load.data.relay}
      onclose=${() => setEdited(null)} done=${load.reload} />`}
    ${deleted && html`<${Delete} app=${app} template=${deleted} onclose=${() => setDeleted(null)} done=${load.reload} />`}`;
}

const All = ({ app, items, edit, del, reload }) => html`<${Table} label=${t('Templates')} rows=${items} rowKey=${(x) => x.id} columns=${[
  [t('Template'), (x) => html`<span><b class="rowname nowrap">${kindName(x.kind)}</b><span class="sub mono">${x.id}</span></span>`],
  [t('Streaming Domain'), (x) => x.domain || html`<span class="soft">${t('The origin inside braid')}</span>`],
  ['AppName', (x) => html`<span class="mono">${x.app_name}</span>`],
  [t('Makes'), (x) => html`<${Summary} of=${x} />`],
  [t('Changed'), (x) => html`<${Time} of=${x.updated} />`, 'nowrap'],
  [t('On'), (x) => html`<${OnOff} app=${app} template=${x} reload=${reload} />`],
  [t('Actions'), (x) => html`<span>
    ${x.kind === 'record' && html`<a class="button text" href=${`#/recordings?${new URLSearchParams({ application: app.id, template: x.id })}`} aria-label=${t('Recordings of {id}', { id: x.id })}>${t('Recordings')}</a>`}
    <${Button} kind="text" aria-label=${t('Edit {url}', { url: x.id })} onclick=${() => edit(x)}>${t('Edit')}<//>
    <${Button} kind="text danger" aria-label=${t('Delete {url}', { url: x.id })} onclick=${() => del(x)}>${t('Delete')}<//></span>`, 'end'],
]} />`;

const formats = { fmp4: 'MP4', ts: 'MPEG-TS' };

/** What a template makes, in a line. */
function Summary({ of }) {
  const { record, snapshot, transcode } = of;
  if (record) {
    return html`<span>${record.format.map((f) => formats[f]).join(', ')}, ${t('files of {time}', { time: span(record.segment_seconds) })}<span class="sub">${
      record.retention_days ? t('kept for {n} days', { n: number(record.retention_days) }) : t('kept for ever')}${record.storage ? ` · ${record.storage}` : ''}</span></span>`;
  }
  if (snapshot) {
    return html`<span>${t('JPEG every {time}', { time: span(snapshot.interval_seconds) })}<span class="sub">${
      snapshot.history ? t('the latest and {n} before it', { n: number(snapshot.history) }) : t('the latest alone')}${snapshot.storage ? ` · ${snapshot.storage}` : ''}</span></span>`;
  }
  return transcode.renditions.map((r) => html`<span class="line" key=${r.name}>${r.name}: ${t('{n} lines', { n: r.height })}, ${number(r.bitrate)} kbit/s${r.fps ? `, ${r.fps} fps` : ''}</span>`);
}

/** All of a template that PUT wants. */
export const written = (template) => ({ kind: template.kind, domain: template.domain, app_name: template.app_name, disabled: template.disabled, [template.kind]: template[template.kind] });

function OnOff({ app, template, reload }) {
  const [turn, busy, problem] = useAction(async (on) => {
    const at = path('applications', app.id, 'templates', template.id);
    const { data, etag } = await request('GET', at);
    await request('PUT', at, { body: { ...written(data), disabled: !on }, ifMatch: etag });
    toast(on ? t('The template is on. It applies at once.') : t('The template is off. What it has made stays.'));
    await reload();
  });
  return html`<span class="switch"><input key=${problem ? 'again' : ''} type="checkbox" role="switch" aria-label=${t('{id} is on', { id: template.id })} checked=${!template.disabled} disabled=${busy}
      onchange=${(e) => turn(e.target.checked)} /></span><${Trouble} error=${problem} />`;
}

function Delete({ app, template, onclose, done }) {
  const [del, busy, problem] = useAction(async () => {
    await remove(path('applications', app.id, 'templates', template.id));
    toast(t('The template has been deleted.'));
    done();
    onclose();
  });
  return html`<${Confirm} title=${t('Delete {name}?', { name: template.id })} ok=${t('Delete')} onclose=${onclose} act=${del} busy=${busy} problem=${problem}>
    <p>${t('What it makes of streams that are on air ends at once. Files and pictures that it has made stay.')}</p><//>`;
}
