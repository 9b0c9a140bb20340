"""The request bodies of the Agent API (docs/providers/agentforce.md, "Asking")."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from sandbox.agentforce import errors

END_REASONS = ("UserRequest", "Transfer", "Expiration", "Error", "Other")
_AGENT_ID = re.compile(r"0Xx[A-Za-z0-9]{12}([A-Za-z0-9]{3})?")
# The only context variable that may be changed during a session
# (docs/providers/agentforce.md, "Variables").
_LANGUAGE = "$Context.EndUserLanguage"


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True)


class Variable(_Body):
    name: str
    type: Literal[
        "Object",
        "Json",
        "Boolean",
        "Date",
        "DateTime",
        "Money",
        "Number",
        "Text",
        "Ref",
        "List",
    ]
    value: Any


class InstanceConfig(_Body):
    endpoint: str


class StreamingCapabilities(_Body):
    chunk_types: list[Literal["Text"]] = []


class Start(_Body):
    """The body of a request that starts a session; ``bypassUser`` is false by default."""

    external_session_key: str = Field(min_length=1)
    instance_config: InstanceConfig
    tz: str | None = None
    variables: list[Variable] | None = None
    streaming_capabilities: StreamingCapabilities | None = None
    bypass_user: bool = False

    @property
    def wants_text_chunks(self) -> bool:
        return bool(self.streaming_capabilities and self.streaming_capabilities.chunk_types)

    @property
    def language(self) -> str:
        """``EndUserLanguage`` as a two-letter code, by default ``en``."""
        for variable in self.variables or []:
            if variable.name == _LANGUAGE:
                return str(variable.value)[:2]
        return "en"


class Message(_Body):
    """A message of the user; ``sequence_id`` may be a string of digits."""

    type: Literal["Text", "Reply", "Cancel", "TransferFailed", "TransferSucceeded", "PlanTemplate"]
    sequence_id: int | Annotated[str, Field(pattern=r"^\d+$")]
    text: str | None = None
    in_reply_to_message_id: str | None = None

    @model_validator(mode="after")
    def _text_has_text(self) -> Self:
        if self.type == "Text" and self.text is None:
            raise ValueError("Missing required creator property 'text'")
        return self


class Send(_Body):
    message: Message
    variables: list[Variable] | None = None


class Feedback(_Body):
    feedback_id: str = Field(min_length=1)
    feedback: Literal["GOOD", "BAD"]
    text: str | None = None
    details: dict[str, Any] | None = Field(default=None, max_length=10)


Model = TypeVar("Model", bound=_Body)


def parse_body(model: type[Model]) -> Model:
    """Parse the body of the current request; raises the API's ``Refusal``."""
    if request.mimetype != "application/json":
        raise errors.unsupported_media_type()
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as error:
        raise errors.bad_request(_error_message(error)) from None


def _error_message(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "missing":
        return f"Missing required creator property '{first['loc'][-1]}'"
    return f"{'.'.join(str(step) for step in first['loc']) or 'body'}: {first['msg']}"


def check_agent_id(agent_id: str, expected: str) -> None:
    """Raises ``Refusal``. The 15- and 18-character forms of an id are equivalent."""
    if not _AGENT_ID.fullmatch(agent_id):
        raise errors.invalid_agent_id(agent_id)
    if agent_id[:15] != expected[:15]:
        raise errors.unknown_agent()


def check_endpoint(endpoint: str, my_domain: str) -> None:
    if not re.fullmatch(r"https?://\S+", endpoint):
        raise errors.bad_request("Bad force-config endpoint")
    if endpoint.rstrip("/") != my_domain:
        raise errors.wrong_endpoint(endpoint)


def check_variables(
    variables: list[Variable] | None, settable: set[str], *, starting: bool
) -> None:
    """Raises ``Refusal``. ``$Context`` variables can be set at the start of a session only."""
    for name in (variable.name for variable in variables or []):
        is_context = name.startswith("$Context.") and (starting or name == _LANGUAGE)
        if not is_context and name not in settable:
            raise errors.variable_not_settable(name)
