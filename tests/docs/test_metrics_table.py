"""docs/metrics.md is service/domain/metrics.py."""

from pathlib import Path

from service.domain.metrics import METRICS, Metric

BETTER = {"up": "higher", "down": "lower", None: ""}


def _row(name: str, metric: Metric) -> str:
    family = f"`{name}...`" if name[-1] in "/@" else f"`{name}`"
    return f"| {family} | {metric.unit} | {BETTER[metric.better]} | {metric.meaning.replace('|', '&#124;')} |"


def test_every_metric_is_in_the_table_and_no_other(root: Path) -> None:
    lines = (root / "docs" / "metrics.md").read_text().splitlines()
    told = [line for line in lines if line.startswith("| `")]
    expected = [_row(name, metric) for name, metric in METRICS.items()]
    assert told == expected, "docs/metrics.md, let its rows be:\n" + "\n".join(expected)
