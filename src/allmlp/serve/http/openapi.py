"""What the OpenAPI document says about bodies and answers."""

from typing import Any

from fastapi import FastAPI

__all__ = ["ANSWERS", "BODY", "add_schemas"]


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_TEXT, _NUMBER, _INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_ERROR = _object({"status": _INTEGER, "code": _TEXT, "message": _TEXT})
_LABEL = _object({"label": _TEXT, "score": {"type": "number", "minimum": 0, "maximum": 1}})


def _results(**properties: dict[str, Any]) -> dict[str, Any]:
    of_photo = _object({"source": _TEXT, **properties, "error": _reference("Error")}, *properties, "error")
    return _object({"results": {"type": "array", "items": of_photo, "minItems": 1}})


_SCHEMAS = {
    "Error": _ERROR,
    "Refusal": _object({"error": _reference("Error")}),
    "Predictions": _results(labels={"type": "array", "items": _LABEL}, unknown={"type": "boolean"}),
    "Embeddings": _results(features={"type": "array", "items": _NUMBER}),
    "Explanations": _object({"results": {"type": "array", "items": {"type": "object"}, "minItems": 1}}),
    "Photos": _object(
        {
            "photos": {
                "type": "array",
                "minItems": 1,
                "items": {
                    **_object({"name": _TEXT, "base64": {"type": "string", "contentEncoding": "base64"}}, "name"),
                    "additionalProperties": False,
                },
            }
        }
    ),
}
_FILE = {"type": "string", "format": "binary"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"photo": {"type": "array", "items": _FILE}},
                    "required": ["photo"],
                }
            },
            "application/json": {"schema": _reference("Photos")},
        },
    }
}
_REFUSALS = {
    400: "A malformed request.",
    401: "No key, or a wrong one.",
    408: "Headers or body arrived too slowly.",
    413: "Too many bytes, photos or values of the answer, or a photo beyond the limits.",
    415: "A type of body that is not accepted, or a file that is not a photo of a format that is read.",
    422: "A damaged photo, or several photos of which none can be used.",
    500: "A fault of the server.",
    501: "The backend of this server cannot compute this.",
    503: "Busy, short of memory, or unable to open the model for this; try again after Retry-After seconds.",
    504: "The deadline passed.",
}


def _answers(schema: str) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {200: _answer("One result per photo, in order.", _reference(schema))}
    return found | {status: _answer(words, _reference("Refusal")) for status, words in _REFUSALS.items()}


ANSWERS: dict[str, dict[int | str, dict[str, Any]]] = {
    "predict": _answers("Predictions"),
    "embed": _answers("Embeddings"),
    "explain": _answers("Explanations"),
    "readyz": {503: _answer("The model does not answer.", _reference("Refusal"))},
    "keyed": {401: _answer("No key, or a wrong one.", _reference("Refusal"))},
}


def add_schemas(inner: FastAPI) -> None:
    """Make an app describe itself once, with the schemas above."""
    document = inner.openapi()
    components = document.setdefault("components", {})
    components["schemas"] = _SCHEMAS
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for item in document["paths"].values():
        for operation in item.values():
            # FastAPI's own answer to a wrong parameter, where ours is 400.
            if operation["responses"].get("422", {}).get("description") == "Validation Error":
                del operation["responses"]["422"]
