/** Metrics by the prefix of their name, what people look at first before the rest. */

const ORDER = ['eval', 'reward', 'train', 'policy', 'critic', 'time']

export interface Group {
  prefix: string
  names: string[]
}

/** `eval/accuracy` belongs to `eval`; a name without a prefix to `other`, which comes last. */
export function grouped(names: Iterable<string>): Group[] {
  const groups = new Map<string, string[]>()
  for (const name of [...names].sort(byWeight)) {
    const prefix = name.includes('/') ? name.slice(0, name.indexOf('/')) : 'other'
    groups.set(prefix, [...(groups.get(prefix) ?? []), name])
  }
  return [...groups].map(([prefix, members]) => ({ prefix, names: members })).sort((a, b) => rank(a.prefix) - rank(b.prefix))
}

const FIRST = ['accuracy', 'reward', 'loss', 'kl', 'entropy']

/** The most informative groups first, then in alphabetical order. */
function byWeight(a: string, b: string): number {
  return weight(a) - weight(b) || (a < b ? -1 : 1)
}

function weight(name: string): number {
  const place = FIRST.indexOf(name.slice(name.indexOf('/') + 1))
  return place < 0 ? FIRST.length : place
}

function rank(prefix: string): number {
  if (prefix === 'other') return ORDER.length + 1
  const place = ORDER.indexOf(prefix)
  return place < 0 ? ORDER.length : place
}

const KEYS = ['eval/accuracy', 'policy/reward', 'eval/reward', 'train/loss', 'eval/loss']

/** The most informative metric that a job has: accuracy, else reward, else loss. */
export function keyMetric(metrics: Record<string, number | null>): [string, number | null] | null {
  const name = KEYS.find((key) => key in metrics) ?? Object.keys(metrics).find((key) => /reward|loss/.test(key))
  return name === undefined ? null : [name, metrics[name] ?? null]
}
