"""Directories of models that the operator offers: a spec names them by path, or by their name below a root.

A Hub id such as `HuggingFaceTB/SmolLM2-135M-Instruct` is looked for below the roots first, so that a machine without
network serves what was put there under the same name.
"""

from pathlib import Path

from service.domain.errors import Invalid


def is_path(model: str) -> bool:
    """Whether it is written as a path rather than as a name."""
    return model.startswith(("/", ".", "~"))


def local_directory(model: str, roots: list[Path]) -> Path | None:
    """The directory that is meant, or None: then it is a name for the Hub. Links are resolved before the roots are held
    against it. Raises Invalid for a path that leads outside the roots or is no model.
    """
    if is_path(model):
        return _checked(model, roots)
    for root in roots:
        found = (root / model).resolve()
        if found.is_relative_to(root.resolve()) and (found / "config.json").is_file():
            return found
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
