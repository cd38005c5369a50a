"""The logging of all processes: one line per event, key=value at a terminal, JSON elsewhere."""

import logging
import sys
import threading
from types import TracebackType

import structlog


def configure(level: str) -> None:
    """Send structlog's and the standard library's records to standard error in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # callers log their requests themselves, with the reason
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def catch_errors() -> None:
    """Log an uncaught error of any thread as one event instead of a traceback of many lines; warnings, too.

    It changes global hooks of Python, so it is for our own processes only.
    """
    logging.captureWarnings(True)

    def of_main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            get(__name__).critical("internal error; the process ends", exc_info=error)

    def of_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "?"
        get(__name__).error("internal error; the thread ends", thread=name, exc_info=args.exc_value)

    sys.excepthook, threading.excepthook = of_main, of_thread


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; its records are sentences with fields."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
