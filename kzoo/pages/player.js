// Sounds that play in step, of which one is heard: switching keeps the position, without a gap.

const FADE_SECONDS = 0.006; // the time constant of every switch, so that none clicks

// The sounds of one player on an AudioContext or, in a test, an OfflineAudioContext.
class Synchronised {
  constructor(context, buffers, seconds) {
    const samples = Math.round(seconds * context.sampleRate);
    Object.assign(this, { context, seconds, playing: false, loop: false, heard: 0 });
    this.buffers = buffers.map((buffer) => ofLength(context, buffer, samples));
    this.offset = 0; // seconds into the sounds, while nothing plays
    this.levels = buffers.map(() => 1);
  }

  get position() {
    if (!this.playing) return this.offset;
    const played = Math.max(0, this.context.currentTime - this.began);
    return this.loop ? played % this.seconds : Math.min(played, this.seconds);
  }

  play() {
    if (this.playing) return;
    if (this.offset >= this.seconds) this.offset = 0;
    const when = this.context.currentTime;
    // Gains of their own for each start, so that what was stopped before can fade out meanwhile.
    this.all = new GainNode(this.context, { gain: 0 });
    this.all.connect(this.context.destination);
    this.gains = this.levels.map((level, i) => new GainNode(this.context, { gain: i === this.heard ? level : 0 }));
    // The sources start at one time of one clock, so they stay together to the sample.
    this.sources = this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(this.context, { buffer, loop: this.loop });
      source.connect(this.gains[i]).connect(this.all);
      source.start(when, this.offset);
      return source;
    });
    this.began = when - this.offset;
    this.playing = true;
    this.fade(this.all, 1);
  }

  pause() {
    if (!this.playing) return;
    this.offset = this.position;
    this.playing = false;
    this.fade(this.all, 0);
    for (const source of this.sources) source.stop(this.context.currentTime + 8 * FADE_SECONDS);
  }

  seek(seconds) {
    const playing = this.playing;
    this.pause();
    this.offset = Math.max(0, Math.min(seconds, this.seconds));
    if (playing) this.play();
  }

  setLoop(on) {
    const position = this.position;
    this.loop = on;
    if (!this.playing) return;
    this.began = this.context.currentTime - position;
    for (const source of this.sources) source.loop = on;
  }

  hear(number) {
    this.heard = number;
    this.gains?.forEach((gain, i) => this.fade(gain, i === number ? this.levels[i] : 0));
  }

  setLevels(levels) {
    this.levels = levels;
    this.hear(this.heard);
  }

  fade(node, value) {
    node.gain.setTargetAtTime(value, this.context.currentTime, FADE_SECONDS);
  }
}

// A decoder may give some samples more or less: loops of two lengths would drift apart.
function ofLength(context, buffer, samples) {
  const exact = new AudioBuffer({ length: samples, numberOfChannels: buffer.numberOfChannels, sampleRate: context.sampleRate });
  for (let c = 0; c < buffer.numberOfChannels; c++) exact.copyToChannel(buffer.getChannelData(c).subarray(0, samples), c);
  return exact;
}

// One <section class="player">: its buttons, cursors and sounds.
class Panel {
  constructor(element) {
    this.element = element;
    this.seconds = Number(element.dataset.seconds);
    this.tracks = [...element.querySelectorAll(".track")];
    this.playButton = element.querySelector(".play");
    this.slider = element.querySelector(".seek");
    this.heard = 0;
    this.position = 0;
    this.loop = this.matched = false;
    this.playButton.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    element.querySelector(".loop").addEventListener("click", () => this.setLoop(!this.loop));
    this.tracks.forEach((track, i) => {
      track.querySelector(".listen").addEventListener("click", () => this.hear(i));
      track.querySelector(".picture")?.addEventListener("click", (event) => {
        const box = event.currentTarget.getBoundingClientRect();
        this.hear(i);
        this.seek(((event.clientX - box.left) / box.width) * this.seconds);
      });
    });
    element.addEventListener("pointerdown", () => (Panel.current = this));
    // What the mouse has pressed gives Space back to the transport; what Tab has reached keeps it.
    element.addEventListener("click", (event) => event.detail && document.activeElement.blur());
    element.classList.add("ready");
    this.hear(0);
    this.draw();
  }

  // The sounds are decoded when they are first played: a page may hold many players.
  async load() {
    this.loading ??= (async () => {
      Panel.context ??= new AudioContext();
      this.element.classList.add("waiting");
      const buffers = await Promise.all(
        this.tracks.map((track) => Panel.context.decodeAudioData(bytesOf(track.querySelector("audio").src))),
      );
      this.element.classList.remove("waiting");
      this.sounds = new Synchronised(Panel.context, buffers, this.seconds);
      this.sounds.loop = this.loop;
      this.sounds.seek(this.position);
      this.applyLevels();
      this.hear(this.heard);
    })();
    return this.loading;
  }

  get playing() {
    return Boolean(this.sounds?.playing);
  }

  async play() {
    for (const other of Panel.all) if (other !== this) other.pause();
    Panel.current = this;
    await this.load();
    await Panel.context.resume();
    this.sounds.play();
    this.draw();
    requestAnimationFrame(() => this.tick());
  }

  pause() {
    this.sounds?.pause();
    this.draw();
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  seek(seconds) {
    this.position = Math.max(0, Math.min(seconds, this.seconds));
    this.sounds?.seek(this.position);
    this.draw();
  }

  hear(number) {
    this.heard = number;
    this.sounds?.hear(number);
    this.tracks.forEach((track, i) => {
      track.classList.toggle("heard", i === number);
      track.querySelector(".listen").setAttribute("aria-pressed", i === number);
    });
  }

  setLoop(on) {
    this.loop = on;
    this.sounds?.setLoop(on);
    this.element.querySelector(".loop").setAttribute("aria-pressed", on);
  }

  // Whether all sounds of a row are as loud as the quietest of them.
  setMatched(on) {
    this.matched = on;
    this.applyLevels();
  }

  applyLevels() {
    const gain = (track) => (this.matched ? 10 ** (Number(track.dataset.matchDb) / 20) : 1);
    this.sounds?.setLevels(this.tracks.map(gain));
  }

  // The numbers of the tracks in each row, as they are shown now.
  get rows() {
    const shown = [...this.element.querySelectorAll(".row:not([hidden])")];
    return shown.map((row) => [...row.querySelectorAll(".track")].map((track) => this.tracks.indexOf(track)));
  }

  // By so many columns or rows from what is heard.
  move(columns, rows) {
    const shown = this.rows;
    const row = shown.findIndex((numbers) => numbers.includes(this.heard));
    const column = shown[row].indexOf(this.heard);
    const next = shown[(row + rows + shown.length) % shown.length];
    const place = rows ? Math.min(column, next.length - 1) : (column + columns + next.length) % next.length;
    this.hear(next[place]);
  }

  choose(column) {
    const row = this.rows.find((numbers) => numbers.includes(this.heard));
    if (column < row.length) this.hear(row[column]);
  }

  tick() {
    if (this.playing && !this.loop && this.sounds.position >= this.seconds) this.pause();
    this.draw();
    if (this.playing) requestAnimationFrame(() => this.tick());
  }

  draw() {
    if (this.sounds) this.position = this.sounds.position;
    this.element.classList.toggle("playing", this.playing);
    this.playButton.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.slider.value = this.position;
    this.element.querySelector(".clock").value = clock(this.position);
    const share = `${(100 * this.position) / this.seconds}%`;
    for (const cursor of this.element.querySelectorAll(".cursor")) cursor.style.left = share;
  }
}

function bytesOf(uri) {
  return Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0)).buffer;
}

function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}

const KEYS = {
  " ": (panel) => panel.toggle(),
  ArrowLeft: (panel, shift) => panel.seek(panel.position - (shift ? 5 : 1)),
  ArrowRight: (panel, shift) => panel.seek(panel.position + (shift ? 5 : 1)),
  ArrowUp: (panel) => panel.move(0, -1),
  ArrowDown: (panel) => panel.move(0, 1),
  x: (panel) => panel.move(1, 0),
  l: (panel) => panel.setLoop(!panel.loop),
};

Panel.all = [...document.querySelectorAll(".player")].map((element) => new Panel(element));
Panel.current = Panel.all[0];
document.addEventListener("keydown", (event) => {
  if (!Panel.current || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("textarea, select, input:not([type=range])") || (event.key === " " && event.target.matches("button, summary, a"))) return;
  const digit = /^[1-9]$/.test(event.key);
  const act = digit ? (panel) => panel.choose(Number(event.key) - 1) : KEYS[event.key];
  if (!act) return;
  event.preventDefault(); // also what an arrow would do to the slider in focus
  act(Panel.current, event.shiftKey);
});
