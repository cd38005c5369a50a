"""Exports that transformers 4 and 5 read as the same model: config and tokenizer are described in the words of both.

transformers 5 writes rotary embeddings as `rope_parameters` and tokenizers as `TokenizersBackend`. Version 4 knows
neither: it takes its own default for the base of the rotation, in silence, and refuses the tokenizer.
"""

import copy
import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
Document = dict[str, Any]
EXPLICIT = ("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
"""Left out where they are the library's default, which is another one in version 4."""
SLIDING = {
    "gemma3_text": "rope_local_base_freq",
    "gemma3n_text": "rope_local_base_freq",
    "modernbert-decoder": "local_rope_theta",
}
"""Version 4's name for the base of the rotation in layers with a sliding window, by type of model."""
RENAMED = {
    "gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"},
    "modernbert-decoder": {"rope_theta": "global_rope_theta"},
}


def rewrite(directory: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: str) -> None:
    """Add version 4's words to what version 5 has saved there, and name the dtype of the weights."""
    _edit(directory / CONFIG, lambda document: _config(document | {"dtype": dtype}, model.config))
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        _edit(directory / TOKENIZER_CONFIG, lambda document: _tokenizer(document, tokenizer))


def _edit(file: Path, change: Any) -> None:
    document = change(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _config(saved: Document, config: PreTrainedConfig) -> Document:
    explicit = {name: getattr(config, name) for name in EXPLICIT if name not in saved and hasattr(config, name)}
    document = _with_legacy_names(saved | explicit, config)
    return document if _means_the_same(document, saved, type(config)) else saved


def _means_the_same(document: Document, saved: Document, kind: type[PreTrainedConfig]) -> bool:
    """Whether this version reads both as one config: where it does not, its own words are worth more."""
    read, wanted = (kind.from_dict(copy.deepcopy(each)).to_dict() for each in (document, saved))
    return all(read.get(name) == value for name, value in wanted.items())


def _with_legacy_names(document: Document, config: PreTrainedConfig) -> Document:
    """The same, with the fields of version 4, in it and in the configs of its parts."""
    both = {}
    for name, value in document.items():
        part = getattr(config, name, None)
        both[name] = _with_legacy_names(value, part) if isinstance(part, PreTrainedConfig) else value
    for alias, name in config.attribute_map.items():
        if name in both:
            both.setdefault(alias, both[name])  # which of the two is the field's own name has changed for some
    if both.get("dtype"):
        both["torch_dtype"] = both["dtype"]
    if isinstance(rope := both.get("rope_parameters"), dict):
        both |= _legacy_rope(rope, str(both.get("model_type")))
    return both


def _legacy_rope(parameters: Document, kind: str) -> Document:
    """Version 4's fields for rotary embeddings; none where it has no words for these."""
    full, sliding = parameters.get("full_attention"), parameters.get("sliding_attention")
    if not any(isinstance(part, dict) for part in parameters.values()):
        return _flat(parameters, kind)
    if not isinstance(full, dict) or not isinstance(sliding, dict) or len(parameters) != 2:
        return {}
    if name := SLIDING.get(kind):
        return _flat(full, kind) | {name: sliding["rope_theta"]}
    return _flat(full, kind) if sliding == {"rope_theta": full["rope_theta"], "rope_type": "default"} else {}


def _flat(parameters: Document, kind: str) -> Document:
    names = RENAMED.get(kind, {})
    own = {name: parameters[name] for name in ("rope_theta", "partial_rotary_factor") if name in parameters}
    fields = {names.get(name, name): value for name, value in own.items()}
    scaling = {name: value for name, value in parameters.items() if name not in own}
    return fields if scaling == {"rope_type": "default"} else fields | {"rope_scaling": scaling}


def _tokenizer(saved: Document, tokenizer: PreTrainedTokenizerBase) -> Document:
    """The class that takes tokenizer.json as it is; others, in version 4, change which special tokens it adds."""
    document = saved | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": [name for name in tokenizer.model_input_names if name != "token_type_ids"],
    }
    if isinstance(document.get("extra_special_tokens"), list):
        document["additional_special_tokens"] = document.pop("extra_special_tokens")
    return document
