/** Debiased exponential moving average; a gap (null) stays a gap and does not reset the mean. */
export function ema(values: readonly (number | null)[], weight: number): (number | null)[] {
  let mean = 0
  let mass = 0
  return values.map((value) => {
    if (value === null) return null
    mean = weight * mean + (1 - weight) * value
    mass = weight * mass + (1 - weight)
    return mean / mass
  })
}
