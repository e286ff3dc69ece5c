// The layout editor: the panes of a running mix, moved and sized on its canvas by mouse, finger or keyboard.
import { html, useEffect, useRef, useState } from '../preact.js';
import { get, path, put } from '../api.js';
import { to, useAction, useLoad } from '../hooks.js';
import { t } from '../i18n.js';
import { useLive } from '../live.js';
import { PanePicture, userPicture } from '../picture.js';
import { Button, Card, Check, Icon, Loaded, Note, PageHead, SelectField, TextField, Trouble, toast } from '../ui.js';
import { arrange, moved, resized, restack, tidy } from './layout-model.js';

export function LayoutEditor({ app, id }) {
  const load = useLoad((signal) => get(path('applications', app.id, 'tasks', id, 'layout'), { signal }), [app.id, id]);
  return html`<${PageHead} title=${t('Layout')} about=${t('Drag panes, or move the chosen one with the arrow keys; Shift and an arrow key changes its size, Alt makes small steps. Viewers see it as soon as you apply it.')}>
      <a class="button" href=${to('applications', app.id, 'tasks', id)}><${Icon} name="back" /><span>${t('The task')}</span></a><//>
    <${Loaded} load=${load}>${(layout) => html`<${Editor} app=${app} id=${id} saved=${layout} reload=${load.reload} />`}<//>`;
}

/** Everyone who may have a pane: those that the task names, or all who publish a picture. */
function useSeats(app, saved) {
  const live = useLive(app.id, saved.channel);
  if (saved.users.length) return saved.users;
  const users = live.channels.find((c) => c.id === saved.channel)?.users ?? [];
  return users.flatMap((u) => (u.sources ?? []).map((source) => ({ user: u.id, source })));
}

function Editor({ app, id, saved, reload }) {
  const [panes, setPanes] = useState(saved.panes);
  const [chosen, setChosen] = useState(0);
  const [snap, setSnap] = useState(true);
  const seats = useSeats(app, saved);
  const changed = JSON.stringify(panes) !== JSON.stringify(saved.panes);
  const latest = useRef(saved);
  useEffect(() => {
    if (latest.current !== saved) setPanes(saved.panes);
    latest.current = saved;
  }, [saved]);
  const [apply, busy, problem] = useAction(async () => {
    await put(path('applications', app.id, 'tasks', id, 'layout'), { panes });
    toast(t('The layout has been applied.'));
    await reload();
  });
  const replace = (index, pane) => setPanes((all) => all.map((p, i) => i === index ? pane : p));
  const pane = panes[chosen];
  const add = () => {
    const used = new Set(panes.map((p) => `${p.user}/${p.source}`));
    const free = seats.find((s) => !used.has(`${s.user}/${s.source}`));
    setPanes([...panes, tidy({ x: 0.6, y: 0.6, width: 0.35, height: 0.35, z_order: Math.min(99, Math.max(0, ...panes.map((p) => p.z_order)) + 1), crop: true, ...free })]);
    setChosen(panes.length);
  };
  const drop = () => {
    setPanes(panes.filter((_, i) => i !== chosen));
    setChosen(Math.max(0, chosen - 1));
  };
  return html`<div class="editor">
    <div class="stack">
      <div class="actions">
        <span class="label">${t('Presets')}</span>
        ${[['one', t('One')], ['side', t('Side by side')], ['grid', t('Grid')], ['speaker', t('Speaker')], ['corner', t('Corner')]].map(([name, word]) => html`
          <${Button} key=${name} onclick=${() => { setPanes(arrange(name, panes, seats)); setChosen(0); }}>${word}<//>`)}
      </div>
      <${Canvas} app=${app.id} channel=${saved.channel} seats=${seats} panes=${panes} chosen=${chosen} choose=${setChosen} replace=${replace} snap=${snap} width=${saved.width || 16} height=${saved.height || 9} drop=${drop} />
      <div class="actions between">
        <${Check} label=${t('Snap to edges and grid')} checked=${snap} onchange=${setSnap} />
        <div class="actions"><${Button} disabled=${!changed || busy} onclick=${() => { setPanes(saved.panes); setChosen(0); }}>${t('Undo all')}<//>
          <${Button} kind="primary" disabled=${!changed || !panes.length} busy=${busy} onclick=${apply}>${t('Apply')}<//></div>
      </div>
      <${Trouble} error=${problem} />
      <p class="hint">${saved.width ? t('The canvas has {w}×{h} pixels.', { w: saved.width, h: saved.height }) : ''} ${t('A pane without a user takes who has none, in join order.')}</p>
    </div>
    <${Card} title=${pane ? t('Pane {n}', { n: chosen + 1 }) : t('No pane')} actions=${html`<${Button} icon="plus" disabled=${panes.length >= 16} onclick=${add}>${t('Add pane')}<//>`}>
      ${pane ? html`<${PaneForm} pane=${pane} seats=${seats} panes=${panes} set=${(p) => replace(chosen, p)} drop=${drop} stack=${(front) => setPanes(restack(panes, chosen, front))} />`
        : html`<p class="soft">${t('Choose a preset, or add a pane.')}</p>`}
    <//>
  </div>`;
}

/** A colour for a user: the same everywhere in the editor. */
function hue(text = '') {
  let h = 0;
  for (const c of text) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

function Canvas({ app, channel, seats, panes, chosen, choose, replace, snap, width, height, drop }) {
  const canvas = useRef(null);
  const drag = useRef(null);
  const others = (index) => panes.filter((_, i) => i !== index);

  const begin = (event, index, handle) => {
    if (event.button > 0) return;
    event.stopPropagation();
    choose(index);
    event.currentTarget.setPointerCapture(event.pointerId);
    drag.current = { index, handle, pane: panes[index], x: event.clientX, y: event.clientY };
  };
  const move = (event) => {
    const d = drag.current;
    if (!d) return;
    const box = canvas.current.getBoundingClientRect();
    const dx = (event.clientX - d.x) / box.width;
    const dy = (event.clientY - d.y) / box.height;
    const free = event.altKey ? false : snap;
    replace(d.index, d.handle ? resized(d.pane, d.handle, dx, dy, others(d.index), free) : moved(d.pane, dx, dy, others(d.index), free));
  };
  const end = () => { drag.current = null; };

  const key = (event, index) => {
    const step = event.altKey ? 0.002 : 0.01;
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (dx || dy) {
      event.preventDefault();
      const pane = panes[index];
      replace(index, event.shiftKey ? resized(pane, 'se', dx, dy, [], false) : moved(pane, dx, dy, [], false));
    } else if (event.key === 'Delete') {
      drop();
    }
  };

  const percent = (v) => `${v * 100}%`;
  const shown = (p) => p.user && seats.some((s) => s.user === p.user && (s.source ?? 'camera') === (p.source ?? 'camera'));
  return html`<div class="canvas" ref=${canvas} style=${{ aspectRatio: `${width} / ${height}` }} role="group" aria-label=${t('Canvas')}>
    ${panes.map((p, index) => html`<div key=${index} class=${`pane ${index === chosen ? 'chosen' : ''} ${p.user ? '' : 'free'}`} tabindex="0" role="button" aria-pressed=${index === chosen}
        aria-label=${t('Pane {n}: {who}', { n: index + 1, who: p.user ?? t('who comes next') })}
        style=${{ left: percent(p.x), top: percent(p.y), width: percent(p.width), height: percent(p.height), zIndex: p.z_order + 1, ...(p.user && { '--hue': String(hue(p.user)) }) }}
        onfocus=${() => choose(index)} onkeydown=${(e) => key(e, index)} onpointerdown=${(e) => begin(e, index, '')} onpointermove=${move} onpointerup=${end} onpointercancel=${end}>
      ${shown(p) && html`<${PanePicture} url=${userPicture(app, channel, p.user, p.source, 640)} whole=${!p.crop} />`}
      <b>${p.user ?? t('who comes next')}</b>${p.source === 'shareScreen' && html`<small>${t('screen')}</small>`}
      ${index === chosen && ['nw', 'ne', 'sw', 'se', 'n', 'e', 's', 'w'].map((h) => html`<i key=${h} class=${`handle ${h}`}
        onpointerdown=${(e) => begin(e, index, h)} onpointermove=${move} onpointerup=${end} onpointercancel=${end}></i>`)}
    </div>`)}
  </div>`;
}

function PaneForm({ pane, seats, panes, set, drop, stack }) {
  const key = (s) => s.user ? `${s.source ?? 'camera'}/${s.user}` : '';
  const known = [...seats];
  if (pane.user && !known.some((s) => key(s) === key(pane))) known.push({ user: pane.user, source: pane.source });
  const taken = new Set(panes.filter((p) => p !== pane).map(key));
  const choose = (value) => {
    const { user: _, source: __, ...rest } = pane;
    const cut = value.indexOf('/');
    set(value ? { ...rest, source: value.slice(0, cut), user: value.slice(cut + 1) } : rest);
  };
  const share = (name) => html`<${Share} label=${{ x: t('Left'), y: t('Top'), width: t('Width'), height: t('Height') }[name]} value=${pane[name]}
    oninput=${(v) => set(tidy({ ...pane, [name]: v }))} />`;
  return html`<${SelectField} label=${t('User')} value=${key(pane)} onchange=${choose}
      options=${[['', t('who comes next')], ...known.map((s) => [key(s), s.source === 'shareScreen' ? t('{user}, screen', { user: s.user }) : s.user, taken.has(key(s))])]} />
    <div class="four">${share('x')}${share('y')}${share('width')}${share('height')}</div>
    <${SelectField} label=${t('Picture')} value=${pane.crop ? 'crop' : 'fit'} onchange=${(v) => set({ ...pane, crop: v === 'crop' })}
      options=${[['crop', t('fill and cut')], ['fit', t('whole, with bars')]]} />
    <div class="actions"><${Button} icon="front" onclick=${() => stack(true)}>${t('To front')}<//><${Button} icon="rear" onclick=${() => stack(false)}>${t('To back')}<//></div>
    <div><${Button} kind="danger" icon="trash" onclick=${drop}>${t('Remove pane')}<//></div>
    ${!seats.length && html`<${Note}>${t('Nobody in the channel sends a picture now.')}<//>`}`;
}

/** A share of the canvas in percent. */
function Share({ label, value, oninput }) {
  const [text, setText] = useState(null); // while it is typed
  const shown = text ?? String(Math.round(value * 1000) / 10);
  return html`<${TextField} label=${label} value=${shown} inputmode="decimal" onblur=${() => setText(null)}
    oninput=${(typed) => {
      setText(typed);
      const n = Number(typed.replace(',', '.'));
      if (typed.trim() && Number.isFinite(n)) oninput(n / 100);
    }} />`;
}
