"""The README's table of settings is service/settings.py."""

from typing import Any

from service.settings import Settings


def expected_rows() -> dict[str, list[str]]:
    rows = {}
    for name, field in Settings.model_fields.items():
        variable = field.alias or name.upper()
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        shown = {True: "true", False: "false"}[default] if isinstance(default, bool) else str(default or "empty")
        rows[variable] = [f"`{variable}`", shown, field.description or ""]
    return rows


def test_every_setting_is_in_the_readme_with_its_default_and_its_sentence(readme: Any) -> None:
    told = readme.tables("## Settings")
    missing = [f"| {' | '.join(row)} |" for row in expected_rows().values() if row not in told]
    assert not missing, "in README.md, section 'Settings', write these lines:\n" + "\n".join(missing)


def test_the_readme_tells_of_no_setting_that_does_not_exist(readme: Any) -> None:
    told = {row[0].strip("`") for row in readme.tables("## Settings")} - {"variable"}
    unknown = told - set(expected_rows())
    assert not unknown, f"README.md, section 'Settings': remove {unknown}; service/settings.py has no such variable"
