// Elements of the page. What comes from a server is put in as text, never as HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** What went wrong, in words for the person who asks; no fault of the page. */
export class Told extends Error {}

/** An element with attributes and children; a child that is no node is text, one that is null is left out. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** A colour for a class, far from those of its neighbours: red, green and blue, 0 to 255. */
export function colour(id) {
  const hue = (id * 137.508 + 12) % 360;
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (0.54 - 0.36 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
}

export const css = (rgb) => `rgb(${rgb.join(', ')})`;

/** A number as a person reads it: five digits that count, however large or small. */
export function figure(value, digits = 5) {
  if (typeof value !== 'number') return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return value.toLocaleString('en');
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(digits - 1);
  return value.toLocaleString('en', { maximumSignificantDigits: digits });
}

/** A probability as a share of a hundred; never 100 % where it is less. */
export function percent(value) {
  if (typeof value !== 'number') return String(value);
  const shown = value > 0.9995 && value < 1 ? 99.9 : value * 100;
  return `${shown.toFixed(1)} %`;
}

/** The bytes that base64 stands for. */
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** The base64 of a Blob. */
export function base64Of(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** A Blob as a picture that is decoded. Rejects where the browser cannot. */
export async function pictureOf(blob) {
  const picture = new Image();
  picture.src = URL.createObjectURL(blob);
  await picture.decode();
  return picture;
}
