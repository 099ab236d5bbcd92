"""The package that should have a library: Debian's own names, and none that is not known."""

import pytest

from imagebuilder.sources.sonames import package_with

# As packages of Debian 12 and 13 register them (``/var/lib/dpkg/info/*.shlibs``).
PACKAGES = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "libz.so.1": "zlib1g",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libX11.so.6": "libx11-6",
    "libpcre2-8.so.0": "libpcre2-8-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libdb-5.3.so": "libdb5.3",
    "libpython3.11.so.1.0": "libpython3.11",
    "libicuuc.so.72": "libicu72",
    "libblas.so.3": "libblas3",
    "libreadline.so.8": "libreadline8",
    "libzstd.so.1": "libzstd1",
}


@pytest.mark.parametrize(("soname", "package"), PACKAGES.items())
def test_names(soname: str, package: str) -> None:
    assert package_with(soname, {*PACKAGES.values()}) == package
    assert package_with(soname, ()) is None


def test_names_of_a_changed_abi() -> None:
    assert package_with("libssl.so.3", {"libssl3t64"}) == "libssl3t64"


@pytest.mark.parametrize(
    "soname", ["", "libjvm.so", "module.so", "lib.so", "/usr/lib/liba.so.1", "lib.so.", "libé.so.1"]
)
def test_what_no_package_is_called_after(soname: str) -> None:
    assert package_with(soname, {"libjvm", "lib", "module"}) is None
