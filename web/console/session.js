// Who uses the console: an administrator with a session, or, where the server has no sessions, an admin token.
import { html, useState } from './preact.js';
import { request, useBearer, Problem } from './api.js';
import { useAction } from './hooks.js';
import { t, language, setLanguage } from './i18n.js';
import { Button, TextField, Trouble } from './ui.js';

/** Asks the server who this is: { user, role, secure, setup }; user is empty for nobody. null: it knows no sessions. */
export async function whoami() {
  try {
    return (await request('GET', '/console/session')).data;
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

/** The secret of a set-up link (…/console#setup=…); it is taken out of the address. */
function setupSecret() {
  const secret = location.hash.match(/^#setup=([^&]+)/)?.[1] ?? '';
  if (secret) history.replaceState(null, '', location.pathname);
  return secret;
}

const secret = setupSecret();

export function Entrance({ session, entered }) {
  const [way, setWay] = useState(!session ? 'token' : secret ? 'setup' : 'login');
  const other = language === 'zh' ? 'en' : 'zh';
  return html`<div class="entrance"><main class="card">
    <span class="brand"><img src="icon.svg" alt="" width="28" height="28" /> braid <small>${t('console')}</small></span>
    ${way === 'token' ? html`<${TokenForm} entered=${entered} alone=${!session} />` : way === 'setup' ? html`<${SetupForm} entered=${entered} />`
      : session.setup ? html`<${NoAdministrator} />` : html`<${LoginForm} entered=${entered} />`}
    <div class="foot">
      ${session && html`<${Button} kind="text" onclick=${() => setWay(way === 'token' ? 'login' : 'token')}>${way === 'token' ? t('Sign in with a name') : t('Use an admin token')}<//>`}
      <${Button} kind="text" lang=${other} onclick=${() => setLanguage(other)}>${other === 'en' ? 'English' : '中文'}<//></div>
  </main></div>`;
}

const NoAdministrator = () => html`<h1>${t('There is no administrator yet')}</h1>
  <p>${t('The server has printed a link that makes the first one. It works once, for 30 minutes, on the server’s own machine. braid admin setup-link prints a new one.')}</p>`;

function LoginForm({ entered }) {
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  const [login, busy, problem] = useAction(async () => {
    if (!user || !password) throw new Problem(400, t('Name and password are both needed.'));
    await request('POST', '/console/session', { body: { name: user, password } });
    await entered();
  });
  return html`<h1>${t('Sign in')}</h1>
    <form onsubmit=${(e) => { e.preventDefault(); login(); }}>
      <${TextField} label=${t('Name')} value=${user} oninput=${setUser} autocomplete="username" autofocus name="name" />
      <${TextField} label=${t('Password')} type="password" value=${password} oninput=${setPassword} autocomplete="current-password" name="password" />
      <${Trouble} error=${problem} />
      <${Button} type="submit" kind="primary" busy=${busy}>${t('Sign in')}<//>
    </form>`;
}

function SetupForm({ entered }) {
  const [user, setUser] = useState('admin');
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const [create, busy, problem] = useAction(async () => {
    if (password !== again) throw new Problem(400, '', [{ field: 'again', detail: t('The two passwords are not the same.') }]);
    await request('POST', '/console/setup', { body: { token: secret, name: user, password } });
    await entered();
  });
  const fields = problem?.fields ?? {};
  return html`<h1>${t('Make the first administrator')}</h1>
    <p class="about">${t('This link works once. There is no default password.')}</p>
    <form onsubmit=${(e) => { e.preventDefault(); create(); }}>
      <${TextField} label=${t('Name')} value=${user} oninput=${setUser} autocomplete="username" wrong=${fields.name} name="name" />
      <${TextField} label=${t('Password')} type="password" value=${password} oninput=${setPassword} autocomplete="new-password" wrong=${fields.password} name="password"
        hint=${t('10 to 256 characters')} autofocus />
      <${TextField} label=${t('Password again')} type="password" value=${again} oninput=${setAgain} autocomplete="new-password" wrong=${fields.again} name="again" />
      ${problem && !Object.keys(fields).length && html`<${Trouble} error=${problem} />`}
      <${Button} type="submit" kind="primary" busy=${busy}>${t('Create administrator')}<//>
    </form>`;
}

function TokenForm({ entered, alone }) {
  const [token, setToken] = useState('');
  const [enter, busy, problem] = useAction(async () => {
    useBearer(token.trim());
    try {
      await request('GET', '/v1/applications', { query: { limit: 1 } });
    } catch (refused) {
      useBearer('');
      throw refused;
    }
    await entered();
  });
  return html`<h1>${t('Sign in')}</h1>
    <p class="about">${t('An admin token: a first start shows one, later ones are admin_tokens in the config.')}</p>
    <form onsubmit=${(e) => { e.preventDefault(); enter(); }}>
      <${TextField} label=${t('Admin token')} type="password" value=${token} oninput=${setToken} name="token" autofocus
        hint=${t('It stays in this tab, and only until it is closed or loaded anew.')} />
      <${Trouble} error=${problem} />
      <${Button} type="submit" kind="primary" busy=${busy} disabled=${!token}>${t('Sign in')}<//>
    </form>`;
}
