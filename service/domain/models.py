"""Models in directories of this machine: a spec names one by its path, or by its name below a root of the operator.

A Hub id such as `HuggingFaceTB/SmolLM2-135M-Instruct` is looked for below the roots first, so that a machine without
network serves what was put there under the same name.
"""

from pathlib import Path

from hone.errors import Invalid


def is_path(model: str) -> bool:
    """Whether a model is given as a path, not as a name."""
    return model.startswith(("/", ".", "~"))


def local_directory(model: str, roots: list[Path]) -> Path | None:
    """The directory of a model, or None if the name is one of the Hub.

    Links are resolved before the path is compared with the roots. Raises Invalid for a path outside the roots, or
    without a model.
    """
    if is_path(model):
        return _checked(model, roots)
    for root in roots:
        directory = (root / model).resolve()
        if directory.is_relative_to(root.resolve()) and (directory / "config.json").is_file():
            return directory
    return None


def _checked(model: str, roots: list[Path]) -> Path:
    path = Path(model)
    if not path.is_absolute() or not any(path.resolve().is_relative_to(root.resolve()) for root in roots):
        allowed = ", ".join(str(root) for root in roots)
        message = f"'{model}' is outside the allowed model directories ({allowed}; the operator sets HONE_MODEL_ROOTS)"
        raise Invalid(message, param="model")
    if not (path / "config.json").is_file():
        raise Invalid(f"'{model}' is not a model directory: it has no config.json", param="model")
    return path.resolve()
