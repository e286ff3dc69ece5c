// The parts that pages are made of.
import { html, useEffect, useLayoutEffect, useRef, useState } from './preact.js';
import { t, date, moment } from './i18n.js';

export const Icon = ({ name }) => html`<svg class="icon" aria-hidden="true" focusable="false"><use href=${`icons.svg#${name}`}></use></svg>`;

export function Button({ kind = '', icon, busy, disabled, children, ...rest }) {
  return html`<button type="button" class=${`button ${kind}`} disabled=${disabled || busy} aria-busy=${busy ? 'true' : undefined} ...${rest}>
    ${icon && html`<${Icon} name=${icon} />`}${children && html`<span>${children}</span>`}</button>`;
}

/** A button that is an icon alone; label says what it does. */
export const IconButton = ({ icon, label, ...rest }) =>
  html`<button type="button" class="button bare" aria-label=${label} title=${label} ...${rest}><${Icon} name=${icon} /></button>`;

/** The head of a page: its name, a sentence about it, its actions. */
export function PageHead({ title, about, children }) {
  useEffect(() => { document.title = `${title} · braid`; }, [title]);
  return html`<header class="pagehead">
    <div><h1>${title}</h1>${about && html`<p class="about">${about}</p>`}</div>
    ${children && html`<div class="actions">${children}</div>`}
  </header>`;
}

export const Card = ({ title, about, actions, children, ...rest }) => html`<section class="card" ...${rest}>
  ${(title || actions) && html`<header><div>${title && html`<h2>${title}</h2>`}${about && html`<p class="about">${about}</p>`}</div>
    ${actions && html`<div class="actions">${actions}</div>`}</header>`}
  ${children}
</section>`;

export const Note = ({ kind = 'info', children, ...rest }) => html`<div class=${`note ${kind}`} ...${rest}>
  <${Icon} name=${kind === 'info' ? 'info' : 'warning'} /><div>${children}</div></div>`;

/** What went wrong, in the server's words, with a way to try again. */
export function Trouble({ error, again }) {
  if (!error) return null;
  return html`<div class="note bad" role="alert"><${Icon} name="warning" /><div>
    <p>${error.status === 0 ? t('The server cannot be reached.') : t(error.message)}</p>
    ${again && html`<${Button} onclick=${again}>${t('Try again')}<//>`}</div></div>`;
}

/** Loading, failed, empty, or there: a page says which in words. */
export function Loaded({ load, empty, children }) {
  const { data, error, loading, reload } = load;
  return html`<div class="stack">
    ${error && html`<${Trouble} error=${error} again=${reload} />`}
    ${data === undefined ? !error && loading && html`<p class="loading" role="status">${t('Loading …')}</p>`
      : empty && Array.isArray(data) && !data.length ? empty : children(data)}</div>`;
}

export const Empty = ({ icon, title, children }) => html`<div class="empty">
  ${icon && html`<${Icon} name=${icon} />`}<h2>${title}</h2><div>${children}</div></div>`;

/** A labelled input with its hint and what is wrong with it. children is a function that gets the input's attributes. */
export function Field({ label, hint, wrong, optional, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, wrong && `${id}-wrong`].filter(Boolean).join(' ') || undefined;
  return html`<div class=${wrong ? 'field wrong' : 'field'}>
    <label for=${id}>${label}${optional && html` <small>${t('optional')}</small>`}</label>
    ${children({ id, 'aria-describedby': described, 'aria-invalid': wrong ? 'true' : undefined })}
    ${wrong && html`<p class="problem" id=${`${id}-wrong`} role="alert">${wrong}</p>`}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

export const TextField = ({ value, oninput, type = 'text', label, hint, wrong, optional, ...rest }) =>
  html`<${Field} label=${label} hint=${hint} wrong=${wrong} optional=${optional}>${(attributes) => html`
    <input type=${type} value=${value} oninput=${(e) => oninput(e.target.value)} autocomplete="off" spellcheck=${false} ...${rest} ...${attributes} />`}<//>`;

export const SelectField = ({ value, onchange, options, label, hint, wrong, ...rest }) =>
  html`<${Field} label=${label} hint=${hint} wrong=${wrong}>${(attributes) => html`
    <select value=${value} onchange=${(e) => onchange(e.target.value)} ...${rest} ...${attributes}>
      ${options.map(([v, text, disabled]) => html`<option key=${v} value=${v} disabled=${disabled} selected=${v === value}>${text}</option>`)}
    </select>`}<//>`;

export function Check({ label, hint, checked, onchange, ...rest }) {
  const id = useId();
  return html`<div class="check"><input type="checkbox" id=${id} checked=${checked} onchange=${(e) => onchange(e.target.checked)}
    aria-describedby=${hint ? `${id}-hint` : undefined} ...${rest} />
    <div><label for=${id}>${label}</label>${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}</div></div>`;
}

export function Switch({ label, hint, checked, onchange, ...rest }) {
  const id = useId();
  return html`<div class="check switch"><input type="checkbox" role="switch" id=${id} checked=${checked} onchange=${(e) => onchange(e.target.checked)}
    aria-describedby=${hint ? `${id}-hint` : undefined} ...${rest} />
    <div><label for=${id}>${label}</label>${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}</div></div>`;
}

const counter = { last: 0 };
function useId() {
  const ref = useRef('');
  ref.current ||= `f${++counter.last}`;
  return ref.current;
}

/** A dialog of the browser's own: it keeps the focus, and Esc closes it. */
export function Dialog({ title, onclose, wide, children }) {
  const ref = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    dialog.showModal();
    return () => {
      dialog.close(); // nothing outside can have the focus before
      if (before?.isConnected) before.focus();
    };
  }, []);
  return html`<dialog ref=${ref} class=${wide ? 'wide' : ''} aria-labelledby=${id}
      oncancel=${(e) => { e.preventDefault(); onclose(); }}>
    <header><h2 id=${id}>${title}</h2><${IconButton} icon="close" label=${t('Close')} onclick=${onclose} /></header>
    ${children}
  </dialog>`;
}

/** A form in a dialog: fields, what the server refused, OK and Cancel. The first field that it refused gets the focus. */
export function FormDialog({ title, onclose, submit, busy, problem, ok = t('OK'), danger, wide, disabled, children }) {
  const shown = problem && (!Object.keys(problem.fields ?? {}).length || problem.status !== 400);
  const form = useRef(null);
  useEffect(() => { if (problem) form.current.querySelector('[aria-invalid]')?.focus(); }, [problem]);
  return html`<${Dialog} title=${title} onclose=${onclose} wide=${wide}>
    <form ref=${form} onsubmit=${(e) => { e.preventDefault(); submit(); }} novalidate>
      <div class="body">${children}${shown && html`<${Trouble} error=${problem} />`}</div>
      <footer><${Button} onclick=${onclose}>${t('Cancel')}<//>
        <${Button} type="submit" kind=${danger ? 'danger solid' : 'primary'} busy=${busy} disabled=${disabled}>${ok}<//></footer>
    </form>
  <//>`;
}

/** Asks before something ends. With word, the reader has to type it first. */
export function Confirm({ title, children, ok, word, onclose, act, busy, problem }) {
  const [typed, setTyped] = useState('');
  return html`<${FormDialog} title=${title} onclose=${onclose} submit=${act} busy=${busy} problem=${problem} ok=${ok} danger disabled=${word && typed !== word}>
    <div class="prose">${children}</div>
    ${word && html`<${TextField} label=${t('Type {word} to confirm', { word })} value=${typed} oninput=${setTyped} autofocus />`}
  <//>`;
}

/** A text with a button that copies it. */
export function Copy({ text, secret, label }) {
  const [done, setDone] = useState(false);
  const [shown, setShown] = useState(!secret);
  const code = useRef(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not a secure context: the reader can copy what is selected
      setShown(true);
      const all = document.createRange();
      all.selectNodeContents(code.current);
      getSelection().removeAllRanges();
      getSelection().addRange(all);
      if (!document.execCommand('copy')) return;
    }
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return html`<span class="copy"><code ref=${code} tabindex="0">${shown ? text : '•'.repeat(24)}</code>
    ${secret && html`<${IconButton} icon=${shown ? 'hide' : 'show'} label=${shown ? t('Hide') : t('Show')} onclick=${() => setShown(!shown)} />`}
    <${IconButton} icon=${done ? 'done' : 'copy'} label=${done ? t('Copied') : label ?? t('Copy')} onclick=${copy} /></span>`;
}

/** A state with its colour; the word says it, the colour helps. */
export const Badge = ({ kind = '', children }) => html`<span class=${`badge ${kind}`}>${children}</span>`;

export const Time = ({ of, long }) => of ? html`<time dateTime=${of} title=${date(of)}>${long ? date(of) : moment(of)}</time>` : html`<span class="soft">–</span>`;

/** Rows whose cells carry their column's name, for narrow screens. columns: [name, (row) => content, class?]. */
export function Table({ columns, rows, rowKey, label }) {
  return html`<div class="tablebox"><table aria-label=${label}>
    <thead><tr>${columns.map(([name, , kind]) => html`<th scope="col" class=${kind ?? ''}>${name}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${rowKey(row)}>
      ${columns.map(([name, cell, kind]) => html`<td data-name=${name} class=${kind ?? ''}>${cell(row)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** Tabs that are links: each has its own address. The current one is in view where they are wider than the page. */
export function Tabs({ label, tabs, current }) {
  const nav = useRef(null);
  useLayoutEffect(() => {
    const here = nav.current.querySelector('[aria-current]');
    if (here) nav.current.scrollLeft = here.offsetLeft - nav.current.offsetLeft - (nav.current.clientWidth - here.offsetWidth) / 2;
  }, [current]);
  return html`<nav class="tabs" ref=${nav} aria-label=${label}>
    ${tabs.map(([name, href]) => html`<a href=${href} aria-current=${name === current ? 'page' : undefined}>${name}</a>`)}</nav>`;
}

const listeners = new Set();

/** Says that something has been done, for some seconds. */
export function toast(text) { for (const l of listeners) l(text); }

export function Toasts() {
  const [texts, setTexts] = useState([]);
  useEffect(() => {
    const add = (text) => {
      const one = { text };
      setTexts((all) => [...all, one]);
      setTimeout(() => setTexts((all) => all.filter((x) => x !== one)), 4000);
    };
    listeners.add(add);
    return () => listeners.delete(add);
  }, []);
  return html`<div class="toasts" role="status">${texts.map(({ text }) => html`<p><${Icon} name="done" />${text}</p>`)}</div>`;
}
