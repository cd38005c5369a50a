"""A model whose files do not hold what it needs is refused by name; nothing is filled in or left out in silence."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from hone.errors import Invalid
from worker.training.models import tiny
from worker.training.models.policy import Policy, load_policy

CPU = torch.device("cpu")
Weights = dict[str, Tensor]
UP = "model.layers.1.mlp.up_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
Edit = Callable[[Weights], Any]


def _export(folder: Path, *, tied: bool = True) -> Path:
    model, tokenizer = tiny.build(0)
    if not tied:
        config = tiny.config(tokenizer)
        config.tie_word_embeddings = False
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete export of the tiny model, whose head is its embedding."""
    return _export(tmp_path / "model")


def _edit(folder: Path, change: Edit) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _configure(folder: Path, file: str = "config.json", **fields: Any) -> None:
    path = folder / file
    document = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(document | fields))


def _load(folder: Path) -> Policy:
    return load_policy(str(folder), 0, CPU, "fp32")


def _refused(folder: Path) -> str:
    with pytest.raises(Invalid) as refusal:
        _load(folder)
    assert refusal.value.param == "model"
    assert str(folder) in refusal.value.message
    return refusal.value.message


WRONG: dict[str, tuple[Edit, str]] = {
    "missing": (lambda weights: weights.pop(UP), rf"1 weight is missing \({UP}\)"),
    "the tied embedding": (lambda weights: weights.pop(EMBEDDING), rf"missing \(.*{EMBEDDING}"),
    "unexpected": (lambda weights: weights.update(other=torch.ones(1)), r"unknown to the model \(other\)"),
    "a head for scores": (
        lambda weights: weights.update({"score.weight": torch.ones(1, 96)}),
        r"unknown to the model \(score.weight\)",
    ),
    "another shape": (
        lambda weights: weights.update({UP: torch.ones(255, 96)}),
        rf"another shape \({UP} \[255, 96\] instead of \[256, 96\]\)",
    ),
    "many missing": (
        lambda weights: [weights.pop(name) for name in list(weights) if "layers" in name],
        r"27 weights are missing \(.*, \.\.\.\)",
    ),
    "NaN": (lambda weights: weights[UP].view(-1)[7:8].fill_(float("nan")), rf"NaN or infinite numbers \({UP}\)"),
    "infinite": (lambda weights: weights[UP].view(-1)[7:8].fill_(float("inf")), rf"NaN or infinite numbers \({UP}\)"),
    "integers": (lambda weights: weights.update({UP: weights[UP].to(torch.int8)}), rf"without scale \({UP} I8\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_weights_that_are_not_the_models_are_refused_by_name(folder: Path, name: str) -> None:
    edit, expected = WRONG[name]
    _edit(folder, edit)
    message = _refused(folder)
    assert re.search(expected, message), message


def test_a_head_that_is_absent_is_the_embedding_only_where_the_config_ties_them(tmp_path: Path) -> None:
    tied, untied = _export(tmp_path / "tied"), _export(tmp_path / "untied", tied=False)
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    assert torch.equal(_load(tied).head.weight_VH, load_file(tied / "model.safetensors")[EMBEDDING])
    _edit(untied, lambda weights: weights.pop("lm_head.weight"))
    assert "missing (lm_head.weight)" in _refused(untied)


def test_a_head_that_differs_from_the_embedding_is_kept_whatever_the_config_ties(tmp_path: Path) -> None:
    folder = _export(tmp_path / "model", tied=False)
    _configure(folder, tie_word_embeddings=True)
    policy = _load(folder)
    assert torch.equal(policy.head.weight_VH, load_file(folder / "model.safetensors")["lm_head.weight"])
    assert not policy.model.config.tie_word_embeddings  # otherwise a reader of our export would drop the head
    assert policy.facts is not None and any("different values" in note for note in policy.facts.notes)


def test_tables_that_every_model_computes_may_lie_beside_the_weights(folder: Path) -> None:
    _edit(folder, lambda weights: weights.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(12)}))
    _load(folder)


def test_a_shard_that_is_not_there_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    first = {name: weights[name] for name in weights if name != UP}
    save_file(first, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    places = dict.fromkeys(first, "model-00001-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": places | {UP: "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors" in _refused(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert f"missing ({UP})" in _refused(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    _refused(folder)


def test_a_file_that_was_cut_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "cannot be loaded" in _refused(folder)


def test_a_padding_token_beyond_the_embedding_is_refused(folder: Path) -> None:
    _configure(folder, pad_token_id=500)
    _refused(folder)


def test_a_config_of_more_or_fewer_layers_is_refused(folder: Path) -> None:
    _configure(folder, num_hidden_layers=4)
    assert "9 weights are missing (model.layers.3." in _refused(folder)
    _configure(folder, num_hidden_layers=2)
    assert "9 weights are unknown to the model (model.layers.2." in _refused(folder)


def test_an_export_for_another_task_is_refused_with_what_it_is(tmp_path: Path) -> None:
    classifier: Any = transformers.LlamaForSequenceClassification
    classifier(tiny.config(tiny.build_tokenizer())).save_pretrained(tmp_path)
    tiny.build_tokenizer().save_pretrained(tmp_path)
    message = _refused(tmp_path)
    assert "score.weight" in message
    assert "LlamaForSequenceClassification" in message


def test_quantised_weights_are_refused(folder: Path) -> None:
    _configure(folder, quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})
    assert "quantised weights" in _refused(folder)


def test_an_adapter_is_refused_even_beside_a_model(folder: Path) -> None:
    _configure(folder, "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder))
    assert "merge_and_unload" in _refused(folder)


def test_tokens_beyond_the_embedding_are_refused_with_both_numbers(folder: Path) -> None:
    tokenizer = tiny.build_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save_pretrained(folder)
    message = _refused(folder)
    assert f"{rows + 1} tokens" in message
    assert f"{rows} rows" in message
    assert f"'<tool>' has id {rows}" in message
    assert "set resize_embeddings" in message


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_the_mean_of_the_others_in_embedding_and_head(tmp_path: Path, tied: bool) -> None:
    folder, tokenizer = _export(tmp_path / "model", tied=tied), tiny.build_tokenizer()
    tokenizer.add_tokens(["<tool>", "<more>"])
    tokenizer.save_pretrained(folder)
    policy = load_policy(str(folder), 0, CPU, "fp32", resize_embeddings=True)
    stored, model = load_file(folder / "model.safetensors"), cast("Any", policy.model)
    for weight, name in (
        (model.get_input_embeddings().weight, EMBEDDING),
        (policy.head.weight_VH, EMBEDDING if tied else "lm_head.weight"),
    ):
        assert torch.equal(weight[:103], stored[name])
        torch.testing.assert_close(weight[103:], stored[name].mean(dim=0).expand(2, -1))
    assert (policy.head.weight_VH is model.get_input_embeddings().weight) == tied
    assert policy.facts is not None and (policy.facts.embedding_rows, policy.facts.added_rows) == (105, 2)
    assert model.config.vocab_size == 105


@pytest.mark.parametrize("field", ["eos_token_id", "bos_token_id"])
def test_declared_ids_beyond_the_embedding_are_refused(folder: Path, field: str) -> None:
    _configure(folder, "generation_config.json", **{field: [1, 103] if field == "eos_token_id" else 103})
    assert f"{field} in its generation_config.json is 103" in _refused(folder)


def test_a_padded_embedding_and_a_negative_padding_id_are_no_fault(folder: Path) -> None:
    model, _ = tiny.build(0)
    model.resize_token_embeddings(128, mean_resizing=False)
    model.save_pretrained(folder)
    _configure(folder, pad_token_id=-1)
    facts = _load(folder).facts
    assert facts is not None
    assert (facts.tokens, facts.embedding_rows) == (103, 128)


def test_the_facts_of_a_model_are_those_of_its_files(folder: Path) -> None:
    model, tokenizer = tiny.build(0)
    model.bfloat16().save_pretrained(folder)
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(folder)
    _configure(folder, "generation_config.json", eos_token_id=[1, 6])
    facts = _load(folder).facts
    assert facts is not None
    assert facts.model_dump() == {
        "architecture": "LlamaForCausalLM",
        "parameters": model.num_parameters(),
        "dtype": "bfloat16",
        "tokens": 103,
        "embedding_rows": 103,
        "added_rows": 0,
        "special_tokens": {"eos_token": "<eos>", "pad_token": "<pad>"},
        "stops": [{"id": 1, "text": "<eos>"}, {"id": 6, "text": "</answer>"}],
        "chat_template": True,
        "context": 1024,
        "notes": [],
    }


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("eos", [9, [1, 9]], ids=str)
def test_a_declared_end_that_the_tokenizer_reads_as_text_is_refused(folder: Path, file: str, eos: Any) -> None:
    """The tokenizer of another model: every response would end at its first quotation mark."""
    text = tiny.build_tokenizer().decode([9])
    _configure(folder, file, eos_token_id=eos)
    assert f"eos_token_id in its {file} is 9, which its tokenizer reads as {text!r}" in _refused(folder)


@pytest.mark.parametrize("form", ["rope_parameters", "rope_scaling"])
def test_two_bases_of_the_rotary_embedding_are_refused(folder: Path, form: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_parameters", None)
    for given, is_one in ((500000.0, True), (10000.0, False)):
        rotary = {"rope_theta": given, "rope_type": "default"}
        (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 500000.0, form: rotary}))
        if is_one:
            assert _load(folder).model.config.rope_parameters["rope_theta"] == 500000.0
        else:
            assert f"rope_theta 500000.0 and {form}.rope_theta 10000.0, which contradict" in _refused(folder)


def test_a_matrix_of_zeros_is_told_of(folder: Path) -> None:
    _edit(folder, lambda weights: weights[UP].zero_())
    facts = _load(folder).facts
    assert facts is not None and facts.notes == [f"1 weight holds nothing but zeros ({UP})"]
