"""Every table by the name that a page's marker gives it."""

from functools import partial
from pathlib import Path

from pydantic import BaseModel

from hone.documents.limits import Limits
from service.domain.algorithms import Algorithm, PolicySpec
from service.domain.datasets import FileData, LinearAlgebraData, RejectionSamplingData
from service.domain.prompt_sampling import CurriculumSpec, GaussianCurriculumSpec, PrioritizedSpec
from service.domain.specs import (
    CheckpointSpec,
    EarlyStoppingSpec,
    EvaluationSpec,
    JobSpec,
    LoRASpec,
    OptimizerSpec,
    ResourcesSpec,
)
from service.domain.supervised import Block, PTXSpec
from service.domain.tools import ToolsSpec
from service.reference import catalogue, interfaces
from service.reference.dependencies import dependencies_table, groups
from service.reference.fields import differing_table, fields_table
from service.reference.markdown import Tables

ROOT = Path(__file__).parents[2]
BLOCKS: dict[str, type[BaseModel]] = {
    "optimizer": OptimizerSpec,
    "lora": LoRASpec,
    "evaluation": EvaluationSpec,
    "early_stopping": EarlyStoppingSpec,
    "checkpoint": CheckpointSpec,
    "resources": ResourcesSpec,
    "tools": ToolsSpec,
    "dataset linear-algebra": LinearAlgebraData,
    "dataset file": FileData,
    "dataset rejection-sampling": RejectionSamplingData,
    "curriculum": CurriculumSpec,
    "gaussian": GaussianCurriculumSpec,
    "prioritized": PrioritizedSpec,
    "ptx": PTXSpec,
    "key limits": Limits,
}
TABLES: Tables = {
    "spec fields": partial(fields_table, JobSpec),
    "algorithm fields: from rewards": partial(fields_table, PolicySpec),
    **{f"fields: {name}": partial(fields_table, model) for name, model in BLOCKS.items()},
    **{
        f"algorithm fields: {name}": partial(
            differing_table, model, PolicySpec if issubclass(model, PolicySpec) else Block
        )
        for name, model in catalogue.members(Algorithm).items()
    },
    **{f"dependencies: {group}": partial(dependencies_table, ROOT, group) for group in groups(ROOT)},
    "algorithms": catalogue.algorithms,
    "presets": catalogue.presets,
    "preset notes": catalogue.preset_notes,
    "rewards": catalogue.rewards,
    "tools": catalogue.tools,
    "metrics": catalogue.metrics,
    "settings": catalogue.settings,
    "job statuses": catalogue.statuses,
    "job events": catalogue.job_events,
    "life of a job": catalogue.life_of_a_job,
    "failure categories": catalogue.failures,
    "health notes": catalogue.health_notes,
    "webhook events": catalogue.webhook_events,
    "endpoints": interfaces.endpoints,
    "errors": interfaces.errors,
    "commands": interfaces.commands,
}
