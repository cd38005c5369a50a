"""What the processes of a job see of their worker's environment: what they need, and no secret beyond.

A worker knows the URLs of the database and the broker, with their passwords, and the keys of the storage. Trainers read
and write local files only; reward functions and tools do not even that, and run what models write.
"""

import os
from collections.abc import Mapping

SYSTEM = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "TERM"),
    *("LC_", "LD_", "DYLD_", "PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "COVERAGE_"),
    *("HONE_DATA_DIR", "HONE_FAILPOINTS"),  # by which processes of a service are found, and tests break them
)
COMPUTING = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "GOMP_", "ATEN_", "MALLOC_")
DEVICES = (
    "CUDA_",
    "NVIDIA_",
    "NCCL_",
    "ROCR_",
    "HIP_",
    "HSA_",
    "TORCH_",
    "TORCHINDUCTOR_",
    "PYTORCH_",
    "TRITON_",
    "CUBLAS_",
    "GLOO_",
)
MODELS = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TOKENIZERS_", "XDG_", "SSL_CERT_", "REQUESTS_CA_BUNDLE")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
MORE = "HONE_TRAINER_ENVIRONMENT"
"""Names of further variables for trainers, separated by commas."""


def of_trainers(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """They compute on devices and fetch models from the Hub, with its token."""
    more = tuple(filter(None, (name.strip() for name in environment.get(MORE, "").split(","))))
    chosen = _chosen(environment, (*SYSTEM, *COMPUTING, *DEVICES, *MODELS, *PROXIES))
    return chosen | {name: environment[name] for name in more if name in environment}


def of_rewards_and_tools(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """They compute on the CPU."""
    return _chosen(environment, (*SYSTEM, *COMPUTING))


def _chosen(environment: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Variables with these names; one that ends in `_`, and PYTHON, stands for all that begin so."""
    return {name: value for name, value in environment.items() if name in names or name.startswith(_prefixes(names))}


def _prefixes(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name.endswith("_") or name == "PYTHON")
