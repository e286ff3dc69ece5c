// The overview of an application: what to do with it next, its keys, its name, what tokens it takes, and its end.
import { html, useState } from '../preact.js';
import { get, patch, path, post, remove } from '../api.js';
import { go, to, useAction } from '../hooks.js';
import { t, span } from '../i18n.js';
import { Badge, Button, Card, Confirm, Copy, FormDialog, Note, PageHead, SelectField, TextField, Time, Trouble, toast } from '../ui.js';
import { State } from './applications.js';

export function Application({ app, changed }) {
  const [open, setOpen] = useState('');
  const close = () => setOpen('');
  return html`<${PageHead} title=${app.name}>
      <${Button} icon="edit" disabled=${app.config} onclick=${() => setOpen('rename')}>${t('Rename')}<//><//>
    <${Card}>
      <dl class="facts">
        <dt>AppID</dt><dd><${Copy} text=${app.id} label=${t('Copy the AppID')} /></dd>
        <dt>${t('State')}</dt><dd><${State} app=${app} /></dd>
        <dt>${t('Created')}</dt><dd><${Time} of=${app.created} long /></dd>
        <dt>${t('Join tokens')}</dt><dd><${Tokens} app=${app} changed=${changed} /></dd>
      </dl>
      ${app.config && html`<${Note}>${t('This application is in the config file: its name, its AppKey and its end are changed there.')}<//>`}
    <//>
    ${!app.disabled && html`<${Next} app=${app} />`}
    <${Keys} app=${app} />
    <${Card} title=${t('Disable or delete')}>
      <div class="actions">
        ${app.disabled ? html`<${Enable} app=${app} changed=${changed} />` : html`<${Button} onclick=${() => setOpen('disable')}>${t('Disable')}<//>`}
        <${Button} kind="danger" icon="trash" disabled=${app.config} onclick=${() => setOpen('delete')}>${t('Delete')}<//>
      </div>
    <//>
    ${open === 'rename' && html`<${Rename} app=${app} changed=${changed} onclose=${close} />`}
    ${open === 'disable' && html`<${Disable} app=${app} changed=${changed} onclose=${close} />`}
    ${open === 'delete' && html`<${Delete} app=${app} onclose=${close} />`}`;
}

/** What somebody does with a new application: the ways on, in the order in which they are taken. */
function Next({ app }) {
  const page = (end) => to('applications', app.id, end);
  return html`<${Card} title=${t('What next')}><ol class="ways">
    <li><a href=${page('join')}>${t('Join and test')}</a>
      <p>${t('Join a channel with this browser, or get a join token to copy. A channel opens when its first user comes; who is in it is shown on the page Live channels.')}</p></li>
    <li><b>${t('Publish from elsewhere')}</b>
      <p>${t('OBS from version 30, and every other WHIP client, publishes to this address, with a join token as its Bearer Token. Channel and user are names that you choose.')}</p>
      <${Copy} text=${`${location.origin}/whip/${encodeURIComponent(app.id)}/CHANNEL/USER`} label=${t('Copy the address')} /></li>
    <li><a href=${page('relay')}>${t('Stream Relay')}</a>
      <p>${t('Switch it on, and what users publish can be watched with VLC, ffplay and players in pages.')} ${t('The addresses are on the page Streams while a stream is on air.')}</p></li>
    <li><a href=${page('callbacks')}>${t('Callbacks')}</a>
      <p>${t('Your server is told by HTTP who comes, goes and publishes.')}</p></li>
  </ol><//>`;
}

const change = (app, body) => patch(path('applications', app.id), body, { ifMatch: '*' });

function Tokens({ app, changed }) {
  const [choose, busy, problem] = useAction(async (tokens) => {
    await change(app, { tokens });
    toast(t('Saved'));
    await changed();
  });
  return html`<select aria-label=${t('Join tokens')} value=${app.tokens} disabled=${busy} onchange=${(e) => choose(e.target.value)}>
      <option key="any" value="any" selected=${app.tokens === 'any'}>${t('JWT and ARTC tokens')}</option>
      <option key="jwt" value="jwt" selected=${app.tokens === 'jwt'}>${t('JWT alone')}</option>
    </select>
    <p class="hint">${t('A JWT grants only what it names, for instance to watch and not to publish. An ARTC token lets its bearer do everything in its channel.')}</p>
    <${Trouble} error=${problem} />`;
}

function Keys({ app }) {
  const [keys, setKeys] = useState(null);
  const [rotating, setRotating] = useState('');
  const [show, busy, problem] = useAction(async () => setKeys(await get(path('applications', app.id, 'key'))));
  return html`<${Card} title=${t('Keys')} about=${t('The AppKey signs join tokens; the signing key signs callbacks. Whoever has them acts for the application.')}
      actions=${keys ? html`<${Button} icon="hide" onclick=${() => setKeys(null)}>${t('Hide')}<//>` : html`<${Button} icon="key" busy=${busy} onclick=${show}>${t('Show keys')}<//>`}>
    <${Trouble} error=${problem} />
    ${keys && html`<dl class="facts">
      <dt>AppKey</dt><dd><${Key} is=${keys.app_key} rotate=${!app.config && (() => setRotating('rotate-key'))} label=${t('Rotate the AppKey')} /></dd>
      <dt>${t('Signing key')}</dt><dd><${Key} is=${keys.signing_key} rotate=${() => setRotating('rotate-signing-key')} label=${t('Rotate the signing key')} /></dd>
    </dl>`}
    ${rotating && html`<${Rotate} app=${app} which=${rotating} onclose=${() => setRotating('')} done=${setKeys} />`}
  <//>`;
}

const Key = ({ is, rotate, label }) => html`<${Copy} text=${is.current} secret />
  ${rotate && html` <${Button} kind="text" icon="refresh" aria-label=${label} onclick=${rotate}>${t('Rotate')}<//>`}
  ${is.previous && html`<p class="hint"><${Badge} kind="warn">${t('The previous key')}<//> ${t('holds until')} <${Time} of=${is.previous_until} long /></p>`}`;

function Rotate({ app, which, onclose, done }) {
  const [keep, setKeep] = useState('3600');
  const [rotate, busy, problem] = useAction(async () => {
    done(await post(path('applications', app.id, which), { keep_previous_seconds: Number(keep) }));
    toast(t('There is a new key.'));
    onclose();
  });
  const mine = which === 'rotate-key';
  return html`<${FormDialog} title=${mine ? t('Rotate the AppKey') : t('Rotate the signing key')} onclose=${onclose} submit=${rotate} busy=${busy}
      problem=${problem} ok=${t('Rotate')} danger>
    <p>${mine ? t('Tokens that were signed with the old AppKey are taken until it ends. Who is in a channel stays.')
      : t('Callbacks carry a signature of both keys until the old one ends. Give the new key to your receivers before.')}</p>
    <${SelectField} label=${t('Keep the old key for')} value=${keep} onchange=${setKeep}
      options=${[[0, t('no time: it has leaked')], [3600, span(3600)], [21600, span(21600)], [86400, span(86400)]].map(([s, text]) => [String(s), text])} />
  <//>`;
}

function Rename({ app, changed, onclose }) {
  const [name, setName] = useState(app.name);
  const [save, busy, problem] = useAction(async () => {
    await change(app, { name });
    await changed();
    onclose();
  });
  return html`<${FormDialog} title=${t('Rename')} onclose=${onclose} submit=${save} busy=${busy} problem=${problem}>
    <${TextField} label=${t('Instance Name')} value=${name} oninput=${setName} wrong=${problem?.fields?.name} maxlength="128" autofocus /><//>`;
}

function Enable({ app, changed }) {
  const [enable, busy, problem] = useAction(async () => {
    await change(app, { disabled: false });
    await changed();
  });
  return html`<${Button} kind="primary" busy=${busy} onclick=${enable}>${t('Enable')}<//><${Trouble} error=${problem} />`;
}

function Disable({ app, changed, onclose }) {
  const [disable, busy, problem] = useAction(async () => {
    await change(app, { disabled: true });
    await changed();
    onclose();
  });
  return html`<${Confirm} title=${t('Disable {name}?', { name: app.name })} ok=${t('Disable')} onclose=${onclose} act=${disable} busy=${busy} problem=${problem}>
    <p>${t('Its channels and relay tasks end at once. Nobody can join and no task can start until it is enabled again. Everything else is kept.')}</p><//>`;
}

function Delete({ app, onclose }) {
  const [del, busy, problem] = useAction(async () => {
    await remove(path('applications', app.id));
    toast(t('{name} has been deleted.', { name: app.name }));
    go('applications');
  });
  return html`<${Confirm} title=${t('Delete {name}?', { name: app.name })} ok=${t('Delete')} word=${app.id} onclose=${onclose} act=${del} busy=${busy} problem=${problem}>
    <p>${t('Its channels and relay tasks end at once. Its callback tasks, records, events and usage are deleted. There is no way back.')}</p><//>`;
}
