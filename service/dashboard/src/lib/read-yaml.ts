/** Reads YAML as PyYAML's `safe_load` does: a document means the same here and to `hone submit`.

The package `yaml` knows the syntax; what words, keys, anchors and merges mean is PyYAML's, tested against
`yaml-documents.json` from both sides. The result is the JSON that is sent, so what JSON cannot hold is refused. */

import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import { plain, tagged, Unusable, type Plain } from './yaml-scalars'
import type { Json } from './yaml'

/** The error for a text that cannot be read, with its line. */
export class Unreadable extends Error {
  constructor(line: number, why: string) {
    super(`line ${line}: ${why}`)
  }
}

/** PyYAML refuses control characters, and takes U+0085, U+2028 and U+2029 for ends of lines, which `yaml` does not. */
const FORBIDDEN = /[^\t\n\x20-\x7E\xA0-\u2027\u202A-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u

/** The document of a text; one without content is null. */
export function readYaml(source: string): Json {
  const text = source.replace(/\r\n?/g, '\n')
  const lines = new LineCounter()
  const document = parseDocument(text, {
    schema: 'failsafe',
    version: '1.1',
    resolveKnownTags: false,
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: lines,
  })
  const lineAt = (offset: number) => lines.linePos(offset).line || 1
  const forbidden = FORBIDDEN.exec(text)
  if (forbidden) throw new Unreadable(lineAt(forbidden.index), 'holds a character that YAML does not allow')
  const [error] = document.errors
  if (error) throw new Unreadable(lineAt(error.pos[0]), error.message)
  return new Reader(document, lineAt, text).value(document.contents)
}

type Entry = [key: Node | null, value: Node | null]

class Reader {
  /** The collections that are being read: an alias to one of them would never end. */
  private readonly open = new Set<Node>()
  private readonly anchors = new Map<string, Node>()

  constructor(
    private readonly document: Document,
    private readonly lineAt: (offset: number) => number,
    private readonly source: string,
  ) {}

  value(given: Node | null): Json {
    const node = this.resolved(given)
    if (node === null) return null
    if (isScalar(node)) return this.scalar(node as Scalar<string>)
    if (isSeq(node)) return this.within(node, 'seq', () => (node as YAMLSeq<Node>).items.map((item) => this.value(item)))
    if (isMap(node)) return this.within(node, 'map', () => this.mapping(node as YAMLMap<Node, Node>))
    return this.fail(node, 'is neither a value, a list nor fields')
  }

  private mapping(node: YAMLMap<Node, Node>): Json {
    const fields = new Map<string, Json>()
    for (const [key, value] of this.entries(node)) fields.set(this.name(key), this.value(value))
    return Object.fromEntries(fields)
  }

  /** The pairs of a mapping, those that `<<` brings first: of equal names the last wins. */
  private entries(node: YAMLMap<Node, Node>): Entry[] {
    const own = node.items.filter((pair) => !isMerge(pair))
    const merged = node.items.filter(isMerge).flatMap((pair) => this.merged(pair.value))
    return [...merged, ...own.map((pair): Entry => [pair.key, pair.value])]
  }

  private merged(given: Node | null): Entry[] {
    const node = this.resolved(given)
    if (node !== null && isMap(node)) return this.within(node, 'map', () => this.entries(node as YAMLMap<Node, Node>))
    if (node !== null && isSeq(node)) return (node as YAMLSeq<Node>).items.toReversed().flatMap((item) => this.mergedMap(item))
    return this.fail(node, '`<<` merges fields, or a list of such')
  }

  private mergedMap(item: Node): Entry[] {
    return isMap(this.resolved(item)) ? this.merged(item) : this.fail(item, '`<<` merges fields, or a list of such')
  }

  /** A name as Python's `json` writes it. */
  private name(given: Node | null): string {
    const node = this.resolved(given)
    if (node === null) return 'null'
    if (!isScalar(node)) return this.fail(node, 'a list or fields cannot be a name')
    if (isPlain(node) && node.value === '=') return '='
    const value = this.scalar(node as Scalar<string>)
    const isFloat = typeof value === 'number' && (node.tag !== undefined || String(node.value).includes('.'))
    return isFloat ? this.fail(node, 'a number with a fraction cannot be a name: put it in quotes') : String(value)
  }

  private scalar(node: Scalar<string>): Plain {
    try {
      const text = this.text(node)
      if (node.tag === '!' || isPlain(node)) return plain(text)
      return node.tag === undefined ? text : tagged(node.tag, text)
    } catch (error) {
      if (error instanceof Unusable) this.fail(node, error.message)
      throw error
    }
  }

  /** A block of text that the document ends with has a last line break only if the document has one. */
  private text(node: Scalar<string>): string {
    const { type, value, range } = node
    if (!type?.startsWith('BLOCK') || range![1] < this.source.length) return value
    const lastLine = this.source.slice(this.source.lastIndexOf('\n') + 1)
    const holdsText = lastLine.trim() !== '' || /(?:^|\n) +\n$/.test(value)
    return lastLine !== '' && holdsText ? value.replace(/\n$/, '') : value
  }

  /** What an alias stands for. */
  private resolved(node: Node | null): Node | null {
    if (node === null) return null
    if (isAlias(node)) return node.resolve(this.document) ?? this.fail(node, `there is no &${node.source} before this`)
    if (node.anchor !== undefined) this.remember(node.anchor, node)
    return node
  }

  private remember(anchor: string, node: Node): void {
    if (!/^[\w-]+$/.test(anchor)) this.fail(node, `&${anchor} may have letters, digits, - and _ only`)
    if ((this.anchors.get(anchor) ?? node) !== node) this.fail(node, `&${anchor} is there twice`)
    this.anchors.set(anchor, node)
  }

  private within<T>(node: Node, kind: 'map' | 'seq', read: () => T): T {
    const { tag } = node
    if (tag !== undefined && tag !== `tag:yaml.org,2002:${kind}`) this.fail(node, `${tag} is not supported`)
    if (this.open.has(node)) this.fail(node, 'contains itself')
    this.open.add(node)
    const value = read()
    this.open.delete(node)
    return value
  }

  private fail(node: Node | null, why: string): never {
    throw new Unreadable(this.lineAt(node?.range?.[0] ?? 0), why)
  }
}

function isPlain(node: Scalar): boolean {
  return node.type === 'PLAIN' && node.tag === undefined
}

function isMerge({ key }: Pair<Node, Node | null>): boolean {
  return isScalar(key) && isPlain(key) && key.value === '<<'
}
