"""Supervised fine-tuning against TRL 1.16: the same weights and rows give the same losses, step by step."""

from pathlib import Path
from typing import Any

import pytest

from service.domain.specs import JobSpec
from service.domain.supervised import SFTSpec
from worker.protocol import Assignment, Step
from worker.training.data.encode import Encoder
from worker.training.data.rows import batch_rows, load_rows
from worker.training.loop import run
from worker.training.models import tiny
from worker.training.sequences.batching import Tokens

pytest.importorskip("trl", reason="TRL is not installed: pip install -c requirements.lock -e '.[peers]'")
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing. is deprecated:FutureWarning")

STEPS, BATCH, RATE = 20, 4, 1e-3
DOCUMENT: dict[str, Any] = {
    "algorithm": {"type": "sft", "batch_size": BATCH},
    "dataset": {"source": "linear-algebra", "style": "symbolic", "size": 60},
    "optimizer": {"learning_rate": RATE, "schedule": "constant", "weight_decay": 0.1},
    "precision": "fp32",
    "steps": STEPS,
}


def our_losses(folder: Path, **changes: Any) -> list[float]:
    models = {"tiny": "tiny"}
    job = Assignment(job_id="ftjob-1", attempt=1, spec=DOCUMENT | changes, directory=str(folder), models=models)
    return [event.metrics["train/loss"] for event in run(job, lambda: None) if isinstance(event, Step)]


def in_our_order(spec: JobSpec) -> list[Tokens]:
    """The rows as ids, as the steps take them."""
    algorithm, rows = spec.algorithm, load_rows(spec.dataset, {}, "dataset")  # type: ignore[arg-type]
    assert isinstance(algorithm, SFTSpec)
    sequences = Encoder(tiny.build_tokenizer(), "auto", "dataset").encode_nonempty(rows, algorithm.max_length).sequences
    return [sequences[row] for step in range(STEPS) for row in batch_rows(len(sequences), spec.seed, step, BATCH)]


@pytest.fixture(scope="module")
def peers_losses(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        return trained_by_the_peer(tmp_path_factory.mktemp("peer"))


def trained_by_the_peer(folder: Path) -> list[float]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    losses: list[float] = []

    class Recorded(SFTTrainer):  # type: ignore[misc]
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            losses.append(float(loss))
            return loss

    model, tokenizer = tiny.build(0)
    rows = [
        {"input_ids": [*row.prompt, *row.completion], "labels": [-100] * len(row.prompt) + row.completion}
        for row in in_our_order(JobSpec.model_validate(DOCUMENT))
    ]
    options = SFTConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
        per_device_train_batch_size=BATCH,
        max_steps=STEPS,
        train_sampling_strategy="sequential",
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.1,
        max_grad_norm=1.0,
        dataloader_pin_memory=False,
    )
    Recorded(model=model, args=options, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train()
    return losses


@pytest.mark.parametrize("changes", [{}, {"packing": False}, {"micro_batch_tokens": 128}], ids=str)
def test_twenty_steps_have_trls_losses(changes: dict[str, Any], peers_losses: list[float], tmp_path: Path) -> None:
    assert len(peers_losses) == STEPS
    assert peers_losses[-1] < 0.8 * peers_losses[0]
    assert our_losses(tmp_path, **changes) == pytest.approx(peers_losses, abs=1e-5, rel=0)
