// Preact with htm in place of JSX: the pages need no build.
import { h, render } from '/vendor/preact.js';
import htm from '/vendor/htm.js';

export const html = htm.bind(h);
export { render };
export { useCallback, useEffect, useLayoutEffect, useRef, useState } from '/vendor/preact-hooks.js';
