import subprocess
import sys
from pathlib import Path

from service.domain.tools import ToolsSpec
from worker.training.tools.toolbox import Toolbox

ROOT = Path(__file__).parents[4]
ONE = '<tool_call>{"name": "determinant", "arguments": {"matrix": [[1]]}}</tool_call>'
BIG = [[(7 * i + 3 * j * j + i * j) % 97 + 0.123456789 * ((i * j) % 7) for j in range(16)] for i in range(16)]
SLOW = f'<tool_call>{{"name": "matrix_cofactor", "arguments": {{"matrix": {BIG}}}}}</tool_call>'
"""Takes seconds: 256 determinants of long decimals."""


def test_results_come_in_the_order_of_the_calls_and_errors_are_marked() -> None:
    with Toolbox(ToolsSpec()) as box:
        good, bad, again = box.call([ONE, "</tool_call>", ONE.replace("[[1]]", "[[2]]")])
    assert (good.text, good.failed, again.text) == ("1", False, "2")
    assert bad.failed and bad.text.startswith("Error: </tool_call> without <tool_call>")


def test_a_call_that_takes_too_long_costs_itself_only() -> None:
    with Toolbox(ToolsSpec(), deadline_seconds=0.2) as box:
        slow, good = box.call([SLOW, ONE])
        assert slow.failed and slow.text == "Error: no answer within 0.2 s"
        assert (good.text, good.failed) == ("1", False)


def test_a_process_that_is_killed_costs_nothing() -> None:
    with Toolbox(ToolsSpec()) as box:
        assert box.call([ONE])[0].text == "1"
        child = box._processes._child
        assert child is not None
        child.process.kill()
        child.process.wait()
        assert box.call([ONE])[0].text == "1"


def test_only_the_tools_of_the_job_can_be_called() -> None:
    with Toolbox(ToolsSpec(functions=["matrix_rank"])) as box:
        (result,) = box.call([ONE])
    assert result.text == "Error: no such tool; there are matrix_rank"


def test_a_job_without_tools_starts_no_process() -> None:
    with Toolbox(None) as box:
        assert box.schemas is None and box._processes._child is None


def test_the_process_of_the_tools_does_without_torch() -> None:
    code = "import sys, worker.training.tools.server, worker.training.tools.toolbox; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
