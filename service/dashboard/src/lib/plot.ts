/** The columns of a chart. */

import type { Series } from './series'
import { ema } from './smoothing'

export type Axis = 'step' | 'time'
export type Column = (number | null)[]
export type Zoom = [from: number, to: number]

/** How all charts of a page are drawn. */
export interface ChartView {
  axis: Axis
  /** Where the time axis begins, in seconds since the epoch. */
  start: number
  /** Of the smoothing: 0 shows the values as they are. */
  weight: number
  /** The part of the axis that every chart shows, so that one cursor fits all. */
  shown: Zoom
}

/** x, the values, and their moving average; x is the step, or the seconds since `start` (seconds since the epoch). */
export function columns(series: Series, axis: Axis, start: number, weight: number): [number[], Column, Column] {
  const x = axis === 'step' ? series.steps : series.times.map((time) => time - start)
  return [x, series.values, weight > 0 ? ema(series.values, weight) : series.values]
}

/** The first and the last x of all series together. */
export function extent(all: Iterable<Series>, axis: Axis, start: number): [number, number] {
  let [first, last] = [Infinity, -Infinity]
  for (const series of all) {
    const [x] = columns(series, axis, start, 0)
    first = Math.min(first, x[0] ?? first)
    last = Math.max(last, x.at(-1) ?? last)
  }
  return first <= last ? [first, last] : [0, 1]
}

/** Evaluations are few and a learning rate is set, not measured: both are shown as they are. */
export function weightFor(name: string, weight: number): number {
  return name.startsWith('eval/') || name.endsWith('/learning_rate') ? 0 : weight
}

/** The y range of an almost constant series: in the middle, or from 0 if it is always 0; null for any other. */
export function flatRange(low: number | null, high: number | null): [number, number] | null {
  if (low === null || high === null || (low === 0 && high === 0)) return [0, 1]
  const size = Math.max(Math.abs(low), Math.abs(high))
  return high - low > size * MIN_RELATIVE_CHANGE ? null : [low - size / 2, high + size / 2]
}

/** Below this width the labels at both ends of the axis would be equal. */
const MIN_RELATIVE_CHANGE = 1e-6

/** How many values were not finite. */
export function gaps(values: readonly (number | null)[]): number {
  return values.reduce<number>((count, value) => count + (value === null ? 1 : 0), 0)
}

/** Seconds on an axis: 45s, 12m, 1.5h. */
export function tick(seconds: number): string {
  if (seconds < 120) return `${Number(seconds.toFixed(1))}s`
  if (seconds < 7200) return `${Number((seconds / 60).toFixed(1))}m`
  return `${Number((seconds / 3600).toFixed(1))}h`
}
