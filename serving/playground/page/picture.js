// A picture to ask about: drawn with mouse, finger or pen, dropped, pasted or chosen. What is chosen is sent as it is,
// to the byte, unless it is drawn upon; then it is a PNG, as a drawing is.

import { base64Of, bytesOf, element, pictureOf, Told } from './elements.js';

const SIDE = 280; // pixels of an empty canvas
const LARGEST = 2048; // of a picture's longer side, as it is drawn upon
const INK = 96; // from which difference in light on a pixel is no paper, of 255
const SMALL = 96; // up to which pixels are shown as squares
const ACCEPTED = 'image/*,.bmp,.gif,.jpeg,.jpg,.png,.webp';

export class PictureField {
  constructor(field, changed) {
    this.changed = changed;
    this.blob = null; // what is sent in the canvas's place
    this.name = 'drawing.png';
    this.isEmpty = true;
    this.isDrawing = true; // and not a picture that is drawn upon
    this.isLight = false; // a dark pen on white, else a white one on black
    this.canvas = element('canvas', {
      width: SIDE,
      height: SIDE,
      role: 'img',
      'aria-label': 'The picture. Draw here with mouse, finger or pen, or choose a file.',
    });
    this.hint = element('p', {}, 'Draw here, or drop a picture');
    this.note = element('span', { class: 'hint', role: 'status' });
    this.pen = element('input', { type: 'range', min: 2, max: 16, value: 8, 'aria-label': 'Width of the pen' });
    this.paper = element('button', { type: 'button', onclick: () => this.#turnPaper() });
    this.place = null; // where examples have their ink
    this.placed = element('input', { type: 'checkbox', checked: true });
    this.placing = element('label', { class: 'inline', hidden: true }, this.placed, 'place a drawing as the examples are');
    this.pad = element('div', { class: 'pad' }, this.canvas, this.hint);
    this.element = element(
      'div',
      { class: 'field wide' },
      this.pad,
      element(
        'div',
        { class: 'row' },
        element('button', { type: 'button', onclick: () => this.clear() }, 'Clear'),
        this.paper,
        element('span', { class: 'inline' }, 'pen', this.pen),
        this.#chooser(field.name),
      ),
      this.placing,
      this.note,
    );
    this.#listen();
    this.clear();
  }

  /** The value that is sent, `{"b64": …}`. */
  async value() {
    if (this.isEmpty) throw new Told('Draw something, or choose a picture.');
    return { b64: await base64Of(await this.file()) };
  }

  /** The Blob whose bytes are sent. */
  file() {
    if (this.blob) return this.blob;
    const canvas = this.isDrawing && this.place && this.placed.checked ? this.#inItsPlace() : this.canvas;
    return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  }

  /** Shows an example's picture, `{"b64": …}`. */
  set(value) {
    return this.load(new Blob([bytesOf(value.b64)]), 'example.png');
  }

  async load(blob, name) {
    this.clear();
    try {
      const picture = await pictureOf(blob);
      const scale = Math.min(1, LARGEST / Math.max(picture.naturalWidth, picture.naturalHeight));
      this.#resize(Math.round(picture.naturalWidth * scale), Math.round(picture.naturalHeight * scale));
      this.context.drawImage(picture, 0, 0, this.canvas.width, this.canvas.height);
      this.note.textContent = name === 'example.png' ? '' : `${name}, ${picture.naturalWidth} × ${picture.naturalHeight}`;
    } catch {
      this.note.textContent = `${name} cannot be shown by this browser. It is sent as it is.`;
    }
    Object.assign(this, { blob, name, isEmpty: false, isDrawing: false });
    this.hint.hidden = true;
  }

  clear() {
    this.#resize(SIDE, SIDE);
    this.#fillPaper();
    Object.assign(this, { blob: null, name: 'drawing.png', isEmpty: true, isDrawing: true });
    this.hint.hidden = false;
    this.note.textContent = '';
  }

  /** Takes the paper that examples have, `{"b64": …}` each, and where on it, if they are small and mostly paper. */
  async takePaperOf(values) {
    const examples = await Promise.all(values.map((value) => pictureOf(new Blob([bytesOf(value.b64)])).then(pixelsOf)));
    this.isLight = mean(examples.map(borderOf)) > 127;
    const inks = examples.map((pixels) => inkOf(pixels, this.isLight)).filter((ink) => ink !== null);
    const isSmall = examples.every(({ width, height }) => Math.max(width, height) <= SMALL);
    const isPaper = inks.length > 0 && mean(inks.map((ink) => ink.share)) < 0.5;
    this.place = isSmall && isPaper ? placeOf(inks) : null;
    this.placing.hidden = this.place === null;
    if (this.isEmpty) this.clear();
  }

  /** The drawing, moved and scaled to where the examples have theirs. */
  #inItsPlace() {
    const ink = inkOf(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height), this.isLight);
    if (ink === null) return this.canvas;
    const canvas = element('canvas', { width: SIDE, height: SIDE });
    const context = canvas.getContext('2d');
    const { anchor, at, side } = this.place;
    const scale = side / ink.side;
    const [left, top] = at.map((share, axis) => SIDE * (share - scale * ink[anchor][axis]));
    context.fillStyle = this.isLight ? '#fff' : '#000';
    context.fillRect(0, 0, SIDE, SIDE);
    context.drawImage(this.canvas, left, top, SIDE * scale, SIDE * scale);
    return canvas;
  }

  get context() {
    return this.canvas.getContext('2d', { willReadFrequently: true });
  }

  #resize(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.classList.toggle('small-pixels', Math.max(width, height) <= SMALL);
  }

  #fillPaper() {
    this.context.fillStyle = this.isLight ? '#fff' : '#000';
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.paper.textContent = this.isLight ? 'Black on white' : 'White on black';
    this.paper.setAttribute('aria-label', `${this.paper.textContent}. Change it`);
  }

  #turnPaper() {
    this.isLight = !this.isLight;
    this.clear();
  }

  #chooser(name) {
    const input = element('input', { type: 'file', accept: ACCEPTED, 'aria-label': `Choose a file for ${name}` });
    input.addEventListener('change', () => this.#take(input.files[0]).then(() => (input.value = '')));
    return element('label', { class: 'button' }, 'Choose file', input);
  }

  async #take(file) {
    if (!file) return;
    await this.load(file, file.name || 'pasted.png');
    this.changed();
  }

  #listen() {
    let from = null;
    const place = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [
        ((event.clientX - box.left) / box.width) * this.canvas.width,
        ((event.clientY - box.top) / box.height) * this.canvas.height,
      ];
    };
    this.canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.canvas.setPointerCapture(event.pointerId);
      from = place(event);
      this.#stroke(from, from, event);
    });
    this.canvas.addEventListener('pointermove', (event) => {
      if (from === null) return;
      for (const each of event.getCoalescedEvents?.() ?? [event]) {
        const to = place(each);
        this.#stroke(from, to, each);
        from = to;
      }
    });
    for (const end of ['pointerup', 'pointercancel']) {
      this.canvas.addEventListener(end, () => {
        if (from !== null) this.changed();
        from = null;
      });
    }
    this.pad.addEventListener('dragover', (event) => {
      event.preventDefault();
      this.pad.classList.add('over');
    });
    this.pad.addEventListener('dragleave', () => this.pad.classList.remove('over'));
    this.pad.addEventListener('drop', (event) => {
      event.preventDefault();
      this.pad.classList.remove('over');
      this.#take(event.dataTransfer.files[0]);
    });
    this.paste = (event) => this.#take([...event.clipboardData.files].find((file) => file.type.startsWith('image/')));
    document.addEventListener('paste', this.paste);
  }

  /** Ends what listens beyond the field itself. */
  remove() {
    document.removeEventListener('paste', this.paste);
  }

  #stroke(from, to, event) {
    const side = Math.max(this.canvas.width, this.canvas.height);
    const pressed = event.pointerType === 'pen' && event.pressure > 0 ? 0.5 + event.pressure : 1;
    const colour = this.isLight ? '#000' : '#fff';
    const lineWidth = (side * this.pen.value * pressed) / 100;
    Object.assign(this.context, { lineCap: 'round', strokeStyle: colour, fillStyle: colour, lineWidth });
    this.context.beginPath();
    this.context.moveTo(...from);
    this.context.lineTo(...to);
    this.context.stroke();
    this.context.beginPath();
    this.context.arc(...to, lineWidth / 2, 0, 2 * Math.PI); // a line of no length, which is a dot, is not drawn
    this.context.fill();
    Object.assign(this, { blob: null, name: 'drawing.png', isEmpty: false });
    this.hint.hidden = true;
  }
}

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

function pixelsOf(picture) {
  const [width, height] = [picture.naturalWidth, picture.naturalHeight];
  const context = element('canvas', { width, height }).getContext('2d');
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, width, height);
}

const lightOf = ({ data, width }, x, y) => mean([...data.subarray(4 * (y * width + x), 4 * (y * width + x) + 3)]);

/** How light the outermost pixels are, 0 to 255. */
function borderOf(pixels) {
  const lights = [];
  for (let x = 0; x < pixels.width; x++) lights.push(lightOf(pixels, x, 0), lightOf(pixels, x, pixels.height - 1));
  for (let y = 0; y < pixels.height; y++) lights.push(lightOf(pixels, 0, y), lightOf(pixels, pixels.width - 1, y));
  return mean(lights);
}

/** Where the ink of a picture lies, in shares of it: the middle of its box and of its mass, x and y, the longer side of
 * the box, and its share of all pixels. Null for an empty picture. */
function inkOf(pixels, isLight) {
  const { width, height } = pixels;
  let [left, top, right, bottom, count, sumX, sumY] = [width, height, 0, 0, 0, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const light = lightOf(pixels, x, y);
      if ((isLight ? 255 - light : light) < INK) continue;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
      [count, sumX, sumY] = [count + 1, sumX + x + 0.5, sumY + y + 0.5];
    }
  }
  if (count === 0) return null;
  return {
    box: [(left + right) / 2 / width, (top + bottom) / 2 / height],
    mass: [sumX / count / width, sumY / count / height],
    side: Math.max((right - left) / width, (bottom - top) / height),
    share: count / (width * height),
  };
}

/** What examples were placed by, the middle of the box or of the mass, whichever is the steadier, and where it is. */
function placeOf(inks) {
  const along = (anchor, axis) => inks.map((ink) => ink[anchor][axis]);
  const spread = (anchor) => varianceOf(along(anchor, 0)) + varianceOf(along(anchor, 1));
  const anchor = spread('mass') < spread('box') ? 'mass' : 'box';
  return { anchor, at: [mean(along(anchor, 0)), mean(along(anchor, 1))], side: mean(inks.map((ink) => ink.side)) };
}

function varianceOf(numbers) {
  const middle = mean(numbers);
  return mean(numbers.map((number) => (number - middle) ** 2));
}
