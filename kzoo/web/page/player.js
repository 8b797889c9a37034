// Tracks of pieces (Blobs of interleaved floats), played together while more of them come.

const AHEAD_SECONDS = 4;

export class Player {
  // context: an AudioContext or, in a test, an OfflineAudioContext of the tracks' rate.
  static async on(context, onPosition) {
    await context.audioWorklet.addModule(new URL("./mixer-worklet.js", import.meta.url));
    return new Player(context, onPosition);
  }

  constructor(context, onPosition) {
    this.context = context;
    this.node = new AudioWorkletNode(context, "mixer", { numberOfInputs: 0, outputChannelCount: [2] });
    this.node.connect(context.destination);
    this.node.port.onmessage = ({ data }) => {
      this.position = data.position;
      this.feed();
      onPosition?.(data);
    };
    this.reset(1);
  }

  reset(width) {
    Object.assign(this, { pieces: [], width, position: 0, sent: 0, playing: false, generation: (this.generation ?? 0) + 1 });
    this.node.port.postMessage({ seek: 0, play: false });
  }

  // piece: {start, count, sounds: [Blob]}, in their order.
  add(piece) {
    this.pieces.push(piece);
    return this.feed();
  }

  get length() {
    const last = this.pieces.at(-1);
    return last ? last.start + last.count : 0;
  }

  setGains(gains) {
    this.node.port.postMessage({ gains });
  }

  seek(sample) {
    this.position = Math.max(0, Math.min(sample, this.length));
    this.generation++;
    this.sent = this.pieces.findIndex(({ start, count }) => this.position < start + count);
    if (this.sent < 0) this.sent = this.pieces.length;
    this.node.port.postMessage({ seek: this.position });
    return this.feed();
  }

  play(on) {
    this.playing = on;
    this.node.port.postMessage({ play: on });
    return this.feed();
  }

  // Send what is played next; no more is held in memory than some seconds, or a piece.
  async feed() {
    if (this.feeding) return this.feeding;
    this.feeding = (async () => {
      while (this.sent < this.pieces.length) {
        const { start, count, sounds } = this.pieces[this.sent];
        if (start > this.position + AHEAD_SECONDS * this.context.sampleRate) break;
        const generation = this.generation;
        const buffers = await Promise.all(sounds.map((blob) => blob.arrayBuffer()));
        if (generation !== this.generation) continue;
        const tracks = buffers.map((buffer) => new Float32Array(buffer));
        this.node.port.postMessage({ push: { start, count, tracks }, width: this.width }, buffers);
        this.sent++;
      }
    })();
    await this.feeding;
    this.feeding = null;
  }
}
