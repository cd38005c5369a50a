from collections.abc import Callable
from typing import Any

import pytest
import yaml

from hone.cli.spec_view import without_defaults
from service.domain.presets import PRESETS
from service.domain.specs import JobSpec
from service.domain.stored import SPEC_VERSION

Hone = Callable[..., Any]
ROWS = {"source": "linear-algebra"}


def test_presets_are_lines_with_name_algorithm_and_title(hone: Hone) -> None:
    rows = [line.split("\t") for line in hone("presets").stdout.splitlines()]
    assert rows == [[name, preset.algorithm, preset.title] for name, preset in PRESETS.items()]


def test_a_preset_is_shown_as_fields_that_a_spec_may_begin_with(hone: Hone) -> None:
    shown = hone("presets", "dapo").stdout
    assert shown.startswith("# GRPO with clip-higher") and "# Source: Yu et al. 2025, arXiv:2503.14476" in shown
    fields = yaml.safe_load(shown)
    assert fields == PRESETS["dapo"].fields
    JobSpec.model_validate(fields | {"dataset": ROWS})


def test_a_recipe_of_several_jobs_is_printed_in_comments(hone: Hone) -> None:
    shown = hone("presets", "deepseek_r1").stdout
    assert "# Stage 4: RL for all scenarios" in shown and "#   temperature: 0.7" in shown
    assert yaml.safe_load(shown) == PRESETS["deepseek_r1"].fields


def test_an_unknown_preset_is_refused_with_the_nearest_known_one(hone: Hone) -> None:
    done = hone("presets", "dappo")
    assert done.returncode == 1 and "no preset 'dappo'; did you mean 'dapo'?" in done.stderr


@pytest.mark.parametrize(
    "document",
    [
        {"algorithm": {"preset": "theory", "loss_aggregation": "token_mean"}},
        {"algorithm": {"preset": "linalgzero_sft"}, "lora": None, "optimizer": {"warmup_steps": 0}},
        {"algorithm": {"preset": "deepseek_r1", "ref_sync_steps": None, "num_generations": 8}},
        {"algorithm": {"preset": "kimi_k1_5", "prompt_sampling": {"type": "curriculum"}}},
    ],
)
def test_a_shown_spec_means_the_same_where_it_takes_back_what_its_preset_says(document: dict[str, Any]) -> None:
    spec = JobSpec.model_validate(document | {"dataset": ROWS})
    shown = without_defaults(spec.model_dump(mode="json"), SPEC_VERSION)
    assert JobSpec.model_validate(yaml.safe_load(yaml.safe_dump(shown))) == spec


def test_a_spec_that_this_version_does_not_understand_is_shown_as_it_is() -> None:
    document = {"algorithm": {"type": "of another version"}, "steps": "many"}
    assert without_defaults(document, SPEC_VERSION) == document
