"""Presets: what papers and other trainers do, as fields of a spec."""

from fastapi import APIRouter

from service.api.dependencies import Reader
from service.domain import presets
from service.domain.presets import PRESETS
from service.domain.presets.preset import Preset
from service.schemas import Page, PresetRead

router = APIRouter(prefix="/v1/presets", tags=["presets"])


@router.get("")
def list_presets(_: Reader) -> Page[PresetRead]:
    """Every preset. A spec uses one by `algorithm: {preset: NAME}`; the fields that it has itself win."""
    return Page.of([_read(name, preset) for name, preset in PRESETS.items()], len(PRESETS), cursor="name")


@router.get("/{name}")
def get_preset(name: str, _: Reader) -> PresetRead:
    """A preset: its fields, where they come from, and what differs."""
    return _read(name, presets.find(name))


def _read(name: str, preset: Preset) -> PresetRead:
    return PresetRead.model_validate(preset._asdict() | {"name": name, "algorithm": preset.algorithm})
