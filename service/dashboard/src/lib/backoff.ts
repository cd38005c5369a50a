/** Seconds to wait before try number `failures` + 1: 0.5, 1, 2 ... 10. `chance` in [0, 1) spreads many browsers. */
export function backoff(failures: number, chance: number): number {
  return Math.min(10, 0.5 * 2 ** failures) * (0.75 + chance / 2)
}
