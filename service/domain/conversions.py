"""Rows in the shapes of other tools, read as the shapes of `shapes.py`. Files stay as they were uploaded.

    conversations                                   ShareGPT: `messages`
    instruction (+ input, context), output          Alpaca, Dolly: `prompt`, `completion`
    question, answer; prompt, solution              `prompt`, and both `completion` and `answer`: who learns from texts
                                                    learns it, and rewards compare with it
    prompt, response; question, response            `prompt`, `completion`
    prompt, reward_model.ground_truth               verl: `prompt`, `answer`
    input, preferred_output, non_preferred_output   OpenAI: `prompt`, `chosen`, `rejected`
    prompt, whole conversations chosen, rejected    UltraFeedback: the conversations, which begin with the prompt
    functions; tools as a string                    `tools`
    system, system_prompt                           the message of the system, in front of what is asked

A column that changes what a row says (choices, images, `label: false`, a context) is a second meaning, unless the texts
contain it.

The mapping of a dataset (`columns`) comes first and wins. A row that has a shape of ours keeps it. What could be read
in two ways is not read: `Reading.unread` names both.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from service.domain.column_mapping import mapped
from service.domain.column_meanings import ADDITIONS, has, refuse_meanings, with_system
from service.domain.message_forms import Ambiguous, in_our_form, is_conversation
from service.domain.shapes import Column, Shape, shapes_of

Row = dict[str, Any]
PROMPTS = ("question", "problem", "query", "instruction", "input")
"""Columns that hold what is asked."""
COMPLETIONS = ("response", "output")
"""Columns that hold an answer to learn."""
CONVERSATIONS = ("conversations", "conversation")
ASKED = frozenset({"prompt", "messages", "chosen", "text"})
"""Who names one of these in a mapping says what a row asks: nothing is added to it."""

WHOLE = {"messages", "text"}
"""Shapes that need no name for what is asked and what is answered."""
OTHER_NAMES = frozenset(
    (*PROMPTS, *COMPLETIONS, *CONVERSATIONS, "solution", "answer", "ground_truth", "reward_model", "preferred_output")
)
"""Columns that may be read as ours."""


class Reading(NamedTuple):
    """A row as it is used."""

    row: Row
    forms: list[str]
    """What was read otherwise than it stands, as sentences without an end."""
    unread: str | None = None
    """Why it was not read: two meanings fit. `row` is then the row as it stands."""


def read(row: Row, columns: Mapping[Column, str]) -> Reading:
    """A row in our shapes; `columns` gives the column, or the path `column.key`, of each of ours.

    Raises MissingColumn.
    """
    forms: list[str] = []
    renamed = mapped(row, columns) if columns else row
    try:
        converted = in_our_form(_named(renamed, frozenset(columns), forms), forms)
    except Ambiguous as reason:
        return Reading(row, [], str(reason))
    return Reading(converted, list(dict.fromkeys(forms)))


def has_other_names(names: Iterable[str]) -> bool:
    """Whether some columns may be read as ours; the values of a row decide."""
    return not OTHER_NAMES.isdisjoint(names)


def _named(row: Row, mapped: frozenset[str], forms: list[str]) -> Row:
    """The row with our names for its columns; what one row of our shapes says twice must be the same."""
    row = _with_preference(_with_conversation(row, forms), forms)
    shapes = shapes_of(row)
    if not _is_complete(row, shapes, mapped) and not mapped & WHOLE:
        tried: list[str] = []
        try:
            row = _with_names(row, mapped, tried)
            forms += tried
        except Ambiguous:
            if not set(shapes) & WHOLE or set(shapes) - WHOLE:
                raise
    if not mapped:
        _refuse_disagreement(row)
    if shapes_of(row) and (not mapped & ASKED or "system" in mapped):
        row = with_system(row, forms)
    if shapes_of(row) and not mapped & ASKED:
        refuse_meanings(row)
    return row


def _is_complete(row: Row, shapes: list[Shape], mapped: frozenset[str]) -> bool:
    """Whether our columns say what is asked and what is answered, so that no other column is needed."""
    if isinstance(row.get("reward_model"), dict) and "answer" not in mapped:
        return False
    pair = "chosen+rejected" in shapes and ("prompt" in row or not isinstance(row["chosen"], str))
    return pair or "prompt+completion" in shapes or "prompt+answer" in shapes


def _with_names(row: Row, mapped: frozenset[str], forms: list[str]) -> Row:
    prompted = row if has(row, "prompt") else _with_prompt(row, forms)
    if not has(prompted, "prompt"):
        return row
    has_answer = bool(set(shapes_of(row)) - WHOLE - {"prompt"})
    answered = _with_answers(prompted, forms, either=not has_answer)
    if answered is row or (answered is prompted and set(shapes_of(row)) & WHOLE):
        return row
    return answered


def _with_conversation(row: Row, forms: list[str]) -> Row:
    found = [name for name in CONVERSATIONS if is_conversation(row.get(name))]
    target = "prompt" if {"chosen", "rejected"} <= set(row) else "messages"
    if not found or has(row, target):
        return row
    forms.append(f"`{found[0]}` is read as `{target}`")
    return _without(row, found[0]) | {target: row[found[0]]}


def _with_preference(row: Row, forms: list[str]) -> Row:
    """OpenAI's preferences."""
    names = ("preferred_output", "non_preferred_output")
    asked = row.get("input")
    if not all(name in row for name in names) or not isinstance(asked, dict) or "messages" not in asked:
        return row
    forms.append("`input`, `preferred_output` and `non_preferred_output` are read as `prompt`, `chosen` and `rejected`")
    tools = {"tools": asked["tools"]} if asked.get("tools") else {}
    given = {"prompt": asked["messages"], "chosen": row[names[0]], "rejected": row[names[1]]}
    return _without(row, "input", *names) | given | tools


def _with_prompt(row: Row, forms: list[str]) -> Row:
    """With the column that asks as `prompt`."""
    if isinstance(row.get("instruction"), str) and row["instruction"].strip():
        return _with_instruction(row, forms)
    found = [name for name in PROMPTS if has(row, name)]
    if len(found) > 1:
        raise Ambiguous(_choice("prompt", found))
    if not found or not (isinstance(row[found[0]], str) or is_conversation(row[found[0]])):
        return row
    forms.append(f"`{found[0]}` is read as `prompt`")
    return _without(row, found[0]) | {"prompt": row[found[0]]}


def _with_instruction(row: Row, forms: list[str]) -> Row:
    others = [name for name in PROMPTS if name not in ("instruction", *ADDITIONS) and has(row, name)]
    if others:
        raise Ambiguous(_choice("prompt", ["instruction", *others]))
    added = [name for name in ADDITIONS if isinstance(row.get(name), str) and row[name].strip()]
    parts = ["instruction", *added]
    forms.append(
        f"{' and '.join(f'`{name}`' for name in parts)}, with an empty line between, are read as `prompt`"
        if added
        else "`instruction` is read as `prompt`"
    )
    empty = [name for name in ADDITIONS if not has(row, name) or name in added]
    return _without(row, "instruction", *empty) | {"prompt": "\n\n".join(row[name] for name in parts)}


def _with_answers(row: Row, forms: list[str], *, either: bool) -> Row:
    """With what is learned as `completion`, and what rewards compare with as `answer`.

    `either`: whether one column may be both.
    """
    found: Row = {}
    learned = [name for name in COMPLETIONS if has(row, name)]
    if len(learned) > 1 and not has(row, "completion"):
        raise Ambiguous(_choice("completion", learned))
    checked = row.get("reward_model")
    truth = checked.get("ground_truth") if isinstance(checked, dict) else None
    for target, sources in (
        ("answer", {"reward_model.ground_truth": truth, "ground_truth": row.get("ground_truth")}),
        ("completion", {name: row[name] for name in learned}),
    ):
        _take(row, found, target, sources, forms)
    if either and not {"chosen", "rejected"} & set(row):
        _take_either(row, found, forms)
    taken = [name for name in learned if "completion" in found]
    return _without(row, *taken) | found if found else row


def _take(row: Row, found: Row, target: str, sources: Row, forms: list[str]) -> None:
    """Take the value of the first source that has one; another value for the same column is a second meaning."""
    given = {name: value for name, value in sources.items() if value not in (None, "", [], {})}
    if not given:
        return
    if has(row, target):
        given[target] = row[target]
    first, value = next(iter(given.items()))
    if any(str(other) != str(value) for other in given.values()):
        raise Ambiguous(_choice(target, list(given)))
    if target not in given:
        found[target] = value
        forms.append(f"`{first}` is read as `{target}`")


def _take_either(row: Row, found: Row, forms: list[str]) -> None:
    """`solution` and `answer` can be learned, and rewards can compare with them."""
    had_answer = has(row, "answer")
    for name in ("solution", "answer"):
        if not isinstance(row.get(name), str | int | float) or isinstance(row[name], bool) or not has(row, name):
            continue
        has_answer = has(row, "answer") or has(found, "answer")
        has_completion = has(row, "completion") or has(found, "completion")
        if name == "solution" and not has_answer:
            found["answer"] = row[name]
            forms.append(f"`{name}` is read as `answer`, with which rewards compare")
        if not has_completion and (name == "solution" or had_answer):
            found["completion"] = str(row[name])
            forms.append(f"`{name}` is read as `completion`, which algorithms that learn from texts learn")


def _refuse_disagreement(row: Row) -> None:
    """`messages` or `text` beside a prompt and its completion must hold the same texts."""
    if not (has(row, "prompt") and has(row, "completion")):
        return
    pieces = [
        piece.strip() for text in (*_texts(row["prompt"]), *_texts(row["completion"])) for piece in text.split("\n\n")
    ]
    for name in ("messages", "text"):
        whole = "\n".join(_texts(row.get(name)))
        if whole and not all(piece in whole for piece in pieces):
            raise Ambiguous(
                f"has `{name}`, and also a prompt with its completion, which say something else; choose in "
                f"dataset.columns: {{{name}: {name}}}, or {{prompt: COLUMN, completion: COLUMN}}"
            )


def _texts(value: Any) -> list[str]:
    """The texts of a column: of its messages, or its own."""
    if isinstance(value, str):
        return [value]
    messages = value if isinstance(value, list) else []
    contents = [message.get("content", message.get("value")) for message in messages if isinstance(message, dict)]
    return [content for content in contents if isinstance(content, str)]


def _choice(target: str, names: list[str]) -> str:
    readings = " or ".join(f"{{{target}: {name}}}" for name in names)
    shown = " and ".join(f"`{name}`" for name in names)
    return f"has {shown}, each of which can be the {target}; choose in dataset.columns: {readings}"


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
