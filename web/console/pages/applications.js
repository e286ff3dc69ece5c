// The Applications page: all of them, and a new one.
import { html, useState } from '../preact.js';
import { list, path, post } from '../api.js';
import { go, to, useAction, useLoad } from '../hooks.js';
import { t } from '../i18n.js';
import { Badge, Button, Card, Copy, Empty, FormDialog, Loaded, PageHead, Table, TextField, Time, toast } from '../ui.js';

export function Applications() {
  const load = useLoad((signal) => list(path('applications'), { signal }), []);
  const [creating, setCreating] = useState(false);
  const create = html`<${Button} kind="primary" icon="plus" onclick=${() => setCreating(true)}>${t('Create Application')}<//>`;
  return html`<${PageHead} title=${t('Applications')} about=${t('An application is a tenant: its own channels, keys, relay settings and callbacks.')}>
      <${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//>${create}<//>
    <${Card}><${Loaded} load=${load} empty=${html`<${Empty} icon="apps" title=${t('There is no application yet')}>
        <p>${t('Create one, then join a channel of it or let your server make tokens with its AppKey.')}</p>${create}<//>`}>
      ${(items) => html`<${Table} label=${t('Applications')} rows=${items} rowKey=${(a) => a.id} columns=${[
        [t('Instance Name'), (a) => html`<a class="rowname" href=${to('applications', a.id)}>${a.name}</a>`],
        ['AppID', (a) => html`<${Copy} text=${a.id} label=${t('Copy the AppID')} />`],
        [t('State'), (a) => html`<${State} app=${a} />`],
        [t('Created'), (a) => html`<${Time} of=${a.created} />`, 'nowrap'],
        [t('Actions'), (a) => html`<span><a class="button text" href=${to('applications', a.id)} aria-label=${t('Manage {name}', { name: a.name })}>${t('Manage')}</a></span>`, 'end'],
      ]} />`}<//><//>
    ${creating && html`<${Create} onclose=${() => setCreating(false)} />`}`;
}

export const State = ({ app }) => app.disabled ? html`<${Badge} kind="warn">${t('Disabled')}<//>` : html`<${Badge} kind="good">${t('Enabled')}<//>`;

function Create({ onclose }) {
  const [name, setName] = useState('');
  const [id, setId] = useState('');
  const [create, busy, problem] = useAction(async () => {
    const made = await post(path('applications'), id ? { name, id } : { name });
    toast(t('{name} has been created.', { name: made.name }));
    go('applications', made.id);
  });
  const fields = problem?.fields ?? {};
  return html`<${FormDialog} title=${t('Create Application')} onclose=${onclose} submit=${create} busy=${busy} problem=${problem} ok=${t('Create')}>
    <${TextField} label=${t('Instance Name')} value=${name} oninput=${setName} wrong=${fields.name} maxlength="128" name="name" autofocus
      hint=${t('1 to 128 characters. It can be changed later.')} />
    <${TextField} label="AppID" optional value=${id} oninput=${setId} wrong=${fields.id} maxlength="64" name="id"
      hint=${t('1 to 64 letters, digits, _ and -. Left empty, braid makes one. It stays as it is.')} />
  <//>`;
}
