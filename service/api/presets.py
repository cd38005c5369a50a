"""Presets over HTTP."""

from hone.documents import Page, PresetRead, StageRead
from service.api.dependencies import Reader
from service.api.routing import Router
from service.domain import presets
from service.domain.presets import PRESETS
from service.domain.presets.preset import Preset

router = Router(prefix="/v1/presets", tags=["presets"])


@router.get("")
def list_presets(_: Reader) -> Page[PresetRead]:
    """List presets. A spec uses one with `algorithm: {preset: NAME}`; fields that the spec sets itself win."""
    return Page.of([_read(name, preset) for name, preset in PRESETS.items()], len(PRESETS), cursor="name")


@router.get("/{name}")
def get_preset(name: str, _: Reader) -> PresetRead:
    """Show a preset: its fields, where they come from, and what differs from the source."""
    return _read(name, presets.find(name))


def _read(name: str, preset: Preset) -> PresetRead:
    return PresetRead(
        name=name,
        algorithm=preset.algorithm,
        title=preset.title,
        source=preset.source,
        notes=preset.notes,
        fields=preset.fields,
        stages=[StageRead(title=stage.title, fields=stage.fields) for stage in preset.stages],
    )
