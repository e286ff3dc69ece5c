// Which name and channel a join form begins with. Both are the same after the page is loaded anew, and the address can be
// passed on: it has the channel, not the name, for whoever joins with a name that is taken puts its user out.
const query = new URLSearchParams(location.search);
const reloaded = performance.getEntriesByType('navigation')[0]?.type === 'reload'; // a copy of a tab is somebody else

/** Before somebody joins. */
export function fill(form) {
  form.user.value = query.get('user') || (reloaded && history.state?.user) || `guest-${Math.random().toString(36).slice(2, 6)}`;
  form.channel.value = query.get('channel') || 'demo';
}

/** When they have joined. */
export function keep(user, channel) {
  query.set('channel', channel);
  history.replaceState({ user }, '', `?${query}`);
}
