/** Addresses: `#/jobs/ID?tab=logs` is the path `['jobs', 'ID']` and the parameters `{tab: 'logs'}`. */

export interface Route {
  path: string[]
  params: Params
}

/** What a view shows, as text; an absent name means its default. */
export type Params = Record<string, string>

/** Read the part of an address that follows `#`; escapes that make no sense stay as they are. */
export function parseRoute(hash: string): Route {
  const text = hash.replace(/^#?\/?/, '')
  const mark = text.indexOf('?')
  const path = mark < 0 ? text : text.slice(0, mark)
  const params = Object.fromEntries(new URLSearchParams(mark < 0 ? '' : text.slice(mark + 1)))
  return { path: path.split('/').filter(Boolean).map(decoded), params }
}

/** The address of a view; parameters that are empty or undefined are left out. */
export function href(path: string[], params: Record<string, string | undefined> = {}): string {
  const given = Object.entries(params).filter((entry): entry is [string, string] => Boolean(entry[1]))
  const query = new URLSearchParams(given).toString()
  return `#/${path.map(encodeURIComponent).join('/')}${query && `?${query}`}`
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
