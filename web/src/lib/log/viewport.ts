// Which rows of a very long list are in view. Pure: what a scroller tells goes in, what to show comes out.
//
// A browser's elements end at some millions of pixels, a log doesn't. So the scrollbar moves on a track of
// bounded length, and what is in view is an *anchor*: the first row, and how many of its pixels are above the
// view. What moves the scroller a little (wheel, keys, a finger) moves the anchor by as many pixels, whatever the
// track's scale; what moves it far (the scrollbar) places the anchor in proportion. So the two drift apart; when
// the scroller rests, `settled` says where the bar belongs. Near both ends of the track a pixel is a pixel, so that
// an end isn't met early.
//
// Rows may be of different heights (wrapped lines): those in view are measured, for others `rowHeight` is assumed.
// At the end the last row lies at the bottom of the view; `atEnd` stays true while rows are added.

export const LONGEST_TRACK = 12_000_000;
const EDGE = 60_000;

export class Viewport {
  /** What a row that isn't measured is taken to have; none has less than at first. */
  rowHeight: number;
  rows = 0;
  /** Pixels. */
  height = 0;
  /** The first row in view, and its pixels above it. */
  first = 0;
  above = 0;
  atEnd = false;
  #real = 0;
  readonly #least: number;
  readonly #measure: (row: number) => number | undefined;

  constructor(rowHeight: number, measure: (row: number) => number | undefined = () => undefined) {
    this.rowHeight = rowHeight;
    this.#least = rowHeight;
    this.#measure = measure;
  }

  /** The length of what is scrolled over. */
  get track(): number {
    return Math.max(this.height, Math.min(this.rows * this.rowHeight, LONGEST_TRACK));
  }

  /** How many rows fit at most. */
  get fitting(): number {
    return Math.max(1, Math.ceil(this.height / this.#least));
  }

  /** At rest: take other rows to be about as high as those in view. */
  learn(): void {
    let height = 0;
    const last = this.last();
    for (let row = this.first; row < last; row++) height += this.#measure(row) ?? this.#least;
    if (last > this.first) this.rowHeight = (3 * this.rowHeight + height / (last - this.first)) / 4;
  }

  /** The scroller is at this pixel of its track. `far` says that it was moved in proportion, by its bar. */
  scrolled(real: number, far: boolean): void {
    const moved = real - this.#real;
    if (Math.abs(moved) < 0.5) return;
    this.#real = real;
    if (far || Math.abs(moved) > 2 * this.height) this.#place(real);
    else this.by(moved);
  }

  /** Move by pixels. */
  by(pixels: number): void {
    if (this.atEnd) {
      if (pixels >= 0) return;
      this.#leaveEnd();
    }
    let above = this.above + pixels;
    let first = this.first;
    while (above < 0 && first > 0) above += this.#height(--first);
    let height = this.#height(first);
    while (above >= height && first < this.rows - 1) {
      above -= height;
      height = this.#height(++first);
    }
    this.first = first;
    this.above = Math.max(0, above);
    this.#stayWithin();
  }

  /** Have a row in view: at its top, or if it isn't in view anyway a third below. */
  show(row: number, where: "top" | "near" = "near"): void {
    const wanted = Math.max(0, Math.min(row, this.rows - 1));
    if (where === "near") {
      const last = this.last();
      if (!this.atEnd && wanted > this.first && wanted < last - 1) return;
      if (this.atEnd && wanted > last - this.fitting + 1) return;
    }
    this.atEnd = false;
    this.first = wanted;
    this.above = 0;
    if (where === "near") this.by(-Math.floor(this.height / 3));
    else this.#stayWithin();
  }

  toEnd(): void {
    this.atEnd = true;
    this.first = Math.max(0, this.rows - this.fitting);
    this.above = 0;
  }

  /** The row after the last one in view. */
  last(): number {
    if (this.atEnd) return this.rows;
    let row = this.first;
    for (let bottom = -this.above; bottom < this.height && row < this.rows; row++)
      bottom += this.#height(row);
    return row;
  }

  /** There are more rows, or fewer. */
  resize(rows: number): void {
    this.rows = rows;
    if (this.atEnd) this.toEnd();
    else this.#stayWithin();
  }

  /** Where the scroller belongs. */
  settled(): number {
    const range = this.track - this.height;
    if (range <= 0) return this.remember(0);
    if (this.atEnd) return this.remember(range);
    const whole = Math.max(1, this.#whole());
    const position = Math.min(this.first * this.rowHeight + this.above, whole);
    const edge = Math.min(EDGE, range / 3);
    let real: number;
    if (whole <= range) real = position;
    else if (position < edge) real = position;
    else if (whole - position < edge) real = range - (whole - position);
    else real = edge + ((position - edge) / (whole - 2 * edge)) * (range - 2 * edge);
    return this.remember(real);
  }

  /** Whether the scroller has met an end of its track before the view has met that of the rows. */
  get blocked(): boolean {
    if (this.#real <= 0) return this.first > 0 || this.above > 0;
    return this.#real >= this.track - this.height - 1 && !this.atEnd;
  }

  /** The scroller was put here. */
  remember(real: number): number {
    this.#real = real;
    return real;
  }

  #whole(): number {
    return this.rows * this.rowHeight - this.height;
  }

  #place(real: number): void {
    const range = this.track - this.height;
    if (range <= 0 || real >= range - 0.5) return this.toEnd();
    const whole = this.#whole();
    const edge = Math.min(EDGE, range / 3);
    let position: number;
    if (whole <= range) position = real;
    else if (real < edge) position = real;
    else if (range - real < edge) position = whole - (range - real);
    else position = edge + ((real - edge) / (range - 2 * edge)) * (whole - 2 * edge);
    this.atEnd = false;
    this.first = Math.min(Math.floor(position / this.rowHeight), Math.max(0, this.rows - 1));
    this.above = Math.min(position - this.first * this.rowHeight, this.#height(this.first));
    this.#stayWithin();
  }

  /** From the view's bottom to its top: the same rows, anchored at the first. */
  #leaveEnd(): void {
    this.atEnd = false;
    let left = this.height;
    let row = this.rows;
    while (left > 0 && row > 0) left -= this.#height(--row);
    this.first = row;
    this.above = Math.max(0, -left);
  }

  /** Don't show what is below the last row. */
  #stayWithin(): void {
    this.first = Math.max(0, Math.min(this.first, this.rows - 1));
    let bottom = -this.above;
    for (let row = this.first; row < this.rows; row++) {
      bottom += this.#height(row);
      if (bottom > this.height + 0.5) return;
    }
    this.toEnd();
  }

  #height(row: number): number {
    return this.#measure(row) ?? this.rowHeight;
  }
}
