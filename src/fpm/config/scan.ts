// The words of one line of a php-fpm configuration file: php.ini's dialect in its normal mode, as PHP's own scanner cuts it.
//
// php-fpm hands its files to that scanner line by line, so nothing goes over the end of a line. Rules are tried at each place in each
// mode, the longest match wins, and of two equally long ones the first: that is why `yes` is true, `yes,` a word and `yes x` a mistake.

export type TokenType =
  | 'TC_SECTION'
  | 'TC_OFFSET'
  | 'TC_LABEL'
  | 'TC_RAW'
  | 'TC_CONSTANT'
  | 'TC_NUMBER'
  | 'TC_STRING'
  | 'TC_WHITESPACE'
  | 'TC_QUOTED_STRING'
  | 'TC_DOLLAR_CURLY'
  | 'TC_VARNAME'
  | 'BOOL_TRUE'
  | 'BOOL_FALSE'
  | 'NULL_NULL'
  | 'END_OF_LINE'
  /** The end of the line, or a character that fits nowhere: PHP's scanner makes no difference. */
  | 'end of file'
  /** A character that stands for itself; its text says which. */
  | 'char'

export interface Token {
  readonly type: TokenType
  readonly text: string
  /** What PHP would call this line: the number of line breaks up to here, and one. */
  readonly line: number
}

type Mode = 'initial' | 'section' | 'offset' | 'value' | 'quotes' | 'name'

/** What a rule makes of what it matched: a token, and the mode that follows; no token eats the text. */
interface Outcome {
  readonly type?: TokenType
  readonly text?: string
  readonly mode?: Mode
  /** Back to the mode before `push`. */
  readonly pop?: true
  readonly push?: Mode
}
interface Rule {
  readonly modes: readonly Mode[]
  readonly pattern: RegExp
  readonly act: (text: string) => Outcome
}

const LABEL = '[^=\\n\\r\\t;&|^$~(){}!"[\\]\\0]+'
const DOLLAR = '\\$[^{\\0]'
const newline = '(?:\\r\\n|\\n|\\r)'

function rule(modes: readonly Mode[], source: string, act: (text: string) => Outcome): Rule {
  return { modes, pattern: new RegExp(source, 'iy'), act }
}
const char = (text: string): Outcome => ({ type: 'char', text: text.trim()[0] ?? text[0]! })

const RULES: readonly Rule[] = [
  rule(['initial'], '\\[', () => ({ type: 'TC_SECTION', mode: 'section' })),
  rule(['section', 'offset', 'value'], `'[^']*'`, (text) => ({ type: 'TC_RAW', text: text.slice(1, -1) })),
  rule(['section'], `\\][ \\t]*${newline}?`, () => ({ type: 'char', text: ']', mode: 'initial' })),
  rule(['initial'], `${LABEL}\\[[ \\t]*`, (text) => ({ type: 'TC_OFFSET', text: text.replace(/\[[ \t]*$/, '').trim(), mode: 'offset' })),
  rule(['offset'], '[ \\t]*\\]', () => ({ type: 'char', text: ']', mode: 'initial' })),
  rule(['quotes', 'section', 'value', 'offset'], '\\$\\{', () => ({ type: 'TC_DOLLAR_CURLY', push: 'name' })),
  rule(['name'], LABEL, (text) => ({ type: 'TC_VARNAME', text: text.trim() })),
  rule(['name'], '\\}', () => ({ type: 'char', text: '}', pop: true })),
  rule(['initial', 'value'], '(?:true|on|yes)[ \\t]*', () => ({ type: 'BOOL_TRUE', text: '1' })),
  rule(['initial', 'value'], '(?:false|off|none|no)[ \\t]*', () => ({ type: 'BOOL_FALSE', text: '' })),
  rule(['initial', 'value'], 'null[ \\t]*', () => ({ type: 'NULL_NULL', text: '' })),
  rule(['initial'], LABEL, (text) => ({ type: 'TC_LABEL', text: text.trim() })),
  rule(['initial'], '[ \\t]*=[ \\t]*', () => ({ type: 'char', text: '=', mode: 'value' })),
  rule(['value', 'offset'], '[a-z_][a-z0-9_]*', (text) => ({ type: 'TC_CONSTANT', text })),
  rule(['value', 'offset'], '-?(?:[0-9]*\\.[0-9]+|[0-9]+\\.[0-9]*|[0-9]+)', (text) => ({ type: 'TC_NUMBER', text })),
  rule(['initial'], `[:,.\\]"'()&|^+\\-/*=%$!~<>?@{}][ \\t]*`, char),
  rule(['value'], '[&|^~()!][ \\t]*', char),
  rule(['value'], `(?:[^$= \\t\\n\\r;&|^~()!"'\\0]|${DOLLAR})+`, (text) => ({ type: 'TC_STRING', text })),
  rule(['section'], `(?:[^$\\n\\r;"'\\]\\\\]|\\\\[^]|${DOLLAR})+`, (text) => ({ type: 'TC_STRING', text: unescape(text) })),
  rule(['offset'], `(?:[^$\\n\\r;"'\\]\\\\]|\\\\[^]|${DOLLAR})+`, (text) => ({ type: 'TC_STRING', text: unescape(text) })),
  rule(['section', 'value', 'offset'], '[ \\t]*"', () => ({ type: 'char', text: '"', push: 'quotes' })),
  rule(['quotes'], '"[ \\t]*', () => ({ type: 'char', text: '"', pop: true })),
  rule(['quotes'], '(?:[^"$\\\\]|\\\\[^]|\\\\$|\\$(?!\\{))+', (text) => ({ type: 'TC_QUOTED_STRING', text: unescape(text) })),
  rule(['value'], `[ \\t]*${newline}`, () => ({ type: 'END_OF_LINE', mode: 'initial' })),
  rule(['initial', 'value'], `[ \\t]*;[^\\r\\n]*${newline}`, () => ({ type: 'END_OF_LINE', mode: 'initial' })),
  rule(['section', 'value', 'offset'], '[ \\t]+', (text) => ({ type: 'TC_WHITESPACE', text })),
  rule(['initial'], `[ \\t]*${newline}`, () => ({ type: 'END_OF_LINE' })),
  rule(['initial'], '[ \\t]+', () => ({})),
]

/** Of quotes only `\"`, `\'` and `\\` are escapes; every other backslash stays. */
function unescape(text: string): string {
  return text.replace(/\\(["'\\])/g, '$1')
}

/** The tokens of one line, which must end with its line break; the last is always the end. */
export function scan(line: string): Token[] {
  const tokens: Token[] = []
  const stack: Mode[] = []
  let mode: Mode = 'initial'
  let at = 0
  let number = 1
  while (at < line.length) {
    // `=` in a value ends it, and then fits nowhere.
    if (mode === 'value' && line[at] === '=') {
      tokens.push({ type: 'END_OF_LINE', text: '', line: number })
      mode = 'initial'
    }
    const found = longest(line, at, mode)
    if (found === undefined) break
    const { text, outcome } = found
    at += text.length
    number += text.split('\n').length - 1
    if (outcome.type !== undefined) tokens.push({ type: outcome.type, text: outcome.text ?? '', line: number })
    if (outcome.push !== undefined) stack.push(mode)
    mode = outcome.push ?? outcome.mode ?? (outcome.pop === true ? (stack.pop() ?? 'initial') : mode)
  }
  tokens.push({ type: 'end of file', text: '', line: number })
  return tokens
}

function longest(line: string, at: number, mode: Mode): { text: string; outcome: Outcome } | undefined {
  let text = ''
  let best: Rule | undefined
  for (const each of RULES) {
    if (!each.modes.includes(mode)) continue
    each.pattern.lastIndex = at
    const match = each.pattern.exec(line)
    if (match === null || match[0].length <= text.length) continue
    text = match[0]
    best = each
  }
  return best === undefined ? undefined : { text, outcome: best.act(text) }
}
