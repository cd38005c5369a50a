/** Reads what `yaml` writes, and what people type: JSON, or YAML without anchors, tags and block texts. */

import type { Json } from './yaml'

/** A text that makes no sense, and in which line. */
export class Unreadable extends Error {
  constructor(line: number, why: string) {
    super(`line ${line}: ${why}`)
  }
}

interface Line {
  indent: number
  text: string
  number: number
}

/** The document of a text; one without content is null. */
export function readYaml(text: string): Json {
  const lines = text.split('\n').map(measured).filter((line) => line.text && !line.text.startsWith('#'))
  const first = lines[0]
  if (first === undefined) return null
  return /^[{[]/.test(first.text) ? flow(lines) : block(lines)
}

function measured(raw: string, index: number): Line {
  const text = raw.trim()
  const indent = raw.length - raw.trimStart().length
  if (text && raw.slice(0, indent).includes('\t')) throw new Unreadable(index + 1, 'indent with spaces, not with tabs')
  return { indent, text, number: index + 1 }
}

const DASH = /^-(\s|$)/
const KEY = /^("(?:[^"\\]|\\.)*"|[^\s"'{}[\],#:-][^:#]*?)\s*:(?:\s+(.*))?$/

function block(lines: Line[]): Json {
  const first = lines[0]!
  if (DASH.test(first.text)) return sections(lines).map(item)
  return KEY.test(first.text) ? mapping(lines) : flow(lines)
}

/** The lines of the first one's depth, each with the deeper ones below it; a list may stand right below its name. */
function sections(lines: Line[]): Line[][] {
  const { indent: depth, text } = lines[0]!
  const found: Line[][] = []
  for (const line of lines) {
    const below = line.indent > depth || (line.indent === depth && DASH.test(line.text) && !DASH.test(text))
    if (line.indent < depth) throw new Unreadable(line.number, 'is indented less than the lines that it belongs to')
    if (found.length && below) found.at(-1)!.push(line)
    else found.push([line])
  }
  return found
}

function item([head, ...rest]: Line[]): Json {
  const { indent, text, number } = head!
  const inner = text.slice(1).trimStart()
  if (!DASH.test(text)) throw new Unreadable(number, 'stands in a list, but does not begin with a dash')
  const first = { indent: indent + text.length - inner.length, text: inner, number }
  if (inner) return block([first, ...rest])
  return rest.length ? block(rest) : null
}

function mapping(lines: Line[]): Json {
  const found = new Map<string, Json>()
  for (const [head, ...rest] of sections(lines)) {
    const { text, number } = head!
    const [, quoted, value] = KEY.exec(text) ?? []
    if (quoted === undefined) throw new Unreadable(number, `'${text}' is not \`field: value\``)
    const name = quoted.startsWith('"') ? (JSON.parse(quoted) as string) : quoted
    if (found.has(name)) throw new Unreadable(number, `${name} stands there twice`)
    found.set(name, entry(value ?? '', rest, number))
  }
  return Object.fromEntries(found)
}

function entry(value: string, rest: Line[], number: number): Json {
  if (value && !value.startsWith('#')) return flow([{ indent: 0, text: value, number }, ...rest])
  return rest.length ? block(rest) : null
}

/** A value on one line, or in brackets on several. */
function flow(lines: Line[]): Json {
  const { text, number } = lines[0]!
  if (lines.length > 1 && !/^[{["']/.test(text)) throw new Unreadable(number, `'${text}' is not \`field: value\``)
  const reader = new Flow(lines.map((line) => line.text).join(' '), number)
  const value = reader.value(/^[^#]*?(?=\s+#|$)/)
  reader.end()
  return value
}

const QUOTED = /^"(?:[^"\\]|\\.)*"/
const SINGLE = /^'((?:[^']|'')*)'/
const INSIDE = /^[^,[\]{}#]*?(?=\s*[,[\]{}#]|\s*$)/
const NAME = /^[^\s,[\]{}#:"']+/

class Flow {
  constructor(
    private rest: string,
    private readonly line: number,
  ) {}

  value(plain = INSIDE): Json {
    const first = this.rest[0]
    if (first === '{') return this.object()
    if (first === '[') return this.list()
    if (first === '"') return this.quoted()
    if (first === "'") return this.take(SINGLE, 'a quote is not closed').slice(1, -1).replaceAll("''", "'")
    return scalar(this.take(plain, 'a value is missing').trim())
  }

  end(): void {
    if (this.rest && !this.rest.startsWith('#')) this.fail(`'${this.rest.slice(0, 20)}' is too much`)
  }

  private object(): Json {
    const pairs: [string, Json][] = []
    this.members('}', () => {
      const name = this.rest.startsWith('"') ? this.quoted() : this.take(NAME, 'a name is missing')
      this.take(/^:/, `a colon is missing behind '${name}'`)
      pairs.push([name, this.value()])
    })
    return Object.fromEntries(pairs)
  }

  private list(): Json {
    const values: Json[] = []
    this.members(']', () => values.push(this.value()))
    return values
  }

  private members(close: string, member: () => void): void {
    this.skip(1)
    while (!this.rest.startsWith(close)) {
      member()
      if (this.rest.startsWith(',')) this.skip(1)
      else if (!this.rest.startsWith(close)) this.fail(`a '${close}' is missing`)
    }
    this.skip(1)
  }

  private quoted(): string {
    const text = this.take(QUOTED, 'a quote is not closed')
    try {
      return JSON.parse(text) as string
    } catch {
      return this.fail(`${text} has an escape that JSON does not know`)
    }
  }

  private take(pattern: RegExp, missing: string): string {
    const found = pattern.exec(this.rest)?.[0]
    if (!found) return this.fail(missing)
    this.skip(found.length)
    return found
  }

  private skip(count: number): void {
    this.rest = this.rest.slice(count).trimStart()
  }

  private fail(why: string): never {
    throw new Unreadable(this.line, why)
  }
}

const WORDS = new Map<string, Json>([['null', null], ['~', null], ['true', true], ['false', false]])
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i

/** What a plain word stands for: a number, a truth, nothing, or itself. */
export function scalar(text: string): Json {
  const word = WORDS.get(text)
  if (word !== undefined) return word
  return NUMBER.test(text) ? Number(text) : text
}
