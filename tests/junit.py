"""JUnit XML against the schema of Jenkins' xUnit plug-in.

``junit-10.xsd`` is that of pytest's own tests (``testing/example_scripts`` of its source archive, 9.0.2), unchanged,
under the MIT licence that it carries.
"""

from pathlib import Path
from xml.etree import ElementTree as xml

from xmlschema import XMLSchema

SCHEMA = XMLSchema(Path(__file__).with_name("junit-10.xsd"))


def validated(content: bytes) -> xml.Element:
    """The document's root. Raises XMLSchemaValidationError for what the schema does not allow."""
    root = xml.fromstring(content)
    SCHEMA.validate(root)
    return root
