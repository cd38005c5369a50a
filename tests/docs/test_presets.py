"""The table of presets is that of the code."""

from typing import Any

from service.domain.presets import PRESETS


def test_the_readme_lists_every_preset_with_its_title(readme: Any) -> None:
    expected = [[f"`{name}`", preset.title] for name, preset in PRESETS.items()]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    assert readme.tables("### Presets")[1:] == expected, (
        f"README.md, section 'Presets', needs exactly these rows:\n{rows}"
    )


def test_the_readme_shows_how_a_spec_names_a_preset(readme: Any) -> None:
    assert any("preset: dapo" in span for span in readme.spans())
