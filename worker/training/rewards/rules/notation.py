"""One notation for what people and models write in many: Unicode, spaces of LaTeX, delimiters, Markdown, full stops."""

import re
import unicodedata

SPACES = dict.fromkeys(
    "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
)
INVISIBLE = dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", "")
SYMBOLS = {
    **SPACES,
    **INVISIBLE,
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
    **dict.fromkeys("×✕⨯", r"\times "),
    **dict.fromkeys("·⋅∙", r"\cdot "),
    **dict.fromkeys("÷⁄∕", "/"),
    **dict.fromkeys("≤⩽", r"\le "),
    **dict.fromkeys("≥⩾", r"\ge "),
    **dict.fromkeys("°˚º", r"^\circ "),
    **dict.fromkeys("‘’′", "'"),
    **dict.fromkeys("“”", '"'),
    **{"≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap "},
    **{"∈": r"\in ", "∅": r"\emptyset ", "∖": r"\setminus ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "…": r"\ldots "},
    **{"π": r"\pi ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "θ": r"\theta ", "λ": r"\lambda "},
    **{"μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "⟨": r"\langle ", "⟩": r"\rangle ", "⇒": r"\implies "},
}
TABLE = str.maketrans(SYMBOLS)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
VULGAR = re.compile("[¼½¾⅐-⅞↉]")
ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
DOLLAR = "\ue000"
"""A dollar sign that is money, while those that delimit LaTeX are looked for."""
REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\s*\{\s*,\s*\}", ","),
        (r"(?<=\d),?\\[,;:!]\s*(?=\d{3}(?!\d))", ""),  # `1\,234` and `1,\!234` are 1234
        (r"(?<!\\)(?:\\[,;:! ]|~|\\q?quad(?![a-zA-Z]))", " "),
        (r"\\(?:displaystyle|textstyle|limits|left|right|[bB]igg?[lr]?)(?![a-zA-Z])\s*", ""),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)(?![\d}])", r"\\frac{\1}{\2}"),
        (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])", r"\\le "),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])", r"\\ge "),
        (r"\\neq(?![a-zA-Z])|!=", r"\\ne "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"<=|=<", r"\\le "),
        (r">=", r"\\ge "),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\\(?:degree|deg)(?![a-zA-Z])|\^\s*\{\s*\\circ\s*\}", r"^\\circ "),
        (r"\\varnothing(?![a-zA-Z])", r"\\emptyset "),
        (  # an angle in degrees, for parsers that know radians alone
            r"\\(sin|cos|tan|cot|sec|csc)\s*(?:\(\s*(\d+(?:\.\d+)?)\s*\^\\circ\s*\)|(\d+(?:\.\d+)?)\s*\^\\circ)",
            r"\\\1(\\frac{\2\3 \\pi}{180})",
        ),
        (r"\\(?:mathrm|mathbf|mathit|mathsf|textbf|textit|textrm|textnormal|mbox|text|rm)\s*\{", r"\\text{"),
        (r",?\s*\\text\{\s*,?\s*(and|or)\s*\}", r" \1 "),
        (r"\+\s*\\infty", r"\\infty"),
        (r"(?<![\\a-zA-Z])(?:infinity|inf|oo)(?![a-zA-Z])", r"\\infty"),
        (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])", r"\\pi"),
        (r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"(?<=\d)\s+i(?![a-zA-Z])", "i"),
        (r"(?<=\d)\s+\([A-Za-z][A-Za-z -]{2,}\)$", ""),  # `18 (eighteen)`
        (r"(?<![\\a-zA-Z])sqrt\s*(\d+|[a-z](?![a-zA-Z]))", r"\\sqrt{\1}"),
        (r"\*\*(?=\s*[-+\d({a-z])(?<=[\w)}]\*\*)", "^"),
    ]
]
DELIMITED = [
    re.compile(pattern, re.DOTALL)
    for pattern in [
        r"(?<!\\)\$\$(.+?)(?<!\\)\$\$",
        r"(?<!\\)\\\[(.+?)\\\]",
        r"(?<!\\)\\\((.+?)\\\)",
        r"(?<!\\)\$(?!\$)([^$]+?)(?<!\\)\$(?!\d)",  # `$5 and $6` are two prices
    ]
]
WRAPPED = [
    re.compile(pattern, re.DOTALL)
    for pattern in [
        r"\\(?:boxed|fbox|text|ensuremath)\s*\{((?:[^{}\\]|\\.|\{(?:[^{}\\]|\\.|\{[^{}]*\})*\})*)\}",
        r"\*\*(.+)\*\*",
        r"__(.+)__",
        r"\*([^*]+)\*",
        r"`+([^`]+)`+",
        r'"([^"]+)"',
        r"'([^']+)'",
        r"(?i:<answer>)(.*)(?i:</answer>)",
    ]
]
ENDS = re.compile(r"^[\s*#]+|(?:(?<!\\)[.,;]|[\s*])+$")
MAX_LAYERS = 6


def expression(text: str) -> str:
    """The text in one notation, without what stands around it: `**$1\\,234$.**` is `1234`, `½` is `\\frac{1}{2}`."""
    text = _ascii(CONTROL.sub("", text))
    for _ in range(MAX_LAYERS):
        before, text = text, _inside(text)
        if text == before:
            break
    text = text.replace(r"\$", DOLLAR).replace(r"\%", "%").replace(r"\#", "#").replace(r"\&", "&")
    for pattern, replacement in REWRITES:
        text = pattern.sub(replacement, text)
    return " ".join(text.replace(DOLLAR, "$").split())


def without_delimiters(text: str) -> str:
    """The text without the signs that begin and end LaTeX; a lone dollar sign stays: it is money."""
    text = text.replace(r"\$", DOLLAR)
    for pattern in DELIMITED:
        text = pattern.sub(r" \1 ", text)
    return text.replace(DOLLAR, r"\$").strip()


def _inside(text: str) -> str:
    """One layer less: delimiters, then what wraps all of it, or else bullets and full stops at its ends."""
    text = without_delimiters(text.strip())
    for pattern in WRAPPED:
        match = pattern.fullmatch(text)
        if match:
            return match[1].strip()
    return text if text.endswith("...") else ENDS.sub("", text)


def _ascii(text: str) -> str:
    text = VULGAR.sub(lambda match: _vulgar(match[0]), text)
    text = RAISED.sub(lambda match: "^{" + match[0].translate(SUPERSCRIPTS) + "}", text)
    text = ROOT.sub(lambda match: rf"\sqrt{{{match[1] or match[2]}}}", text)
    text = text.translate(TABLE)
    return text if text.isascii() else "".join(map(_narrow, text))


def _vulgar(character: str) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", character).partition("\N{FRACTION SLASH}")
    return rf"\frac{{{top}}}{{{bottom}}}"


def _narrow(character: str) -> str:
    """Digits and signs of full width, and digits of other scripts, as in ASCII."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return unicodedata.normalize("NFKC", character) if "\uff01" <= character <= "\uff5e" else character
