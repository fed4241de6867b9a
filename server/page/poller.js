// Work that repeats: not while the page is hidden, never twice at once, and rarer where it is dear.

const SHARE = 4;
const WAIT_MS_MAX = 30_000;
const FAILED_MS = 4_000;

/** Runs `work(signal)` now and then about every `intervalMs`; less often while its promise gives `false`. */
export class Poller {
  #work;
  #intervalMs;
  #timer = 0;
  #running = null;
  #repeats = false;

  constructor(work, intervalMs) {
    this.#work = work;
    this.#intervalMs = intervalMs;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(this.#timer);
      else if (this.#repeats) this.now();
    });
  }

  /** Changes how often, from the next time on. */
  every(intervalMs) {
    this.#intervalMs = intervalMs;
  }

  /** Repeats from now on. */
  start() {
    this.#repeats = true;
    this.now();
  }

  /** Stops repeating; what runs ends. */
  stop() {
    this.#repeats = false;
    clearTimeout(this.#timer);
  }

  /** Runs at once; what still runs for an older state is given up. */
  async now() {
    clearTimeout(this.#timer);
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    const started = performance.now();
    let succeeded;
    try {
      succeeded = await this.#work(running.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (this.#running === running) {
        this.#running = null;
        const wait = Math.max(this.#intervalMs, SHARE * (performance.now() - started), succeeded === false ? FAILED_MS : 0);
        if (this.#repeats && !document.hidden) this.#timer = setTimeout(() => this.now(), Math.min(wait, WAIT_MS_MAX));
      }
    }
  }
}
