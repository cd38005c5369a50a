"""A spec's `model` reaches directories below the operator's roots and nothing else."""

from pathlib import Path

import pytest

from hone.errors import Invalid
from service.domain.models import local_directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("roots/org/model", "elsewhere"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    return tmp_path / "roots"


def test_a_name_is_looked_for_below_the_roots(root: Path) -> None:
    assert local_directory("org/model", [root]) == root / "org" / "model"


def test_a_name_that_is_not_there_is_left_to_the_hub(root: Path) -> None:
    assert local_directory("org/other", [root]) is None


def test_a_path_below_a_root_is_taken(root: Path) -> None:
    assert local_directory(str(root / "org/model"), [root]) == root / "org" / "model"


@pytest.mark.parametrize("way", ["{}/../elsewhere", "/etc", "./org/model", "~/model"])
def test_a_path_that_leads_outside_is_refused(root: Path, way: str) -> None:
    with pytest.raises(Invalid, match="outside the allowed model directories"):
        local_directory(way.format(root), [root])


def test_a_name_cannot_climb_out_either(root: Path) -> None:
    assert local_directory("org/../../elsewhere", [root]) is None


def test_a_link_that_leads_outside_is_refused(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "elsewhere")
    assert local_directory("link", [root]) is None
    with pytest.raises(Invalid, match="outside"):
        local_directory(str(root / "link"), [root])


def test_a_directory_without_a_model_is_refused(root: Path) -> None:
    with pytest.raises(Invalid, match=r"no config\.json"):
        local_directory(str(root / "org"), [root])
