"""A TwiML document as verbs, or the reason why Twilio refuses it. Pure: what verbs do is not decided here.

Two degrees, as in Twilio's error dictionary: what cannot be read is an error and ends the document (12100 document
parse failure, 11750 too large); what the schema does not know is 12200. Of the latter an unknown verb or noun stops
the document as well (an unknown verb "will not work"), an unknown attribute is a warning and ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from emulator.twilio.twiml_schema import NOUNS, NUMBERS, SSML, VALUES, VERBS, Element

LARGEST_DOCUMENT = 64 * 1024  # bytes, fetched by URL
LONGEST_INLINE = 4000  # characters, in a REST request
_DEEPEST = 16


class TwimlError(Exception):
    """A document that Twilio does not run. `code` is Twilio's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass
class Verb:
    """One element: a verb of the document or what is nested in it."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Verb] = field(default_factory=list)
    text: str = ""
    """All text inside, nested text included, in document order."""

    def get(self, attribute: str, default: str = "") -> str:
        return self.attributes.get(attribute, default)

    def number(self, attribute: str, default: int) -> int:
        """A numeric attribute, already known to be one."""
        return int(self.attributes.get(attribute, default))


@dataclass
class Document:
    """What a call runs next: verbs in order, and what the debugger would warn about."""

    verbs: list[Verb]
    warnings: list[str]


def parse(body: bytes) -> Document:
    """Reads a document.

    Raises `TwimlError`: 11750 over 64 kB, 12100 not well-formed or not a `<Response>`, 12200 an unknown element.
    """
    if len(body) > LARGEST_DOCUMENT:
        raise TwimlError(11750, f"response body too large: {len(body)} bytes, at most {LARGEST_DOCUMENT}")
    root = _Reader().read(body)
    if root.name != "Response":
        raise TwimlError(12100, f"the document is a <{root.name}>, not a <Response>")
    warnings: list[str] = []
    if root.text.strip() and not root.children:
        warnings.append("text outside of any verb")
    for attribute in root.attributes:
        warnings.append(f"attribute '{attribute}' is not allowed to appear in element 'Response'")
    for verb in root.children:
        if verb.name not in VERBS:
            raise TwimlError(12200, f"invalid content was found starting with element '{verb.name}'")
        _check(verb, VERBS[verb.name], warnings)
    return Document(root.children, warnings)


def _check(element: Verb, schema: Element, warnings: list[str]) -> None:
    for attribute in list(element.attributes):
        problem = _problem(element, attribute, schema)
        if problem:
            warnings.append(problem)
            del element.attributes[attribute]
    if not schema.text and element.text.strip() and not element.children:
        warnings.append(f"element '{element.name}' cannot have text")
    for child in element.children:
        if child.name not in schema.children:
            raise TwimlError(12200, f"element '{child.name}' is not allowed inside '{element.name}'")
        _check(child, NOUNS.get(child.name) or SSML.get(child.name) or VERBS[child.name], warnings)


def _problem(element: Verb, attribute: str, schema: Element) -> str | None:
    if attribute not in schema.attributes:
        return f"attribute '{attribute}' is not allowed to appear in element '{element.name}'"
    value = element.attributes[attribute]
    allowed = VALUES.get((element.name, attribute))
    if allowed and value not in allowed:
        return f"value '{value[:40]}' of attribute '{attribute}' of '{element.name}' is not valid"
    span = NUMBERS.get((element.name, attribute))
    if span and not (
        value.isascii() and value.isdigit() and len(value) < 9 and span.lowest <= int(value) <= span.highest
    ):
        return f"value '{value[:40]}' of attribute '{attribute}' of '{element.name}' is not a number it can have"
    return None


class _Reader:
    """Builds the tree straight from expat: no entities, no DTD, no unbounded depth."""

    def __init__(self) -> None:
        self._root: Verb | None = None
        self._open: list[Verb] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def read(self, body: bytes) -> Verb:
        try:
            self._parser.Parse(body, True)
        except (expat.ExpatError, ValueError, LookupError) as exc:
            raise TwimlError(12100, f"document parse failure: {exc}") from exc
        if self._root is None:
            raise TwimlError(12100, "document parse failure: no element")
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= _DEEPEST:
            raise TwimlError(12200, f"elements nested deeper than {_DEEPEST}")
        element = Verb(name, dict(attributes))
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, _name: str) -> None:
        closed = self._open.pop()
        if self._open and closed.name in SSML:
            # What SSML marks up is still part of the sentence around it.
            self._open[-1].text += closed.get("alias") or closed.text

    def _text(self, data: str) -> None:
        self._open[-1].text += data

    def _doctype(self, *_: object) -> None:
        raise TwimlError(12100, "document parse failure: DOCTYPE is not allowed")
