// The node: which braid this is, how it does, what it has to do.
import { html } from '../preact.js';
import { get } from '../api.js';
import { useLoad } from '../hooks.js';
import { t, number, span } from '../i18n.js';
import { Badge, Card, Copy, Loaded, PageHead, Time } from '../ui.js';

export function Node() {
  const load = useLoad((signal) => get('/v1/node', { signal }), [], { every: 5000 });
  return html`<${PageHead} title=${t('Node')} about=${t('The server that this console belongs to.')} />
    <${Loaded} load=${load}>${(n) => html`
      <div class="tiles">
        <${Tile} name=${t('State')}><${Badge} kind=${n.state === 'ok' ? 'good' : 'warn'}>${n.state === 'ok' ? t('healthy') : t('about to end')}<//><//>
        ${[[t('Applications'), n.applications], [t('Open channels'), n.channels], [t('Users'), n.users], [t('WebRTC sessions'), n.sessions], [t('Relay tasks'), n.tasks]].map(([name, value]) => html`<${Tile} key=${name} name=${name}>${number(value)}<//>`)}
      </div>
      <${Card}><dl class="facts">
        <dt>${t('Version')}</dt><dd>${n.version}</dd>
        <dt>${t('Running for')}</dt><dd>${span((Date.now() - new Date(n.started)) / 1000)} <span class="soft">(${t('since')} <${Time} of=${n.started} long />)</span></dd>
        <dt>${t('Data directory')}</dt><dd><${Copy} text=${n.data_dir} /></dd>
        <dt>${t('Store')}</dt><dd>${n.store === 'postgres' ? 'PostgreSQL' : 'SQLite'}</dd>
        <dt>HTTP</dt><dd><${Copy} text=${n.http} /></dd>
        <dt>RTMP</dt><dd><${Copy} text=${n.rtmp} /></dd>
        <dt>${t('Media, UDP and TCP')}</dt><dd><${Copy} text=${n.media} /></dd>
      </dl><//>
      <p class="soft">${t('The server’s own checks, of ports, addresses and disk:')} <code>braid doctor</code>. <a href="/v1/openapi.json">OpenAPI</a></p>`}<//>`;
}

const Tile = ({ name, children }) => html`<div class="tile"><span class="soft">${name}</span><strong>${children}</strong></div>`;
