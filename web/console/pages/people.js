// Who may use the console, what was changed by whom, and the own sign-ins.
import { html, useState } from '../preact.js';
import { get, list, patch, path, post, remove, request, Problem } from '../api.js';
import { to, useAction, useLoad } from '../hooks.js';
import { t } from '../i18n.js';
import { Badge, Button, Card, Check, Confirm, Empty, FormDialog, Loaded, PageHead, SelectField, Table, Tabs, TextField, Time, Trouble, toast } from '../ui.js';

export function People({ route, me }) {
  const part = route.parts[1] ?? '';
  const all = [[t('Administrators'), to('people')], [t('Audit log'), to('people', 'audit')], ...(me.token ? [] : [[t('My sign-in'), to('people', 'me')]])];
  const current = { audit: 1, me: 2 }[part] ?? 0;
  return html`<${PageHead} title=${t('Administrators')} about=${t('Who may use this console, and what they have changed.')} />
    <${Tabs} label=${t('Administrators')} tabs=${all} current=${all[current]?.[0]} />
    ${part === 'audit' ? html`<${Audit} />` : part === 'me' && !me.token ? html`<${Me} />` : html`<${Administrators} me=${me} />`}`;
}

const roleName = (role) => role === 'viewer' ? t('may look') : t('may change everything');

function Administrators({ me }) {
  const load = useLoad((signal) => list(path('administrators'), { signal }), []);
  const [edited, setEdited] = useState(null);
  const [deleted, setDeleted] = useState(null);
  return html`<${Card} title=${t('Administrators')} actions=${html`<${Button} kind="primary" icon="plus" onclick=${() => setEdited({})}>${t('Add administrator')}<//>`}>
      <${Loaded} load=${load} empty=${html`<${Empty} icon="users" title=${t('There is no administrator yet')}><p>${t('The console is used with an admin token.')}</p><//>`}>
        ${(items) => html`<${Table} label=${t('Administrators')} rows=${items} rowKey=${(a) => a.name} columns=${[
          [t('Name'), (a) => html`<span><b class="rowname">${a.name}</b>${a.name === me.user && !me.token && html`<span class="sub">${t('you')}</span>`}</span>`],
          [t('Role'), (a) => roleName(a.role)],
          [t('State'), (a) => a.disabled ? html`<${Badge} kind="warn">${t('Disabled')}<//>` : html`<${Badge} kind="good">${t('Enabled')}<//>`],
          [t('Created'), (a) => html`<${Time} of=${a.created} />`, 'nowrap'],
          [t('Actions'), (a) => html`<span><${Button} kind="text" aria-label=${t('Edit {url}', { url: a.name })} onclick=${() => setEdited(a)}>${t('Edit')}<//>
            <${Button} kind="text danger" aria-label=${t('Delete {url}', { url: a.name })} onclick=${() => setDeleted(a)}>${t('Delete')}<//></span>`, 'end'],
        ]} />`}<//><//>
    ${edited && html`<${Edit} of=${edited} onclose=${() => setEdited(null)} done=${load.reload} />`}
    ${deleted && html`<${Delete} of=${deleted} onclose=${() => setDeleted(null)} done=${load.reload} />`}`;
}

function Edit({ of, onclose, done }) {
  const old = !!of.name;
  const [s, setS] = useState({ name: of.name ?? '', role: of.role ?? 'admin', disabled: of.disabled ?? false, password: '' });
  const set = (change) => setS((now) => ({ ...now, ...change }));
  const [save, busy, problem] = useAction(async () => {
    if (!old) {
      await post(path('administrators'), { name: s.name, role: s.role, password: s.password });
    } else {
      const { etag } = await request('GET', path('administrators', of.name));
      await patch(path('administrators', of.name), { role: s.role, disabled: s.disabled, ...(s.password && { password: s.password }) }, { ifMatch: etag });
    }
    toast(t('Saved'));
    done();
    onclose();
  });
  const fields = problem?.fields ?? {};
  return html`<${FormDialog} title=${old ? t('Edit {url}', { url: of.name }) : t('Add administrator')} onclose=${onclose} submit=${save} busy=${busy} problem=${problem}>
    ${!old && html`<${TextField} label=${t('Name')} value=${s.name} oninput=${(name) => set({ name })} wrong=${fields.name} autofocus hint=${t('1 to 64 letters, digits, . _ @ and -')} />`}
    <${SelectField} label=${t('Role')} value=${s.role} onchange=${(role) => set({ role })} options=${[['admin', roleName('admin')], ['viewer', roleName('viewer')]]} wrong=${fields.role} />
    <${TextField} label=${old ? t('New password') : t('Password')} optional=${old} type="password" autocomplete="new-password" value=${s.password} oninput=${(password) => set({ password })} wrong=${fields.password}
      hint=${old ? t('10 to 256 characters. It ends all sign-ins of this administrator.') : t('10 to 256 characters')} />
    ${old && html`<${Check} label=${t('Disabled')} checked=${s.disabled} onchange=${(disabled) => set({ disabled })} hint=${t('Nobody signs in with this name, and those who are signed in are out.')} />`}
  <//>`;
}

function Delete({ of, onclose, done }) {
  const [del, busy, problem] = useAction(async () => {
    await remove(path('administrators', of.name));
    toast(t('{name} has been deleted.', { name: of.name }));
    done();
    onclose();
  });
  return html`<${Confirm} title=${t('Delete {name}?', { name: of.name })} ok=${t('Delete')} onclose=${onclose} act=${del} busy=${busy} problem=${problem}>
    <p>${t('All sign-ins of this administrator end. What was done stays in the audit log.')}</p><//>`;
}

function Audit() {
  const [who, setWho] = useState('');
  const [pages, setPages] = useState(1);
  const load = useLoad(async (signal) => {
    const items = [];
    let cursor = '';
    for (let n = 0; n < pages; n++) {
      const page = await get('/v1/audit', { signal, query: { who, limit: 50, cursor } });
      items.push(...page.items);
      cursor = page.next ?? '';
      if (!cursor) break;
    }
    return { items, next: cursor };
  }, [who, pages]);
  return html`<${Card} title=${t('Audit log')} about=${t('Every change, the newest first, with what was refused.')}>
    <div class="inline narrow"><${TextField} label=${t('Who')} value=${who} oninput=${setWho} />
      <div><${Button} icon="refresh" busy=${load.loading && load.data} onclick=${load.reload}>${t('Refresh')}<//></div></div>
    <${Loaded} load=${load}>${({ items, next }) => !items.length ? html`<p class="soft">${t('Nothing was changed.')}</p>` : html`
      <${Table} label=${t('Audit log')} rows=${items} rowKey=${(e) => e.id} columns=${[
        [t('Time'), (e) => html`<${Time} of=${e.time} />`, 'nowrap'],
        [t('Who'), (e) => html`<span>${e.who || html`<span class="soft">–</span>`}<span class="sub">${[e.kind, e.address].filter(Boolean).join(' · ')}</span></span>`],
        [t('What'), (e) => html`<span><span class="mono">${e.action}</span>${e.object && html`<span class="sub mono">${e.object}</span>`}</span>`],
        [t('Details'), (e) => html`<span class="mono">${e.summary}</span>`],
        [t('Result'), (e) => html`<${Badge} kind=${e.result === 0 ? 'warn' : e.result < 300 ? 'good' : 'bad'}>${e.result || t('not known')}<//>`],
      ]} />
      ${next && html`<div><${Button} busy=${load.loading} onclick=${() => setPages(pages + 1)}>${t('Show more')}<//></div>`}`}<//>
  <//>`;
}

function Me() {
  const logins = useLoad(async (signal) => (await get('/console/logins', { signal })).items, []);
  const [end, , problem] = useAction(async (id) => {
    await remove(`/console/logins/${encodeURIComponent(id)}`);
    logins.reload();
  });
  return html`<${Password} done=${logins.reload} />
    <${Card} title=${t('My sign-ins')}><${Trouble} error=${problem} /><${Loaded} load=${logins}>${(items) => html`<${Table} label=${t('My sign-ins')} rows=${items} rowKey=${(l) => l.id} columns=${[
      [t('Since'), (l) => html`<${Time} of=${l.created} />`, 'nowrap'],
      [t('Last used'), (l) => html`<${Time} of=${l.used} />`, 'nowrap'],
      [t('From'), (l) => html`<span>${l.address}<span class="sub">${l.agent}</span></span>`],
      [t('Actions'), (l) => l.current ? html`<span class="soft">${t('this one')}</span>` : html`<span><${Button} kind="text danger" onclick=${() => end(l.id)}>${t('End')}<//></span>`, 'end'],
    ]} />`}<//><//>`;
}

function Password({ done }) {
  const [s, setS] = useState({ current: '', password: '', again: '' });
  const [save, busy, problem] = useAction(async () => {
    if (s.password !== s.again) throw new Problem(400, '', [{ field: 'again', detail: t('The two passwords are not the same.') }]);
    await request('POST', '/console/password', { body: { current: s.current, new: s.password } });
    setS({ current: '', password: '', again: '' });
    toast(t('The password has been changed. Your other sign-ins have ended.'));
    done();
  });
  const fields = problem?.fields ?? {};
  const field = (name, label, wrong, autocomplete) => html`<${TextField} label=${label} type="password" value=${s[name]} oninput=${(v) => setS({ ...s, [name]: v })} wrong=${wrong} autocomplete=${autocomplete} />`;
  return html`<${Card} title=${t('Change the password')}><form class="plain" onsubmit=${(e) => { e.preventDefault(); save(); }}>
    ${field('current', t('Present password'), fields.current, 'current-password')}${field('password', t('New password'), fields.new, 'new-password')}${field('again', t('New password again'), fields.again, 'new-password')}
    ${problem && !Object.keys(fields).length && html`<${Trouble} error=${problem} />`}
    <div class="formfoot"><${Button} type="submit" kind="primary" busy=${busy} disabled=${!s.current || !s.password}>${t('Change')}<//></div></form><//>`;
}
