/** One metric over the steps, sorted by step; the three columns have the same length. */
export interface Series {
  name: string
  steps: number[]
  values: (number | null)[]
  /** Seconds since the epoch. */
  times: number[]
  /** Grows with every change: a chart compares it. */
  edits: number
}

/** Set the point of a step: reported twice, it is there once. */
export function put(series: Series, step: number, value: number | null, time: number): void {
  const place = lowerBound(series.steps, step)
  const replaced = series.steps[place] === step ? 1 : 0
  series.steps.splice(place, replaced, step)
  series.values.splice(place, replaced, value)
  series.times.splice(place, replaced, time)
  series.edits += 1
}

/** The first index whose step is not below `wanted`; found without a search if that is beyond the last step. */
export function lowerBound(sorted: readonly number[], wanted: number): number {
  let low = 0
  let high = sorted.length
  if (high === 0 || sorted[high - 1]! < wanted) return high
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < wanted) low = middle + 1
    else high = middle
  }
  return low
}

/** The last value that was finite. */
export function last(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null
}
