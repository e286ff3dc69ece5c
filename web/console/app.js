// The console: who is there, the frame around the pages, and which page an address shows.
import { html, render, useEffect, useRef, useState } from './preact.js';
import { bearer, get, onLost, path, request, useBearer } from './api.js';
import { to, useLoad, useRefocus, useRoute } from './hooks.js';
import { t, language, setLanguage } from './i18n.js';
import { Entrance, whoami } from './session.js';
import { Empty, Icon, IconButton, Loaded, Note, Toasts, Trouble } from './ui.js';
import { Applications } from './pages/applications.js';
import { Application } from './pages/application.js';
import { Callbacks } from './pages/callbacks.js';
import { Channels } from './pages/channels.js';
import { ConnectionCheck } from './pages/check.js';
import { Domains } from './pages/domains.js';
import { Join } from './pages/join.js';
import { LayoutEditor } from './pages/layout.js';
import { Node } from './pages/node.js';
import { People } from './pages/people.js';
import { Recordings } from './pages/recordings.js';
import { Records } from './pages/records.js';
import { Relay } from './pages/relay.js';
import { Streams } from './pages/streams.js';
import { Task } from './pages/tasks.js';
import { Templates } from './pages/templates.js';
import { Usage } from './pages/usage.js';

// Pages of an application: the end of their address, name, icon, content.
const inside = [
  ['', 'Overview', 'home', Application],
  ['channels', 'Live channels', 'users', Channels],
  ['relay', 'Stream Relay', 'relay', Relay],
  ['templates', 'Templates', 'template', Templates],
  ['callbacks', 'Callbacks', 'bell', Callbacks],
  ['records', 'Callback Records', 'list', Records],
  ['usage', 'Usage', 'chart', Usage],
  ['join', 'Join and test', 'play', Join],
];

// Pages of the server.
const outside = [
  ['applications', 'Applications', 'apps', Applications],
  ['domains', 'Streaming domains', 'globe', Domains],
  ['streams', 'Streams', 'stream', Streams],
  ['recordings', 'Recordings', 'film', Recordings],
  ['check', 'Connection check', 'pulse', ConnectionCheck],
  ['node', 'Node', 'node', Node],
  ['people', 'Administrators', 'key', People],
];

// Those of them that have pages below them.
const deep = ['people', 'streams'];

function Console() {
  const [state, setState] = useState({ asked: false, session: null, problem: null });
  const ask = async () => {
    try {
      setState({ asked: true, session: await whoami(), problem: null });
    } catch (problem) {
      setState((s) => ({ ...s, problem }));
    }
  };
  useEffect(() => {
    onLost(() => { useBearer(''); ask(); });
    ask();
  }, []);
  const { asked, session, problem } = state;
  useRefocus(asked ? session?.user ?? '' : undefined); // who has signed in goes on with the page
  if (!asked && problem) return html`<div class="entrance"><main class="card"><${Trouble} error=${problem} again=${ask} /></main></div>`;
  if (!asked) return html`<p class="loading" role="status">${t('Loading …')}</p>`;
  const me = bearer() ? { user: t('admin token'), role: 'admin', secure: isSecureContext, token: true } : session;
  return me?.user ? html`<${Frame} me=${me} />` : html`<${Entrance} session=${session} entered=${ask} />`;
}

function Frame({ me }) {
  const route = useRoute();
  const [open, setOpen] = useState(false);
  const main = useRef(null);
  const address = route.parts.join('/');
  useRefocus(address, () => { // a new page is read from its top
    setOpen(false);
    scrollTo(0, 0);
  });
  const brand = html`<a class="brand" href="#/applications"><img src="icon.svg" alt="" width="26" height="26" /> braid <small>${t('console')}</small></a>`;
  return html`<a class="skip" href="#main" onclick=${(e) => { e.preventDefault(); main.current.focus(); }}>${t('Skip to content')}</a>
    <div class=${open ? 'frame open' : 'frame'}>
      <header class="topbar">${brand}<${IconButton} icon=${open ? 'close' : 'menu'} label=${t('Menu')} aria-expanded=${open} onclick=${() => setOpen(!open)} /></header>
      <aside class="side" aria-label=${t('Sidebar')}>${brand}<${Navigation} route=${route} /><${Foot} me=${me} /></aside>
      <main id="main" tabindex="-1" ref=${main} key=${address}>
        ${me.role === 'viewer' && html`<${Note}>${t('You may look at everything here, and change nothing.')}<//>`}
        <${Page} route=${route} me=${me} /></main>
    </div><${Toasts} />`;
}

function Navigation({ route }) {
  const [section = 'applications', app, page = ''] = route.parts;
  const shown = inside.some(([end]) => end === page) ? page : page === 'tasks' ? 'channels' : page;
  return html`<nav aria-label=${t('Main')}><ul>${outside.map(([name, title, icon]) => html`<li>
    <a href=${to(name)} aria-current=${section === name && (!app || deep.includes(name)) ? 'page' : undefined}><${Icon} name=${icon} />${t(title)}</a>
    ${name === 'applications' && section === name && app && html`<span class="within" title=${app}>${app}</span><ul>
      ${inside.map(([end, word, mark]) => html`<li><a href=${to(...['applications', app, end].filter(Boolean))}
        aria-current=${shown === end ? 'page' : undefined}><${Icon} name=${mark} />${t(word)}</a></li>`)}</ul>`}
  </li>`)}</ul></nav>`;
}

function Foot({ me }) {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? '');
  const choose = (to) => {
    if (to) localStorage.setItem('braid.theme', to);
    else localStorage.removeItem('braid.theme');
    applyTheme();
    setTheme(to);
  };
  const leave = async () => {
    if (!me.token) await request('DELETE', '/console/session').catch(() => {});
    location.hash = '';
    location.reload();
  };
  return html`<div class="foot">
    <div class="row">
      <select aria-label=${t('Colours')} value=${theme} onchange=${(e) => choose(e.target.value)}>
        ${[['', t('System')], ['light', t('Light')], ['dark', t('Dark')]].map(([v, text]) => html`<option key=${v} value=${v} selected=${v === theme}>${text}</option>`)}
      </select>
      <select aria-label="Language, 语言" value=${language} onchange=${(e) => setLanguage(e.target.value)}>
        <option key="en" value="en" lang="en" selected=${language === 'en'}>English</option>
        <option key="zh" value="zh" lang="zh" selected=${language === 'zh'}>中文</option>
      </select>
    </div>
    <div class="row"><span class="who" title=${me.user}>${me.user}</span><${IconButton} icon="out" label=${t('Sign out')} onclick=${leave} /></div>
  </div>`;
}

function Page({ route, me }) {
  const [section = 'applications', app, page = ''] = route.parts;
  if (section === 'applications' && app) return html`<${Inside} app=${app} page=${page} route=${route} me=${me} />`;
  const found = outside.find(([name]) => name === section);
  if (!found || app && !deep.includes(section)) return html`<${Nowhere} />`;
  return html`<${found[3]} route=${route} me=${me} />`;
}

/** A page of an application, with the application as it is. */
function Inside({ app, page, route, me }) {
  const load = useLoad((signal) => get(path('applications', app), { signal }), [app]);
  const [, , , id, part] = route.parts;
  const show = (application) => {
    const all = { app: application, changed: load.reload, route, me };
    if (page === 'tasks' && id) return part === 'layout' ? html`<${LayoutEditor} ...${all} id=${id} />` : html`<${Task} ...${all} id=${id} />`;
    const found = inside.find(([end]) => end === page);
    return found ? html`<${found[3]} ...${all} />` : html`<${Nowhere} />`;
  };
  return html`<p class="crumbs"><a href="#/applications">${t('Applications')}</a><${Icon} name="chevron" /><span>${load.data?.name ?? app}</span></p>
    <${Loaded} load=${load}>${show}<//>`;
}

const Nowhere = () => html`<${Empty} title=${t('There is no such page')}><a href="#/applications">${t('Applications')}</a><//>`;

function applyTheme() {
  const theme = localStorage.getItem('braid.theme');
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

applyTheme();
render(html`<${Console} />`, document.getElementById('app'));
