// Streaming domains: live origins that relays push to, and the addresses of streams at them.
import { html, useState } from '../preact.js';
import { get, list, patch, path, post, remove, request } from '../api.js';
import { useAction, useLoad } from '../hooks.js';
import { t, span } from '../i18n.js';
import { Badge, Button, Card, Check, Confirm, Copy, Dialog, Empty, FormDialog, Loaded, Note, PageHead, SelectField, Table, TextField, Trouble, toast } from '../ui.js';
import { URLMaker, readOrigin } from './urls.js';

export function Domains({ route }) {
  const load = useLoad((signal) => list(path('domains'), { signal }), []);
  const own = useLoad(readOrigin, []);
  const changed = () => {
    load.reload();
    own.reload();
  };
  const [edited, setEdited] = useState(route.query.has('add') ? {} : null);
  const [deleted, setDeleted] = useState(null);
  const [shown, setShown] = useState(null);
  const [keyed, setKeyed] = useState(null);
  const add = html`<${Button} kind="primary" icon="plus" onclick=${() => setEdited({})}>${t('Add Domain')}<//>`;
  return html`<${PageHead} title=${t('Streaming domains')} about=${t('Live origins that streams are relayed to, where they are watched, transcoded and recorded.')}>
      <${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//>${add}<//>
    <${Card}><${Loaded} load=${load} empty=${html`<${Empty} icon="globe" title=${t('There is no streaming domain yet')}>
        <p>${t('Relays go to the origin inside braid meanwhile. Add a domain to push to a CDN or to another server.')}</p>${add}<//>`}>
      ${(items) => html`<${Table} label=${t('Streaming domains')} rows=${items} rowKey=${(d) => d.name} columns=${[
        [t('Domain'), (d) => html`<span><b class="rowname">${d.name}</b>${d.rts2 && html`<span class="sub"><${Badge} kind="warn">${t('RTS 2.0 is on: relays fail')}<//></span>`}</span>`],
        [t('Ingest'), (d) => html`<span class="mono">${d.ingest}</span>`],
        [t('Play'), (d) => d.play ? html`<span class="mono">${d.play}</span>` : html`<span class="soft">–</span>`],
        [t('URL signing'), (d) => d.signed ? html`<${Badge} kind="good">${t('for {time}', { time: span(d.auth_validity_seconds) })}<//>` : html`<span class="soft">${t('off')}</span>`, 'nowrap'],
        [t('Actions'), (d) => html`<span>
          <${Button} kind="text" aria-label=${t('URLs of {name}', { name: d.name })} onclick=${() => setShown(d)}>${t('URLs')}<//>
          ${d.signed && html`<${Button} kind="text" aria-label=${t('Key of {name}', { name: d.name })} onclick=${() => setKeyed(d)}>${t('Key')}<//>`}
          <${Button} kind="text" aria-label=${t('Edit {url}', { url: d.name })} onclick=${() => setEdited(d)}>${t('Edit')}<//>
          <${Button} kind="text danger" aria-label=${t('Delete {url}', { url: d.name })} onclick=${() => setDeleted(d)}>${t('Delete')}<//></span>`, 'end'],
      ]} />`}<//><//>
    <${Inside} key=${own.data?.closed} />
    ${edited && html`<${Edit} domain=${edited} own=${own.data} onclose=${() => setEdited(null)} done=${changed} />`}
    ${deleted && html`<${Delete} domain=${deleted} onclose=${() => setDeleted(null)} done=${changed} />`}
    ${keyed && html`<${Keys} domain=${keyed} onclose=${() => setKeyed(null)} done=${load.reload} />`}
    ${shown && html`<${URLs} domain=${shown} onclose=${() => setShown(null)} />`}`;
}

/** The origin inside braid, with the addresses of a stream there. */
const Inside = () => html`<${Card} title=${t('The origin inside braid')} about=${t('Relays without a domain go here. A stream can be pushed to it by OBS or ffmpeg, too.')}><${URLMaker} domain="" />
  <p class="hint">${t('Its own key is origin.auth_key in the config. Hosts of streaming domains that lead here are checked by the key of their domain.')}</p><//>`;

const URLs = ({ domain, onclose }) => html`<${Dialog} wide title=${t('URLs of {name}', { name: domain.name })} onclose=${onclose}>
  <div class="body"><${URLMaker} domain=${domain.name} /></div>
  <footer><${Button} onclick=${onclose}>${t('Close')}<//></footer>
<//>`;

/** The key of a domain: shown on demand, changed, and how long signatures hold. */
function Keys({ domain, onclose, done }) {
  const [validity, setValidity] = useState(String(domain.auth_validity_seconds));
  const [fresh, setFresh] = useState('');
  const [save, busy, problem] = useAction(async () => {
    const { etag } = await request('GET', path('domains', domain.name));
    await patch(path('domains', domain.name), { auth_validity_seconds: /^\d{1,9}$/.test(validity.trim()) ? Number(validity) : validity, ...(fresh ? { auth_key: fresh } : {}) }, { ifMatch: etag });
    toast(fresh ? t('The domain has a new key. Relays sign with it at once.') : t('The domain has been changed. Relays follow at once.'));
    done();
    onclose();
  });
  const fields = problem?.fields ?? {};
  return html`<${FormDialog} wide title=${t('Key of {name}', { name: domain.name })} onclose=${onclose} submit=${save} busy=${busy} problem=${problem} ok=${t('Save')} danger=${!!fresh}>
    <div class="stack"><span class="label">${t('Key')}</span><${Key} domain=${domain} /></div>
    ${fresh ? html`<${TextField} label=${t('New key')} value=${fresh} oninput=${setFresh} wrong=${fields.auth_key} hint=${t('6 to 128 letters and digits, the same as at the origin.')} />
        <${Note} kind="warn">${t('Addresses that were signed with the old key are refused from then on. What publishes and plays goes on.')}<//>
        <div><${Button} kind="text" onclick=${() => setFresh('')}>${t('Keep the old key')}<//></div>`
      : html`<div><${Button} icon="refresh" onclick=${() => setFresh(randomKey())}>${t('Rotate the key')}<//></div>`}
    <${TextField} label=${t('Signatures hold for (seconds)')} value=${validity} oninput=${setValidity} wrong=${fields.auth_validity_seconds} inputmode="numeric"
      hint=${t('From the time in the address; 1 to 31,622,400 (366 days). A longer time makes addresses that are out already good for longer, too.')} />
  <//>`;
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(32)), (b) => 'abcdefghijklmnopqrstuvwxyz0123456789'[b % 36]).join('');
}

/** A host that the first key of all domains closes; '' when it closes none, or has done so. */
function closes(own) {
  if (!own || own.signed || own.open || own.closed) return '';
  if (own.host_of) return t('the server’s IP address');
  return [...new Set([own.ingest, own.play].map((url) => new URL(url.replace(/^rtmp/, 'http')).hostname))].join(', ');
}

/** own: the origin's own domain, once it is read. */
function Edit({ domain, own, onclose, done }) {
  const old = !!domain.name;
  const [s, setS] = useState({ name: domain.name ?? '', ingest: domain.ingest ?? 'rtmp://', play: domain.play ?? '', rts2: domain.rts2 ?? false,
    signing: domain.signed ? 'keep' : 'off', key: '', validity: String(domain.auth_validity_seconds ?? 1800) });
  const set = (change) => setS((now) => ({ ...now, ...change }));
  const [save, busy, problem] = useAction(async () => {
    const body = { ingest: s.ingest.trim(), play: s.play.trim(), rts2: s.rts2, auth_validity_seconds: Number(s.validity) };
    if (s.signing === 'new') body.auth_key = s.key;
    if (s.signing === 'off') body.auth_key = '';
    if (!old) {
      await post(path('domains'), { name: s.name.trim(), ...body });
    } else {
      const { etag } = await request('GET', path('domains', domain.name));
      await patch(path('domains', domain.name), body, { ifMatch: etag });
    }
    toast(old ? t('The domain has been changed. Relays follow at once.') : t('The domain has been added.'));
    done();
    onclose();
  });
  const fields = problem?.fields ?? {};
  return html`<${FormDialog} wide title=${old ? t('Edit {url}', { url: domain.name }) : t('Add Domain')} onclose=${onclose} submit=${save} busy=${busy} problem=${problem} ok=${old ? t('OK') : t('Add')}>
    <${TextField} label=${t('Domain')} value=${s.name} oninput=${(name) => set({ name: name.toLowerCase() })} wrong=${fields.name} disabled=${old} name="name" autofocus=${!old} placeholder="live.example.com"
      hint=${old ? t('The name stays as it is.') : t('A host name. It names the domain here and in relay settings.')} />
    <${TextField} label=${t('Ingest')} value=${s.ingest} oninput=${(ingest) => set({ ingest })} wrong=${fields.ingest} name="ingest"
      hint=${t('Where streams are pushed to: rtmp://host or rtmps://host, with a port if need be, without a path.')} />
    <${TextField} label=${t('Play')} optional value=${s.play} oninput=${(play) => set({ play })} wrong=${fields.play} name="play" placeholder="https://play.example.com"
      hint=${t('The address that players begin with: http, https, rtmp or rtmps.')} />
    <${SelectField} label=${t('URL signing')} value=${s.signing} onchange=${(signing) => set({ signing, key: signing === 'new' ? randomKey() : '' })}
      options=${[...(domain.signed ? [['keep', t('on, with the key as it is')]] : []), ['new', domain.signed ? t('on, with a new key') : t('on')], ['off', t('off')]]} />
    ${s.signing === 'new' && html`<${TextField} label=${t('Key')} value=${s.key} oninput=${(key) => set({ key })} wrong=${fields.auth_key} hint=${t('6 to 128 letters and digits, the same as at the origin.')} />
      ${closes(own) && html`<${Note} kind="warn">${t('This is the first key here: from then on the origin inside braid refuses everyone at hosts that are in no streaming domain, such as {hosts}. Relays and this console go on. To let others in there, add the host to a domain, or set origin.auth_key or origin.open in the config.', { hosts: closes(own) })}<//>`}`}
    ${s.signing === 'keep' && html`<${Key} domain=${domain} />`}
    ${s.signing !== 'off' && html`<${TextField} label=${t('Signatures hold for (seconds)')} value=${s.validity} oninput=${(validity) => set({ validity })} wrong=${fields.auth_validity_seconds} inputmode="numeric" />`}
    <${Check} label=${t('RTS 2.0 is enabled for this domain')} checked=${s.rts2} onchange=${(rts2) => set({ rts2 })} hint=${t('Relays cannot use the domain then: pulling the relayed stream fails.')} />
  <//>`;
}

function Key({ domain }) {
  const [key, setKey] = useState('');
  const [show, busy, problem] = useAction(async () => setKey((await get(path('domains', domain.name, 'key'))).auth_key));
  return key ? html`<div><${Copy} text=${key} /></div>` : html`<div><${Button} icon="key" busy=${busy} onclick=${show}>${t('Show the key')}<//><${Trouble} error=${problem} /></div>`;
}

function Delete({ domain, onclose, done }) {
  const [del, busy, problem] = useAction(async () => {
    await remove(path('domains', domain.name));
    toast(t('{name} has been deleted.', { name: domain.name }));
    done();
    onclose();
  });
  return html`<${Confirm} title=${t('Delete {name}?', { name: domain.name })} ok=${t('Delete')} onclose=${onclose} act=${del} busy=${busy} problem=${problem}>
    <p>${t('A domain that the relay settings of an application name cannot be deleted.')}</p><//>`;
}
