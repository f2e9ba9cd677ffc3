// A picture to ask about: drawn with mouse, finger or pen, dropped, pasted or chosen. What is chosen is sent as it is,
// to the byte, unless it is drawn upon; then it is a PNG, as a drawing is.

import { base64Of, bytesOf, element, pictureOf } from './elements.js';

const SIDE = 280; // pixels of an empty canvas
const LARGEST = 2048; // of a picture's longer side, as it is drawn upon
const SMALL = 96; // up to which pixels are shown as squares
const ACCEPTED = 'image/*,.bmp,.gif,.jpeg,.jpg,.png,.webp';

export class PictureField {
  constructor(field, changed) {
    this.changed = changed;
    this.blob = null; // what is sent in the canvas's place
    this.name = 'drawing.png';
    this.isEmpty = true;
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
      this.note,
    );
    this.#listen();
    this.clear();
  }

  /** The value that is sent, `{"b64": …}`. */
  async value() {
    if (this.isEmpty) throw new Error('Draw something, or choose a picture.');
    return { b64: await base64Of(await this.file()) };
  }

  /** The Blob whose bytes are sent. */
  file() {
    return this.blob ?? new Promise((resolve) => this.canvas.toBlob(resolve, 'image/png'));
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
    Object.assign(this, { blob, name, isEmpty: false });
    this.hint.hidden = true;
  }

  clear() {
    this.#resize(SIDE, SIDE);
    this.#fillPaper();
    Object.assign(this, { blob: null, name: 'drawing.png', isEmpty: true });
    this.hint.hidden = false;
    this.note.textContent = '';
  }

  /** Takes white paper, or black, whichever is more like the edge of a picture that the model knows. */
  async takePaperOf(value) {
    const picture = await pictureOf(new Blob([bytesOf(value.b64)]));
    const [width, height] = [picture.naturalWidth, picture.naturalHeight];
    const context = element('canvas', { width, height }).getContext('2d');
    context.drawImage(picture, 0, 0);
    this.isLight = meanOfBorder(context.getImageData(0, 0, width, height)) > 127;
    if (this.isEmpty) this.clear();
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
    return element('label', { class: 'button' }, 'Choose a file', input);
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
    Object.assign(this.context, {
      lineCap: 'round',
      lineJoin: 'round',
      strokeStyle: this.isLight ? '#000' : '#fff',
      lineWidth: (side * this.pen.value * pressed) / 100,
    });
    this.context.beginPath();
    this.context.moveTo(...from);
    this.context.lineTo(...to);
    this.context.stroke();
    Object.assign(this, { blob: null, name: 'drawing.png', isEmpty: false });
    this.hint.hidden = true;
  }
}

/** How light the outermost pixels are, 0 to 255. */
function meanOfBorder({ data, width, height }) {
  let sum = 0;
  let count = 0;
  for (let y = 0; y < height; y++) {
    const step = y === 0 || y === height - 1 ? 1 : Math.max(1, width - 1);
    for (let x = 0; x < width; x += step) {
      const at = 4 * (y * width + x);
      sum += (data[at] + data[at + 1] + data[at + 2]) / 3;
      count += 1;
    }
  }
  return sum / count;
}
