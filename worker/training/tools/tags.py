"""The marks around calls and answers: those of Hermes, Qwen and LinAlgZero."""

CALL, CALL_END = "<tool_call>", "</tool_call>"
RESPONSE, RESPONSE_END = "<tool_response>", "</tool_response>"


def as_text(answer: str) -> str:
    """What a tool answered, where there is no chat template that says how to show it."""
    return f"\n{RESPONSE}{answer}{RESPONSE_END}\n"
