"""Bodies of requests: read within limits of size and time, and taken apart into photos.

Photos arrive as the bytes of one file, as multipart/form-data with one file or several, or as JSON with base64. A server never
opens an address that a request names.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import string
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Receive, Scope

from allmlp.io.display import file_size, quote
from allmlp.serve.options import ServeOptions
from allmlp.serve.problems import GoneError, Problem, try_again

__all__ = ["BodyMemory", "SentPhoto", "body_kind", "photos_in", "read_body"]

_MEMORY_FACTOR, _LEAST_MEMORY = 8, 256_000_000
_MAX_NAME = 200
_WHITE_SPACE = string.whitespace.encode()
_MAX_JSON_MARKS = 1000  # brackets and commas per photo: names may have some
_JSON = "application/json"
_MULTIPART = "multipart/form-data"
_RAW = "application/octet-stream"
_EXPECTED = (
    "Send the bytes of a photo with -H 'Content-Type: image/jpeg' (or another image type), files as multipart/form-data "
    "(curl -F photo=@photo.jpg), or JSON with base64."
)
_JSON_SHAPE = 'expected {"photos": [{"name": "a.jpg", "base64": "..."}]}'


class SentPhoto(NamedTuple):
    """The name that a client gave a photo, or "photo 1", and the bytes of its file; instead of them, what is wrong with it."""

    name: str
    content: bytes | Problem


class BodyMemory:
    """The bytes that have arrived of all bodies, bounded together: what is only announced takes no memory."""

    def __init__(self, options: ServeOptions) -> None:
        self._left = max(_MEMORY_FACTOR * options.max_upload_bytes, _LEAST_MEMORY)
        self._lock = threading.Lock()  # requests may come from several event loops

    @contextlib.contextmanager
    def share(self) -> Iterator["_Share"]:
        """Yield the share of one request, which is given back at the end of the block."""
        share = _Share(self)
        try:
            yield share
        finally:
            self.take(-share.taken)

    def take(self, size: int) -> None:
        """Take memory, or give it back. Raises Problem if there is not as much left."""
        with self._lock:
            if size > self._left:
                raise try_again("busy", "The server is reading as many photos as it can hold. Try again soon.")
            self._left -= size


class _Share:
    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.taken = 0

    def grow(self, size: int) -> None:
        """Take as much memory as `size` bytes of a body need. Raises Problem if there is not as much left."""
        self._memory.take(size - self.taken)
        self.taken = size


def body_kind(scope: Scope) -> tuple[str, dict[bytes, bytes]]:
    """Return the kind of a request's body, `image/*` as application/octet-stream, and the parameters of its type.

    Raises:
        Problem: a type that is not accepted, several of them, or a compressed body.
    """
    encodings = _values(scope, b"content-encoding")
    if any(encoding.strip().lower() not in (b"identity", b"") for encoding in encodings):
        raise Problem(415, "unsupported_encoding", "Compressed bodies are not accepted. Send the photo as it is.")
    types = set(_values(scope, b"content-type"))
    if len(types) > 1:  # a program in front of the server may have believed the other one
        raise Problem(400, "bad_http", "The request has more than one Content-Type.")
    kind, parameters = parse_options_header((types.pop() if types else _RAW.encode()).decode("latin-1"))
    if kind.startswith(b"image/") or kind == _RAW.encode():
        return _RAW, {}
    if kind in (_JSON.encode(), _MULTIPART.encode()):
        return kind.decode(), parameters
    raise Problem(415, "unsupported_type", f"Content-Type {quote(kind.decode('latin-1'))} is not accepted. {_EXPECTED}")


def _values(scope: Scope, name: bytes) -> list[bytes]:
    """Return the values of a header, which may come more than once."""
    return [value for each, value in scope["headers"] if each == name]


async def read_body(scope: Scope, receive: Receive, options: ServeOptions, share: _Share) -> bytes:
    """Return the whole body of a request.

    Raises:
        Problem: it is too large (413), too slow (408), or there is no memory for it now (503).
        GoneError: the client is gone.
    """
    announced = dict(scope["headers"]).get(b"content-length", b"")
    limit = options.max_upload_bytes
    if announced.isdigit():
        _check_size(int(announced), limit)
    body = bytearray()
    try:
        async with asyncio.timeout(options.body_timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                body += message.get("body", b"")
                _check_size(len(body), limit)
                share.grow(len(body))
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Problem(
            408, "slow_body", f"The body did not arrive within {options.body_timeout_s:g} seconds.", Connection="close"
        ) from None


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Problem(413, "too_large", f"The body is larger than {file_size(limit)}, the limit of this server.")


def photos_in(body: bytes, kind: str, parameters: dict[bytes, bytes], *, max_photos: int) -> list[SentPhoto]:
    """Take a body apart into photos.

    Raises:
        Problem: it is malformed (400), or has no photo (400) or too many (413).
    """
    if kind == _RAW:
        return [SentPhoto("photo", body)]  # an empty one, too: a file without content, which is not a photo
    if not body:
        raise Problem(400, "no_photo", f"The body is empty. {_EXPECTED}")
    photos = (
        _of_json(body, max_photos) if kind == _JSON else _of_form(body, parameters.get(b"boundary", b""), max_photos)
    )
    if not photos:
        raise Problem(400, "no_photo", f"The body has no photo. {_EXPECTED}")
    return photos


def _check_number(number: int, max_photos: int) -> None:
    if number > max_photos:
        raise Problem(
            413, "too_many_photos", f"More than {max_photos} photos in one request, the limit of this server."
        )


def _of_json(body: bytes, max_photos: int) -> list[SentPhoto]:
    # Millions of empty lists take a hundred times their bytes, and parsing them stops all threads for seconds.
    if sum(map(body.count, (b"{", b"[", b","))) > _MAX_JSON_MARKS * (max_photos + 1):
        raise Problem(413, "too_large", f"The JSON has far more values than {max_photos} photos need; {_JSON_SHAPE}.")
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "bad_json", f"The body is not JSON; {_JSON_SHAPE}.") from None
    items = value.get("photos") if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Problem(400, "bad_json", f"The JSON is not as expected; {_JSON_SHAPE}.")
    _check_number(len(items), max_photos)
    return [_of_item(item, number) for number, item in enumerate(items, start=1)]


def _of_item(item: dict[str, Any], number: int) -> SentPhoto:
    name, text = item.get("name", f"photo {number}"), item.get("base64")
    if not isinstance(name, str) or not isinstance(text, str) or set(item) - {"name", "base64"}:
        advice = " Photos are not read from addresses." if {"url", "uri", "path"} & set(item) else ""
        raise Problem(400, "bad_json", f"Photo {number} is not as expected; {_JSON_SHAPE}.{advice}")
    try:
        packed = text.encode("ascii").translate(None, _WHITE_SPACE)  # programs break it into lines
        return SentPhoto(_name(name), base64.b64decode(packed, validate=True))
    except (binascii.Error, ValueError):
        return SentPhoto(_name(name), Problem(422, "bad_base64", "This is not base64."))


def _name(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[:_MAX_NAME]  # lone surrogates have no place in JSON


class _Form:
    """Collects the files of a form: parts that have a file name, or are named photo or photos."""

    def __init__(self, max_photos: int) -> None:
        self.photos: list[SentPhoto] = []
        self.is_complete = False
        self._max_photos = max_photos
        self._field, self._value, self._disposition = b"", b"", b""
        self._content = bytearray()
        self.callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        self._field, self._value, self._disposition = b"", b"", b""
        self._content = bytearray()

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field, self._value = b"", b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _end(self) -> None:
        _, words = parse_options_header(self._disposition.decode("latin-1"))
        if b"filename" not in words and words.get(b"name") not in (b"photo", b"photos"):
            raise Problem(
                400, "bad_form", "A part of the form is not a file. Send only files: curl -F photo=@photo.jpg"
            )
        _check_number(len(self.photos) + 1, self._max_photos)
        name = words.get(b"filename", b"").decode("utf-8", "replace") or f"photo {len(self.photos) + 1}"
        self.photos.append(SentPhoto(_name(name), bytes(self._content)))

    def _complete(self) -> None:
        self.is_complete = True


def _of_form(body: bytes, boundary: bytes, max_photos: int) -> list[SentPhoto]:
    form = _Form(max_photos)
    try:
        parser = MultipartParser(boundary, form.callbacks)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        form.is_complete = False
    if not boundary or not form.is_complete:
        raise Problem(
            400, "bad_form", "The form is malformed or cut short. Use a client's own: curl -F photo=@photo.jpg"
        )
    return form.photos
