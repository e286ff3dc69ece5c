// The layout message in the stream: user_data_unregistered (payload type 5), a
// UUID that mpegts.js has already taken off, and JSON.

const utf8 = new TextDecoder();

/** The message's JSON object, or null when it is not one of ours. data is mpegts.js's SEI event. */
export function parse(data) {
  if (data.type !== 5 || !data.user_data) return null;
  try {
    const text = utf8.decode(data.user_data).replace(/\0+$/, '');
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Draws a message over the picture: an outline, a name and a level bar for each pane.
 * @param {HTMLElement} overlay covers exactly the picture
 * @param {{stream?: Array<{uid: string, paneid: number, zorder: number, x: number, y: number, w: number, h: number, vol: number}>}} message
 */
export function draw(overlay, message) {
  const panes = (message.stream ?? []).filter((p) => p.w > 0 && p.h > 0);
  while (overlay.children.length > panes.length) overlay.lastChild.remove();
  while (overlay.children.length < panes.length) overlay.append(pane());
  panes.forEach((p, n) => {
    const element = overlay.children[n];
    const percent = (share) => `${(share * 100).toFixed(3)}%`;
    Object.assign(element.style, { left: percent(p.x), top: percent(p.y), width: percent(p.w), height: percent(p.h), zIndex: p.zorder });
    element.style.setProperty('--level', percent(Math.min(1, (p.vol ?? 0) / 255)));
    element.firstChild.textContent = p.uid || `pane ${p.paneid}`;
  });
}

function pane() {
  const element = document.createElement('div');
  element.className = 'pane';
  element.append(document.createElement('b'), document.createElement('i'));
  return element;
}
