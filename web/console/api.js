// The public REST API (doc/rest.md), and nothing else: what the console does, a program can do.

/** What the server refused, in its words. fields has what is wrong with each field of the request. */
export class Problem extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.fields = Object.fromEntries(errors.map((e) => [e.field, e.detail]));
  }
}

const state = { bearer: '', lost: () => {} };

/** Requests carry this admin token; empty: the session's cookie alone. It is kept in memory only. */
export function useBearer(token) { state.bearer = token; }
export const bearer = () => state.bearer;

/** Calls back when a request is answered with 401: the session has ended. */
export function onLost(call) { state.lost = call; }

/** The path of a resource, with each part escaped: path('applications', app, 'relay'). */
export const path = (...parts) => '/v1/' + parts.map(encodeURIComponent).join('/');

/**
 * Makes one request. ifMatch is an ETag or *; query leaves out what is empty.
 * @returns {Promise<{data: any, etag: string}>} data is undefined when there is no content
 * @throws {Problem}
 */
export async function request(method, url, { body, ifMatch, query, signal } = {}) {
  const headers = {};
  if (state.bearer) headers.Authorization = `Bearer ${state.bearer}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (ifMatch) headers['If-Match'] = ifMatch;
  const asked = new URLSearchParams(Object.entries(query ?? {}).filter(([, v]) => v !== '' && v !== undefined && v !== null));
  const response = await fetch(asked.size ? `${url}?${asked}` : url, {
    method, headers, signal, credentials: 'same-origin', cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body),
  }).catch((error) => {
    throw error.name === 'AbortError' ? error : new Problem(0, 'The server cannot be reached.');
  });
  const text = await response.text();
  let data;
  try {
    data = text ? JSON.parse(text) : undefined;
  } catch {
    data = { detail: text.slice(0, 300) }; // a proxy's page
  }
  if (response.ok) return { data, etag: response.headers.get('ETag') ?? '' };
  if (response.status === 401 && url.startsWith('/v1/')) state.lost();
  throw new Problem(response.status, data?.detail || data?.title || `The server answered ${response.status}.`, data?.errors);
}

export const get = async (url, options) => (await request('GET', url, options)).data;
export const post = async (url, body, options) => (await request('POST', url, { ...options, body })).data;
export const put = async (url, body, options) => (await request('PUT', url, { ...options, body })).data;
export const patch = async (url, body, options) => (await request('PATCH', url, { ...options, body })).data;
export const remove = async (url, options) => (await request('DELETE', url, options)).data;

/** Reads a JPEG file; null when there is none at the moment. */
export async function picture(url, signal) {
  const headers = state.bearer ? { Authorization: `Bearer ${state.bearer}` } : {};
  const response = await fetch(url, { headers, signal, credentials: 'same-origin' });
  if (response.status === 401) state.lost();
  return response.ok ? response.blob() : null;
}

/** Reads a whole list, page by page, up to most items. */
export async function list(url, { query, most = 1000, ...options } = {}) {
  const items = [];
  let cursor = '';
  do {
    const page = await get(url, { ...options, query: { ...query, limit: 200, cursor } });
    items.push(...page.items);
    cursor = page.next ?? '';
  } while (cursor && items.length < most);
  return items;
}
