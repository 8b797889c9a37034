// A track's picture: its waveform above its spectrogram, from the columns of analysis.js.

import { ROWS } from "./analysis.js";

export const COLUMNS = 1200;
export const COLOURS = ["#7b8098", "#e0559a", "#2f9fd0", "#e08a2e", "#3aa657", "#9a6be0"];
const DARK = [[17, 19, 28], [58, 28, 110], [178, 54, 122], [251, 136, 97], [252, 253, 191]];
const LIGHT = [[246, 247, 251], [190, 205, 240], [110, 130, 215], [92, 60, 160], [40, 10, 60]];
const WAVE = 0.3; // of the height

const scheme = matchMedia("(prefers-color-scheme: dark)");
const pictures = new Set();
scheme.addEventListener("change", () => pictures.forEach((picture) => picture.recolour()));

export class Picture {
  constructor(canvas, colour) {
    Object.assign(this, { canvas, colour, peaks: new Float32Array(2 * COLUMNS), rows: new Uint8Array(COLUMNS * ROWS) });
    this.columns = COLUMNS;
    this.filled = 0;
    this.spectrogram = new OffscreenCanvas(COLUMNS, ROWS);
    pictures.add(this);
    this.observer = new ResizeObserver(() => this.paint());
    this.observer.observe(canvas);
  }

  remove() {
    pictures.delete(this);
    this.observer.disconnect();
  }

  // columns: of the whole, where a recording has fewer samples than there are columns.
  add({ first, peaks, rows }, columns = COLUMNS) {
    this.columns = columns;
    this.peaks.set(peaks, 2 * first);
    this.rows.set(rows, first * ROWS);
    this.filled = Math.max(this.filled, first + peaks.length / 2);
    this.colourIn(first, peaks.length / 2);
    this.paint();
  }

  // New columns come in on the right, and old ones leave on the left.
  scroll({ peaks, rows }) {
    const count = Math.min(peaks.length / 2, COLUMNS);
    this.peaks.copyWithin(0, 2 * count);
    this.rows.copyWithin(0, count * ROWS);
    this.peaks.set(peaks.subarray(peaks.length - 2 * count), 2 * (COLUMNS - count));
    this.rows.set(rows.subarray(rows.length - count * ROWS), (COLUMNS - count) * ROWS);
    this.filled = COLUMNS;
    this.recolour();
  }

  recolour() {
    this.colourIn(0, this.filled);
    this.paint();
  }

  colourIn(first, count) {
    if (!count) return;
    const image = new ImageData(count, ROWS), map = palette(scheme.matches ? DARK : LIGHT);
    for (let x = 0; x < count; x++) {
      for (let row = 0; row < ROWS; row++) {
        const at = 4 * ((ROWS - 1 - row) * count + x), from = 4 * this.rows[(first + x) * ROWS + row];
        image.data.set(map.subarray(from, from + 4), at);
      }
    }
    this.spectrogram.getContext("2d").putImageData(image, first, 0);
  }

  paint() {
    const ratio = devicePixelRatio || 1, { canvas } = this;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d"), top = Math.round(WAVE * height);
    context.clearRect(0, 0, width, height);
    if (!this.filled) return;
    const end = (this.filled / this.columns) * width;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.spectrogram, 0, 0, this.filled, ROWS, 0, top, end, height - top);
    context.fillStyle = this.colour;
    for (let x = 0; x < end; x++) {
      const from = Math.floor((x / width) * this.columns), to = Math.max(from + 1, Math.floor(((x + 1) / width) * this.columns));
      let low = Infinity, high = -Infinity;
      for (let c = from; c < Math.min(to, this.filled); c++) {
        low = Math.min(low, this.peaks[2 * c]);
        high = Math.max(high, this.peaks[2 * c + 1]);
      }
      const y = (value) => (top / 2) * (1 - Math.max(-1, Math.min(1, value)));
      context.fillRect(x, y(high), 1, Math.max(1, y(low) - y(high)));
    }
  }
}

// 256 colours as bytes, between the given ones.
function palette(stops) {
  const out = new Uint8ClampedArray(1024);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1), k = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) out[4 * i + c] = stops[k][c] + (place - k) * (stops[k + 1][c] - stops[k][c]);
    out[4 * i + 3] = 255;
  }
  return out;
}
