"""What TRL's trainers are told in every comparison."""

from typing import Any


def common(task: dict[str, Any]) -> dict[str, Any]:
    """Options of `TrainingArguments`: precision, rate and steps of the task, and nothing beside the training."""
    return {
        "output_dir": task["scratch"],
        "use_cpu": task["device"] == "cpu",
        "bf16": task["precision"] == "bf16",
        "gradient_checkpointing": False,  # on by default: a third more work
        "max_steps": task["steps"],
        "learning_rate": task["learning_rate"],
        "lr_scheduler_type": "constant",
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
