// Words in the reader's language. The English text is the key: a text that the dictionary does not know stays English.
import { chinese } from './chinese.js';

const kept = localStorage.getItem('braid.language');
export const language = kept ?? (navigator.language.startsWith('zh') ? 'zh' : 'en');
document.documentElement.lang = language;

/** Changes the language for this browser. The page is loaded anew: everything on it is text. */
export function setLanguage(to) {
  localStorage.setItem('braid.language', to);
  location.reload();
}

/** t('Delete {name}?', { name }) is the text in the reader's language, with its places filled in. */
export function t(text, values = {}) {
  const words = language === 'zh' ? chinese[text] ?? text : text;
  return words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

const locale = language === 'zh' ? 'zh-CN' : navigator.language.startsWith('en') ? navigator.language : 'en';
const full = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' });
const short = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', timeZone: 'UTC' });
const count = new Intl.NumberFormat(locale);

export const date = (iso) => full.format(new Date(iso));
export const moment = (iso) => short.format(new Date(iso));
export const utcDay = (iso) => day.format(new Date(iso));
export const number = (n) => count.format(n);

/** A span of seconds as people say it: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (a, unitA, b, unitB) => t(unitA, { n: a }) + (b ? ` ${t(unitB, { n: b })}` : '');
  if (s < 60) return t('{n} s', { n: s });
  if (s < 3600) return two(Math.floor(s / 60), '{n} min', s < 600 ? s % 60 : 0, '{n} s');
  if (s < 86400) return two(Math.floor(s / 3600), '{n} h', Math.floor(s % 3600 / 60), '{n} min');
  return two(Math.floor(s / 86400), '{n} d', Math.floor(s % 86400 / 3600), '{n} h');
}

/** A number of bytes as people say it: 12 kB, 3.4 MB, 1.2 GB. */
export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = n;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${number(unit && value < 100 ? Math.round(value * 10) / 10 : Math.round(value))} ${units[unit]}`;
}
