"""The bill of materials in each format: valid by the formats' own tools, complete, and the same bytes each time."""

import json
from dataclasses import replace
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_toto_attestation.v1.statement import Statement
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from imagebuilder.sbom import DOCUMENTS
from imagebuilder.sbom.expressions import expression, reference
from imagebuilder.sbom.inventory import Inventory, KernelFacts, OwnedFile, owned
from imagebuilder.sources.kind import Material
from imagebuilder.sources.licences import spdx
from imagebuilder.tree import Tree, directory, file, symlink
from tests.examples import examples

A, B, C = "a" * 64, "b" * 64, "c" * 64
ROOT = Tree(
    {
        "/usr/bin/app": file(b"program"),
        "/usr/bin/link": symlink("app"),
        "/usr/lib/x": directory(),
        "/usr/lib/x/m.py": file(b"pass"),
        "/usr/lib/x/__pycache__/m.cpython-311.pyc": file(b"code"),
        "/usr/lib/x/__pycache__/other.cpython-311.pyc": file(b"code"),
        "/init": file(b"init"),
    }
)
ORIGINS = {"/usr/bin/app": "app", "/usr/bin/link": "app", "/usr/lib/x/m.py": "libx"}
INVENTORY = Inventory(
    name="app",
    version="1.0",
    summary="Says hello",
    digest=C,
    epoch_s=1_700_000_000,
    builder="0.1.0",
    subjects={"vmlinux": A, "root.erofs": B},
    kernel=KernelFacts("micro", "6.12.1", "pkg:generic/linux@6.12.1", A, {"quick": B}, {"small": C}, A),
    materials={
        "app": Material("app", "1.2-3", "pkg:deb/debian/app@1.2-3?arch=amd64&distro=bookworm", ("MIT",), B),
        "libx": Material("libx", "2", "pkg:pypi/libx@2", ("LicenseRef-odd", "GPL-2.0-only OR Zlib"), C),
        "ours": Material("ours"),
    },
    files=owned(ROOT, ORIGINS, own="ours"),
    parameters={"recipe": {"name": "app"}, "kernel": "micro"},
    sources=({"type": "files"},),
)


def documents(inventory: Inventory) -> dict[str, Any]:
    """Each document, checked by its format's own tool."""
    made = {name: write(inventory) for name, write in DOCUMENTS.items()}
    assert made == {name: write(inventory) for name, write in DOCUMENTS.items()}
    read = {name: json.loads(content) for name, content in made.items()}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made["sbom.cdx.json"].decode()) is None
    assert validate_full_spdx_document(JsonLikeDictParser().parse(read["sbom.spdx.json"])) == []
    Statement.copy_from_pb(read_statement(read["provenance.json"])).validate()
    return read


def read_statement(document: Any) -> Any:
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.v1 import statement_pb2

    return ParseDict(document, statement_pb2.Statement())


def test_words_that_are_no_licence_of_spdx_are_a_named_one() -> None:
    odd = replace(INVENTORY.materials["app"], licences=("SEE LICENSE IN a.txt", "mit", "("))
    made = documents(replace(INVENTORY, materials={**INVENTORY.materials, "app": odd}))
    component = next(each for each in made["sbom.cdx.json"]["components"] if each["name"] == "app")
    names = sorted(each["license"]["name"] for each in component["licenses"])
    assert names == ["(", "SEE LICENSE IN a.txt", "mit"]
    package = next(each for each in made["sbom.spdx.json"]["packages"] if each.get("versionInfo") == "1.2-3")
    words = {each["licenseId"]: each["extractedText"] for each in made["sbom.spdx.json"]["hasExtractedLicensingInfos"]}
    assert sorted(words.values())[0] == "(" and "SEE LICENSE IN a.txt" in words.values()
    assert package["licenseDeclared"].count("LicenseRef-") == 2 and " AND MIT AND " in package["licenseDeclared"]


@given(st.text(max_size=30))
@settings(max_examples=examples(300), deadline=None)
def test_any_words_are_an_expression_or_none(words: str) -> None:
    found = expression(words)
    assert found is None or expression(found) == found
    assert expression(reference(words)) == reference(words)


def test_whose_each_file_is() -> None:
    assert {each.path: each.owner for each in INVENTORY.files} == {
        "/init": "ours",
        "/usr/bin/app": "app",
        "/usr/lib/x/m.py": "libx",
        "/usr/lib/x/__pycache__/m.cpython-311.pyc": "libx",
        "/usr/lib/x/__pycache__/other.cpython-311.pyc": "ours",
    }


def test_cyclonedx_has_each_material_with_its_files() -> None:
    made = documents(INVENTORY)["sbom.cdx.json"]
    found = {each["bom-ref"]: each for each in made["components"]}
    assert set(found) == {"kernel", "material:app", "material:libx", "material:ours"}
    assert found["material:app"]["purl"] == INVENTORY.materials["app"].purl
    assert [each["name"] for each in found["material:libx"]["components"]] == [
        "/usr/lib/x/__pycache__/m.cpython-311.pyc",
        "/usr/lib/x/m.py",
    ]
    assert found["material:libx"]["licenses"] == [{"expression": "LicenseRef-odd AND (GPL-2.0-only OR Zlib)"}]
    assert found["kernel"]["version"] == "6.12.1"
    facts = {each["name"]: each["value"] for each in found["kernel"]["properties"]}
    assert facts["imagebuilder:kernel:patch:quick"] == f"sha256:{B}"
    assert facts["imagebuilder:kernel:config"] == f"sha256:{A}"


def test_spdx_has_each_file_with_its_digest() -> None:
    made = documents(INVENTORY)["sbom.spdx.json"]
    sums = {
        each["fileName"]: {check["algorithm"]: check["checksumValue"] for check in each["checksums"]}
        for each in made["files"]
    }
    assert {path.removeprefix("."): found["SHA256"] for path, found in sums.items()} == {
        each.path: each.sha256 for each in INVENTORY.files
    }
    assert {each["name"] for each in made["packages"]} == {"app", "linux", "libx", "ours"}
    assert [each["licenseId"] for each in made["hasExtractedLicensingInfos"]] == ["LicenseRef-odd"]


def test_provenance_says_what_was_made_of_what() -> None:
    made = documents(INVENTORY)["provenance.json"]
    assert made["subject"] == [
        {"name": "vmlinux", "digest": {"sha256": A}},
        {"name": "root.erofs", "digest": {"sha256": B}},
    ]
    definition = made["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"recipe": {"name": "app"}, "kernel": "micro"}
    assert {"name": "libx", "uri": "pkg:pypi/libx@2", "digest": {"sha256": C}} in definition["resolvedDependencies"]
    assert definition["internalParameters"]["sources"] == [{"type": "files"}]


def test_what_a_recipe_leaves_empty() -> None:
    documents(replace(INVENTORY, version="", summary=""))


TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, st.lists(TEXT, max_size=3), TEXT), max_size=3), TEXT)
def test_whatever_packages_say(rows: list[tuple[str, str, list[str], str]], summary: str) -> None:
    """Names, versions and licences come out of foreign packages, paths too."""
    materials = {
        name: Material(name, version, "", tuple(spdx(each) for each in licences), A)
        for name, version, licences, _ in rows
    }
    files = tuple(
        OwnedFile(f"/{number}/{path}", A, "b" * 40, 1, name) for number, (name, _, _, path) in enumerate(rows)
    )
    documents(replace(INVENTORY, materials=materials, files=files, summary=summary))
