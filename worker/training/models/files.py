"""Reads a model and its tokenizer by transformers, keeps what the library says meanwhile, and checks what was read.

transformers fills a weight that it does not find with random numbers, leaves out one that it does not know, and says so
in its log alone. Here each of these is a refusal.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.hub import resolve_revision
from transformers.utils.peft_utils import find_adapter_config_file

from hone.errors import Invalid
from worker.training.out_of_memory import is_out_of_memory

NAMED = 5
"""How many names a refusal lists."""
TRAINED = "weights-fp32"
"""The folder of a checkpoint with the weights as they were trained, where its own are an export in another dtype."""
NOTES = 20
"""How many messages of the library are kept."""
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Those of weights, by their names in safetensors files. Others need scales, or are no weights."""
_MASK = re.compile(r"(attn|attention)\.(masked_)?bias$")
"""Causal masks, which old exports hold beside the weights; models make their own."""
_LOAD_REPORT = "LOAD REPORT"


class ReadModel(NamedTuple):
    """A model as its files describe it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: str
    """In which the files hold most of the weights, such as `bfloat16`; the model itself is fp32."""
    notes: list[str]
    """What the library said while it read them."""


def read(path: str) -> ReadModel:
    """The model of a directory or a Hub id, in fp32; Invalid (param `model`) names what is wrong with it."""
    if Path(path).is_dir():
        return _checked(path, *_read(path, local=True))
    if path.startswith(("/", "./", "../", "~")):
        raise Invalid(f"model '{path}' is no directory; export a model there or name another", param="model")
    try:
        return _checked(path, *_read(path, local=False))
    except _Unreadable:
        return _checked(path, *_read(path, local=True))  # the Hub cannot be reached: perhaps it was fetched before


def revision(path: str) -> str | None:
    """The commit of a model of the Hub as it lies in the cache of this machine; None for a directory or `tiny`."""
    commit = None if path == "tiny" else resolve_revision(path, local_files_only=True)
    return getattr(commit, "resolved", None)


class _Unreadable(Invalid):
    """The library cannot read the files."""


class _Found(NamedTuple):
    """What the library found in the files; a type of our own around its dictionary."""

    missing: list[str]
    unexpected: list[str]
    reshaped: list[tuple[str, Sequence[int], Sequence[int]]]
    """Name, shape in the files, shape in the model."""


def _read(path: str, *, local: bool) -> tuple[ReadModel, _Found]:
    with _library_notes() as notes, _refusing(path):
        if find_adapter_config_file(path, local_files_only=local):
            message = f"model '{path}' is an adapter, or has one on top (adapter_config.json)"
            raise Invalid(
                f"{message}; merge it into its base by peft's merge_and_unload(), save that and name it", param="model"
            )
        stored, _ = PreTrainedConfig.get_config_dict(path, local_files_only=local)
        _check_rotation(path, stored)
        config = AutoConfig.from_pretrained(path, local_files_only=local)
        if config.is_encoder_decoder:
            raise Invalid(f"model '{path}' has an encoder; choose a decoder-only language model", param="model")
        if getattr(config, "quantization_config", None):
            message = f"model '{path}' has quantised weights, which are not supported"
            raise Invalid(f"{message}; dequantise it and save it in bf16, or name the original", param="model")
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            _weights(path),
            dtype=torch.float32,
            local_files_only=local,
            ignore_mismatched_sizes=True,  # then they are in the report, and refused below by name
            output_loading_info=True,
        )
        model, info = loaded
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local)
    dtype = _main_dtype(path) or str(config.dtype or torch.float32).removeprefix("torch.")
    found = _Found(sorted(info["missing_keys"]), sorted(info["unexpected_keys"]), sorted(info["mismatched_keys"]))
    return ReadModel(model, tokenizer, dtype, notes), found


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Turn whatever the library raises about files that it cannot read into a refusal."""
    try:
        yield
    except Exception as error:  # no list of them would be complete: each format and each model class has its own
        if isinstance(error, Invalid) or is_out_of_memory(error):
            raise
        reason = " ".join(f"{error or type(error).__name__}".split())[:500]
        remedy = (
            "give a directory that holds config.json, safetensors and tokenizer files"
            if Path(path).is_dir()
            else "check the id, connect to the Hub, fetch it once with `hf download`, or give a local directory"
        )
        raise _Unreadable(f"model '{path}' cannot be loaded: {reason}; {remedy}", param="model") from error


def _check_rotation(path: str, stored: dict[str, Any]) -> None:
    """Invalid if a config gives two bases of the rotary embedding: readers differ in which one they take."""
    for part in (stored, *(each for each in stored.values() if isinstance(each, dict))):
        forms = {"rope_theta": part.get("rope_theta")}
        for name in ("rope_parameters", "rope_scaling"):
            if isinstance(part.get(name), dict):
                forms[f"{name}.rope_theta"] = part[name].get("rope_theta")
        given = {name: value for name, value in forms.items() if value is not None}
        if len(set(given.values())) > 1:
            shown = " and ".join(f"{name} {value}" for name, value in given.items())
            message = f"model '{path}': its config.json has {shown}, which contradict each other"
            raise Invalid(f"{message}; keep the one with which the model was trained", param="model")


def _checked(path: str, read_model: ReadModel, found: _Found) -> ReadModel:
    _check_names(path, read_model.model, found)
    _check_values(path, read_model.model)
    empty = [name for name, weight in read_model.model.named_parameters() if weight.ndim > 1 and not weight.any()]
    if empty:
        read_model.notes.append(_listed(empty, "holds nothing but zeros", "hold nothing but zeros"))
    _correct_tying(read_model.model)
    return read_model


def _check_names(path: str, model: PreTrainedModel, found: _Found) -> None:
    computed = {name for name, _ in model.named_buffers()}  # not read, whether they are in the files or not
    unexpected = [name for name in found.unexpected if name not in computed and not _MASK.search(name)]
    shapes = [f"{name} {list(stored)} instead of {list(wanted)}" for name, stored, wanted in found.reshaped]
    problems = [
        _listed(found.missing, "is missing", "are missing"),
        _listed(unexpected, "is unknown to the model", "are unknown to the model"),
        _listed(shapes, "has another shape", "have another shape"),
    ]
    if not any(problems):
        return
    kind, declared = type(model).__name__, model.config.architectures or []
    message = f"model '{path}' does not hold the weights of a {kind}: {'; '.join(filter(None, problems))}"
    made_for = f" (config.json says {declared[0]})" if declared and declared[0] != kind else ""
    raise Invalid(f"{message}{made_for}; export the model again, or correct its config.json", param="model")


def _listed(names: list[str], one: str, many: str) -> str:
    """Such as `2 weights are missing (a, b)`; empty for none."""
    if not names:
        return ""
    more = ", ..." if len(names) > NAMED else ""
    count = f"1 weight {one}" if len(names) == 1 else f"{len(names):,} weights {many}"
    return f"{count} ({', '.join(names[:NAMED])}{more})"


@torch.no_grad()
def _check_values(path: str, model: PreTrainedModel) -> None:
    """Integers and 8-bit floats are no weights by themselves, and the library would cast them. NaN and infinities are
    none either; buffers may hold infinities, as masks do, but no NaN.
    """
    buffers = dict(model.named_buffers())
    coded = [
        f"{name} {dtype}"
        for name, dtype, _ in _stored_tensors(_weights(path))
        if dtype not in DTYPES and name not in buffers and not _MASK.search(name)
    ]
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    broken += [name for name, value in buffers.items() if value.is_floating_point() and value.isnan().any()]
    problems = [
        _listed(coded, "is stored in a form without scale", "are stored in a form without scale"),
        _listed(broken, "holds NaN or infinite numbers", "hold NaN or infinite numbers"),
    ]
    if any(problems):
        message = f"model '{path}' cannot be used: {'; '.join(filter(None, problems))}"
        raise Invalid(f"{message}; name an earlier checkpoint, or fetch or export the model again", param="model")


def _correct_tying(model: Any) -> None:
    """Where the files hold a head that differs from the embedding, although the config ties them, the config is wrong;
    the library says so and keeps both. Other readers of our export would follow the config and drop the head.
    """
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is not table.weight and not model.all_tied_weights_keys:
        model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = False


class _StoredTensor(NamedTuple):
    """One of a safetensors file, as its header describes it."""

    name: str
    dtype: str
    size: int


def _weights(path: str) -> str:
    """Where the weights of a model are: of a checkpoint those that were trained, not those that were exported."""
    trained = Path(path) / TRAINED
    return str(trained) if (trained / "config.json").is_file() else path


def _stored_tensors(path: str) -> Iterator[_StoredTensor]:
    """Those of the safetensors files of a directory, from which the library reads its model."""
    for file in sorted(Path(path).glob("model*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no dictionary
                part = weights.get_slice(name)
                yield _StoredTensor(name, part.get_dtype(), torch.Size(part.get_shape()).numel())


def _main_dtype(path: str) -> str | None:
    """Of most numbers in the files of a directory; None if there are none."""
    sizes: Counter[str] = Counter()
    for tensor in _stored_tensors(path):
        sizes[tensor.dtype] += tensor.size
    stored = sizes.most_common(1)
    return DTYPES.get(stored[0][0], stored[0][0]) if stored else None


class _Notes(logging.Handler):
    """Collects messages instead of printing them."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        """Each message once; the load report is left out, since its content is checked."""
        message = " ".join(record.getMessage().split())[:500]
        if _LOAD_REPORT not in message and message not in self._notes and len(self._notes) < NOTES:
            self._notes.append(message)


@contextmanager
def _library_notes() -> Iterator[list[str]]:
    """What transformers warns of within the `with` block, whatever its verbosity is."""
    library, notes = logging.getLogger("transformers"), list[str]()
    handlers, level, propagate = library.handlers, library.level, library.propagate
    library.handlers, library.propagate = [_Notes(notes)], False
    library.setLevel(logging.WARNING)
    try:
        yield notes
    finally:
        library.handlers, library.propagate = handlers, propagate
        library.setLevel(level)
