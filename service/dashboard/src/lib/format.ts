/** Numbers, sizes and times as people read them. */

/** Four significant digits, without an exponent where that stays short. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2).replace('e+', 'e')
  if (Number.isInteger(value)) return String(value)
  return String(Number(value.toPrecision(4)))
}

/** 1536 -> "1.5 KiB". */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let left = count
  let unit = 0
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024
    unit += 1
  }
  return `${unit && left < 100 ? left.toFixed(1) : Math.round(left)} ${units[unit]}`
}

/** 75 -> "1 min 15 s": the two largest units. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return pair(Math.floor(whole / 60), 'min', whole % 60, 's')
  if (whole < 86400) return pair(Math.floor(whole / 3600), 'h', Math.floor((whole % 3600) / 60), 'min')
  return pair(Math.floor(whole / 86400), 'd', Math.floor((whole % 86400) / 3600), 'h')
}

/** How long ago, in one unit: "3 min ago". Clocks of two machines may differ: the future is "just now". */
export function ago(then: string, now: number): string {
  const seconds = (now - Date.parse(then)) / 1000
  if (seconds < 5) return 'just now'
  return `${duration(seconds).split(' ').slice(0, 2).join(' ')} ago`
}

/** How long until then, in one unit: "in about 3 min". */
export function until(then: string, now: number): string {
  const seconds = (Date.parse(then) - now) / 1000
  if (seconds < 5) return 'soon'
  return `in about ${duration(seconds).split(' ').slice(0, 2).join(' ')}`
}

/** Seconds from one timestamp to another, or to now while there is no other. */
export function between(start: string, end: string | null, now: number): number {
  return ((end === null ? now : Date.parse(end)) - Date.parse(start)) / 1000
}

/** The clock time of an event; the date is in its title. */
export function clock(timestamp: string): string {
  return new Date(timestamp).toLocaleTimeString('en-GB')
}

/** Date and time in the reader's zone. */
export function moment(timestamp: string): string {
  return new Date(timestamp).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`
}
